"""Telling a consumer over HTTP that a secret changed, signed per Standard Webhooks 1.0."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, TransientError, Unavailable
from keyturn.core.notices import HEALTH_PATH, NOTICE_PATH, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import objection, retry_after, untrusted
from keyturn.providers.outbound import OutboundAdapter, within

DOING: Final = "notify"
ASKING: Final = "ask the health of"
CONSUMERS: Final = 32
"""How many consumers' connections are kept open."""
GOOD_FOR: Final = 300
"""Seconds that a notice is good for. Source: Standard Webhooks' own libraries."""
NOTICE_LIMIT: Final = 60.0
"""Seconds for one notice, all tries and the waits between them together."""
LEAST: Final = 0.1
"""Seconds that a try has, however little is left."""
ANSWER_LIMIT: Final = 4096
"""Bytes of an answer that are drained so that its connection can be used again; nobody looks at them."""


def backoff(attempt: int, base: float, cap: float, jitter: float) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 1), with ``jitter`` drawn from 0 to 1.

    Source: "Exponential Backoff And Jitter" (AWS Architecture Blog), full jitter.
    """
    return jitter * min(cap, base * 2.0 ** min(attempt - 1, 64))


class WebhookSender:
    """Delivers notices; one instance serves many threads. Errors are named by the caller's ``name``.

    Only https is spoken unless ``allow_http``; certificates are checked against ``ca``, or against the
    public authorities. The environment's proxies and ``.netrc`` play no part.
    """

    def __init__(self, *, ca: Path | None = None, allow_http: bool = False) -> None:
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = True if ca is None else str(ca)
        self._session.headers["user-agent"] = "keyturn"
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in self._schemes:
            self._session.mount(f"{scheme}://", OutboundAdapter(CONSUMERS))

    def deliver(
        self, url: str, keys: Sequence[Sensitive], notice: Notice, *, message_id: str, timeout: float, name: str
    ) -> None:
        """Send ``notice`` once, and return when it has been acknowledged, which is status 200 and nothing else.

        It has a signature by each of ``keys``, so that a receiver takes it who holds one of them.
        ``timeout`` is in seconds, for all of it: a server that drips its answer is no better than one that is silent.
        Raises TransientError when the same message may be sent again, TerminalError when a person has to mend
        something first.
        """
        self._check(url, name)
        body = notice.to_json()
        headers = {"content-type": "application/json", **_signed(keys, message_id, body, name)}
        answer = self._ask("POST", url.rstrip("/") + NOTICE_PATH, timeout, name, DOING, body.encode(), headers)
        if answer.status_code != requests.codes.ok:
            raise _refused(answer, name)

    def deliver_with_retries(
        self,
        url: str,
        keys: Sequence[Sensitive],
        notice: Notice,
        *,
        message_id: str,
        timeout: float,
        name: str,
        attempts: int,
        base: float = 0.5,
        cap: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send up to ``attempts`` times under one message id; raises the last error.

        The waits grow from ``base`` to ``cap`` seconds; one the consumer asked for is kept up to ``cap``. All of it
        together takes a minute at most, or ``attempts`` timeouts where those are longer.
        """
        until = clock() + max(NOTICE_LIMIT, attempts * timeout)
        for attempt in range(1, attempts + 1):
            left = max(LEAST, min(timeout, until - clock()))
            try:
                return self.deliver(url, keys, notice, message_id=message_id, timeout=left, name=name)
            except TransientError as error:
                requested = error.retry_after if isinstance(error, Throttled) else None
                pause = max(backoff(attempt, base, cap, jitter()), min(requested or 0.0, cap))
                if attempt == attempts or clock() + pause >= until:
                    raise
            sleep(pause)
        raise Invalid(DOING, name, f"{attempts} attempts are none", "Allow one attempt at least")

    def check_health(self, url: str, *, timeout: float, name: str) -> None:
        """Ask the consumer how it is; well is status 200 and nothing else. Raises as :meth:`deliver` does."""
        self._check(url, name, ASKING)
        answer = self._ask("GET", url.rstrip("/") + HEALTH_PATH, timeout, name, ASKING)
        if answer.status_code != requests.codes.ok:
            hint = f"See the consumer's log; it answers 200 at GET {HEALTH_PATH} once it works"
            raise Unavailable(ASKING, name, f"answered {answer.status_code}", hint)

    def _ask(
        self,
        method: str,
        url: str,
        timeout: float,
        name: str,
        doing: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """One exchange within ``timeout``, of whose answer the status and the headers are kept."""
        until = time.monotonic() + timeout
        try:
            with (
                within(timeout),
                self._session.request(
                    method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
                ) as answer,
            ):
                next(answer.iter_content(ANSWER_LIMIT), None)
        except requests.RequestException as error:
            late = isinstance(error, requests.Timeout) or time.monotonic() >= until
            raise _unanswered(error, timeout if late else None, name, doing) from None
        if time.monotonic() >= until:
            raise _silent(timeout, name, doing)
        return answer

    def close(self) -> None:
        """Let go of connections; the sender can't be used afterwards."""
        self._session.close()

    def _check(self, url: str, name: str, doing: str = DOING) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise Invalid(doing, name, "its address is not a URL", "Mend the consumer's address") from None
        if parts.scheme not in self._schemes or not parts.hostname:
            allowed = " or ".join(self._schemes)
            raise Invalid(doing, name, f"its address is not an {allowed} URL", "Give the consumer one over TLS")
        if parts.username is not None or parts.query or parts.fragment:
            hint = "Leave scheme, host, port and a path prefix: the signature proves who sends"
            raise Invalid(doing, name, "its address holds a user, a query or a fragment", hint)


def _signed(keys: Sequence[Sensitive], message_id: str, body: str, name: str) -> dict[str, str]:
    """The three headers of Standard Webhooks; the timestamp is that of the attempt."""
    now = datetime.now(UTC)
    try:
        signatures = [Webhook(key.reveal()).sign(message_id, now, body) for key in keys]
    except (ValueError, EmptyWebhookSecretError):
        hint = "A key is whsec_ and the base64 of 24 to 64 random bytes"
        raise Invalid(DOING, name, "its webhook key is empty or not base64", hint) from None
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _silent(timeout: float, name: str, doing: str) -> KeyturnError:
    return Unavailable(doing, name, f"no answer within {timeout:g} s", "See whether the consumer is overloaded")


def _unanswered(error: requests.RequestException, late: float | None, name: str, doing: str) -> KeyturnError:
    """What no usable answer means; ``late`` is the time that it had where that was over."""
    if isinstance(error, requests.exceptions.SSLError) and untrusted(error):
        hint = "Give the CA that signed it, or renew the certificate"
        return Denied(doing, name, "its TLS certificate is not trusted", hint)
    if late is not None:
        return _silent(late, name, doing)
    if isinstance(error, requests.exceptions.InvalidURL):
        return Invalid(doing, name, "its address is not a URL", "Mend the consumer's address")
    problem = objection(error) or "the connection failed"
    return Unavailable(doing, name, problem, "See whether the consumer runs at its address")


def _refused(answer: requests.Response, name: str) -> KeyturnError:
    """What a status other than 200 means; the body is not looked at."""
    status = answer.status_code
    problem = f"answered {status}"
    pause = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
    if status == 429 or (status == 503 and pause is not None):
        return Throttled(DOING, name, problem, "It asks for a slower pace", pause)
    if status == 408 or status >= 500:
        return Unavailable(DOING, name, problem, "It keeps its old credential for now; see the consumer's log")
    if status in (401, 403):
        return _denied(answer, name)
    if status in (404, 410):
        return NotFound(DOING, name, problem, f"Serve POST {NOTICE_PATH} there, or take it out of the catalogue")
    if 300 <= status < 400:
        return Invalid(DOING, name, f"{problem}, a redirect, which is not followed", "Give its final address")
    return Invalid(DOING, name, f"{problem}, not 200", "A consumer answers 200 once it uses the new credential")


def _denied(answer: requests.Response, name: str) -> Denied:
    """Its signature was not taken: the answer's own date tells a wrong clock from a wrong key."""
    answered, apart = f"answered {answer.status_code}", _ahead(answer.headers.get("date", ""), datetime.now(UTC))
    if abs(apart) < GOOD_FOR:
        return Denied(DOING, name, answered, "Check that it holds the webhook key that signs, and its clock")
    problem = f"{answered}, and its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the one here"
    return Denied(DOING, name, problem, "A notice is good for five minutes: set the clock that is wrong")


def _ahead(header: str, now: datetime) -> float:
    """How many seconds a Date header (RFC 9110, 6.6.1) is ahead of ``now``; 0 where it says nothing usable."""
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return (then - now).total_seconds() if then.tzinfo else 0.0
