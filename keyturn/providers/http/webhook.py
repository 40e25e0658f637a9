"""Notify a consumer over HTTP that a secret changed."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import requests

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.notifications.messages import SignedMessage
from keyturn.core.notifications.notices import HEALTH_PATH, NOTICE_PATH
from keyturn.core.ports.tracing import traceparent
from keyturn.providers.answers import untrusted
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.http.api_target import slower_pace
from keyturn.providers.outbound import open_anywhere, within

ASKING: Final = "ask the health of"
NO_ROUTE: Final = frozenset({404, 405, 501})
CONSUMER: Final = RemoteServer(
    check="See whether the consumer runs at its address",
    address="the consumer's url",
    authority="Name the CA that signed it in the consumer's ca_file, or renew the certificate",
)
SCHEMES: Final = ("https", "http")
GOOD_FOR: Final = 300
"""Seconds that a notice is valid. Source: Standard Webhooks' own libraries."""
ANSWER_LIMIT: Final = 4096  # bytes


class WebhookSender:
    """Delivers notices to the application at ``url``; one instance serves many threads.

    Plain http works on loopback, and elsewhere with ``insecure_http``. ``ca_file``, or else the public authorities,
    verifies certificates.
    """

    def __init__(self, name: str, url: str, *, ca_file: str | None = None, insecure_http: bool = False) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._insecure_http = insecure_http
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = True if ca_file is None else ca_file
        self._session.headers["user-agent"] = "keyturn"
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        open_anywhere(self._session)

    def send(self, message: SignedMessage, timeout: float) -> None:
        """Send it once, and return when status 200 acknowledges it within ``timeout`` seconds.

        Raises TransientError if the same message may be sent again, TerminalError if a person has to fix something
        first.
        """
        self._check(DOING)
        headers = {"content-type": "application/json", **traceparent(), **message.headers}
        answer = self._ask("POST", NOTICE_PATH, timeout, DOING, message.body.encode(), headers)
        if answer.status_code != requests.codes.ok:
            raise _refused(answer, self.name)

    def check_health(self, timeout: float) -> None:
        """Ask for its health: 200 is healthy. Raises as :meth:`send` does, and NotFound without such a route."""
        self._check(ASKING)
        answer = self._ask("GET", HEALTH_PATH, timeout, ASKING)
        if answer.status_code in NO_ROUTE:
            hint = f"Serve GET {HEALTH_PATH} there, which a canary is asked for"
            raise NotFound(ASKING, self.name, f"it runs, and has no health route ({answer.status_code})", hint)
        if answer.status_code != requests.codes.ok:
            hint = f"See the consumer's log; it answers 200 at GET {HEALTH_PATH} once it works"
            raise Unavailable(ASKING, self.name, f"answered {answer.status_code}", hint)

    def _ask(
        self,
        method: str,
        path: str,
        timeout: float,
        doing: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        until, url = time.monotonic() + timeout, self._url + path
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
            raise _unanswered(error, timeout if late else None, self.name, doing) from None
        if time.monotonic() >= until:
            raise _silent(timeout, self.name, doing)
        return answer

    def close(self) -> None:
        self._session.close()

    def _check(self, doing: str) -> None:
        try:
            parts = urlsplit(self._url)
            wrong = parts.scheme not in SCHEMES or not parts.hostname
        except ValueError:
            raise Invalid(doing, self.name, "its address is not a URL", "Fix the consumer's address") from None
        if wrong or (leaves_in_clear(self._url) and not self._insecure_http):
            raise Invalid(doing, self.name, "its address is not an https URL", "Give the consumer one over TLS")
        if parts.username is not None or parts.query or parts.fragment:
            hint = "Leave scheme, host, port and a path prefix: the signature proves who sends"
            raise Invalid(doing, self.name, "its address holds a user, a query or a fragment", hint)


def _silent(timeout: float, name: str, doing: str) -> KeyturnError:
    return Unavailable(doing, name, f"no answer within {timeout:g} s", "See whether the consumer is overloaded")


def _unanswered(error: requests.RequestException, late: float | None, name: str, doing: str) -> KeyturnError:
    if late is not None and not untrusted(error):
        return _silent(late, name, doing)
    if isinstance(error, requests.exceptions.InvalidURL):
        return Invalid(doing, name, "its address is not a URL", "Fix the consumer's address")
    return from_connection(error, doing, name, CONSUMER)


def _refused(answer: requests.Response, name: str) -> KeyturnError:
    if slower := slower_pace(answer, DOING, name):
        return slower
    status = answer.status_code
    problem = f"answered {status}"
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
    answered, apart = f"answered {answer.status_code}", _ahead(answer.headers.get("date", ""), datetime.now(UTC))
    if abs(apart) < GOOD_FOR:
        return Denied(DOING, name, answered, "Check that it holds the webhook key that signs, and its clock")
    problem = f"{answered}, and its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the one here"
    return Denied(DOING, name, problem, "A notice is good for five minutes: set the clock that is wrong")


def _ahead(header: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return (then - now).total_seconds() if then.tzinfo else 0.0
