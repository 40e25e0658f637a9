"""Sends ledger entries to an HTTP collector: a batch is one POST of lines, which a 2xx status acknowledges."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import requests

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable
from keyturn.ledger.formats import Format
from keyturn.ledger.forwarding import Message
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.http.api_target import api_session, slower_pace

DOING: Final = "forward to"
COLLECTOR: Final = RemoteServer(
    check="See whether the collector runs; what it has not acknowledged is sent again",
    address="KEYTURN_FORWARD_HTTP",
    authority="Name the authority that signed it in KEYTURN_FORWARD_HTTP_CA_FILE, or renew the certificate",
)
INSECURE_HTTP: Final = "KEYTURN_FORWARD_HTTP_INSECURE_HTTP"
TIMEOUT: Final = 20.0
"""Seconds to connect, and for the whole answer."""
ANSWER_LIMIT: Final = 4096  # bytes
PORTS: Final = {"http": 80, "https": 443}
CONTENT_TYPES: Final = {
    Format.JSONL: "application/x-ndjson",
    Format.OCSF: "application/x-ndjson",
    Format.CEF: "text/plain; charset=utf-8",
}


class HttpCollector:
    """A :class:`keyturn.ledger.forwarding.Collector` at an https URL. Raises Invalid.

    Plain http works to this machine only, unless ``insecure_http``. ``token_file`` holds its token, or a whole
    Authorization header. Errors name the host only, since some collectors have a token in the path.
    """

    def __init__(
        self,
        url: str,
        form: Format = Format.JSONL,
        *,
        token_file: str | None = None,
        ca_file: str | None = None,
        timeout: float = TIMEOUT,
        insecure_http: bool = False,
    ) -> None:
        parts = _parts(url, insecure_http)
        self.name = _name(parts)
        self.form = form
        self._url = url
        self._token_file = token_file
        self._timeout = timeout
        self._ca_file = ca_file

    def deliver(self, ledger: str, messages: Sequence[Message]) -> None:
        """Send these in one request, whose headers name the ledger and the first and last sequence numbers."""
        headers = {
            "content-type": CONTENT_TYPES[self.form],
            "keyturn-ledger": ledger,
            "keyturn-sequences": f"{messages[0].sequence}-{messages[-1].sequence}",
            **self._authorization(),
        }
        body = "".join(f"{message.text}\n" for message in messages).encode()
        try:
            with (
                api_session(self._url, self._ca_file) as http,
                http.post(
                    self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                ) as answer,
            ):
                next(answer.iter_content(ANSWER_LIMIT), None)
        except OSError as error:
            raise self._unanswered(error) from None
        if not 200 <= answer.status_code < 300:
            raise self._refused(answer)

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = Path(self._token_file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token or not token.isascii() or not token.isprintable():
            hint = "Write it, on one line, to the file that KEYTURN_FORWARD_HTTP_TOKEN_FILE names"
            raise Invalid(DOING, self.name, "its token can't be read", hint)
        return {"authorization": token if " " in token else f"Bearer {token}"}

    def _unanswered(self, error: OSError) -> KeyturnError:
        if isinstance(error, requests.Timeout):
            problem = f"no answer within {self._timeout:g} s"
            return Unavailable(DOING, self.name, problem, "See whether it is overloaded")
        if not isinstance(error, requests.RequestException):
            hint = "Name a file of PEM certificates in KEYTURN_FORWARD_HTTP_CA_FILE"
            return Invalid(DOING, self.name, "its authority's certificate can't be read", hint)
        return from_connection(error, DOING, self.name, COLLECTOR)

    def _refused(self, answer: requests.Response) -> KeyturnError:
        if slower := slower_pace(answer, DOING, self.name):
            return slower
        status = answer.status_code
        problem = f"answered {status}"
        if status == 408 or status >= 500:
            return Unavailable(DOING, self.name, problem, "See the collector's own log if it continues")
        if status in (401, 403):
            return Denied(DOING, self.name, problem, "Check the token in KEYTURN_FORWARD_HTTP_TOKEN_FILE")
        if 300 <= status < 400:
            return Invalid(DOING, self.name, f"{problem}, a redirect, which is not followed", "Give its final URL")
        hint = "Compare KEYTURN_FORWARD_HTTP and KEYTURN_FORWARD_HTTP_FORMAT with what the collector takes"
        return Invalid(DOING, self.name, problem, hint)


def _parts(url: str, insecure_http: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in PORTS and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise _unusable("its address is not an https URL", "Write https://host/path")
    if parts.username is not None or parts.query or parts.fragment:
        hint = "Leave scheme, host, port and path, and put a token into KEYTURN_FORWARD_HTTP_TOKEN_FILE"
        raise _unusable("its address holds a user, a query or a fragment", hint)
    if leaves_in_clear(url) and not insecure_http:
        hint = f"Use https; if no one can listen or write in between, set {INSECURE_HTTP}=true"
        raise _unusable("plain http to another machine", hint)
    return parts


def _unusable(problem: str, hint: str) -> Invalid:
    return Invalid("open", "the HTTP collector", problem, hint)


def _name(parts: SplitResult) -> str:
    path = parts.path.strip("/")
    apart = f"/{hashlib.sha256(path.encode()).hexdigest()[:8]}" if path else ""
    return f"{parts.scheme}/{parts.hostname}:{parts.port or PORTS[parts.scheme]}{apart}"
