"""Why a connection failed: the cause, and the setting that fixes it."""

import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EHOSTUNREACH, ENETUNREACH
from http.client import RemoteDisconnected
from typing import Final, TypeVar

from urllib3.util.ssl_match_hostname import CertificateError

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, Unproven
from keyturn.providers.answers import RefusedAnswer, causes_of

E = TypeVar("E", bound=BaseException)

NOT_YET_VALID, EXPIRED, HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH = 9, 10, 62, 64
"""OpenSSL's results of a certificate's check (X509_V_ERR_*, x509_vfy.h)."""

NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE"})
ABOUT_CLIENT: Final = re.compile(r"CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED")
"""Alerts that refuse the client's certificate (RFC 8446, 6.2)."""

WANTS_TLS: Final = re.compile(
    r"HTTP request to an HTTPS server|HTTP request was sent to HTTPS port|plain HTTP to an SSL-enabled server port"
)
UNRESOLVED: Final = re.compile(r"Failed to resolve '([^']+)'")
REASONS: Final = (
    (re.compile("not yet valid"), "its certificate is not valid yet by this machine's clock"),
    (re.compile("certificate has expired"), "its certificate has expired by this machine's clock"),
    (re.compile("certificate is not valid for|does not match host name"), "its certificate is for another name"),
    (re.compile("translate host name|not known|[Nn]ame resolution|DNS resolution"), "its name can't be resolved"),
    (re.compile("Connection refused"), "the connection is refused"),
    (re.compile("No route to host|Network is unreachable"), "no route leads there"),
)


@dataclass(frozen=True)
class RemoteServer:
    """``address`` names the setting with its address; the other hints fix their failures.

    ``check`` is the hint without an answer, ``authority`` for an untrusted certificate, ``other_name`` for another name
    in it, and ``client`` for a wanted client certificate. ``untrusted`` is the class for a bad certificate.
    """

    check: str
    address: str
    authority: str
    who: str = "it"
    whose: str = "its"
    other_name: str = ""
    client: str = ""
    untrusted: type[KeyturnError] = Unproven


def from_connection(error: BaseException, doing: str, name: str, server: RemoteServer) -> KeyturnError:
    """Contains no text of an answer."""
    if refused := find_cause(error, RefusedAnswer):
        return Unavailable(doing, name, f"{server.who} does not answer as it should: {refused}", server.check)
    if checked := find_cause(error, ssl.SSLCertVerificationError):
        return server.untrusted(doing, name, *_certificate(checked.verify_code, server))
    if find_cause(error, CertificateError):
        return server.untrusted(doing, name, *_certificate(HOSTNAME_MISMATCH, server))
    if agreed := find_cause(error, ssl.SSLError):
        return _handshake(agreed, doing, name, server)
    if problem := _unresolved(error):
        hint = f"Correct the host in {server.address}, or check this machine's DNS"
        return Unavailable(doing, name, problem, hint)
    more = f". Begin {server.address} with https:// if it speaks TLS there" if _cut_in_clear(error) else ""
    return Unavailable(doing, name, f"{server.who} does not answer{_reason(error)}", f"{server.check}{more}")


def from_plain_http(status: int, text: str, doing: str, name: str, server: RemoteServer) -> KeyturnError | None:
    """A TLS port's refusal of plain HTTP; None for every other answer."""
    if status != 400 or not WANTS_TLS.search(text):
        return None
    problem = f"{server.address} begins with http://, and {server.who} speaks TLS at that port"
    return Invalid(doing, name, problem, f"Begin {server.address} with https://")


def reason_in(text: str) -> str:
    return next((f": {words}" for pattern, words in REASONS if pattern.search(text)), "")


def find_cause(error: BaseException, kind: type[E]) -> E | None:
    return next((cause for cause in causes_of(error) if isinstance(cause, kind)), None)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _certificate(code: int, server: RemoteServer) -> tuple[str, str]:
    if code == NOT_YET_VALID:
        problem = f"{server.whose} certificate is not valid yet by this machine's clock ({_now()})"
        return problem, "Set this machine's clock. If it is right, the certificate is: issue it again"
    if code == EXPIRED:
        problem = f"{server.whose} certificate has expired by this machine's clock ({_now()})"
        return problem, "Renew the certificate. If it is valid, set this machine's clock"
    if code in (HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH):
        hint = server.other_name or f"Set {server.address} to a name that the certificate has"
        return f"{server.whose} certificate is for another name", hint
    return f"{server.whose} certificate is not trusted", server.authority


def _handshake(error: ssl.SSLError, doing: str, name: str, server: RemoteServer) -> KeyturnError:
    """Only a refused client is Denied."""
    reason = error.reason or ""
    if reason in NO_TLS:
        hint = f"Check scheme, host and port in {server.address}"
        return Unproven(doing, name, f"{server.who} speaks no TLS at that port", hint)
    alert = re.sub(r"^(TLS|SSL)V\d+_(ALERT_)?", "", reason).lower().replace("_", " ")
    if "ALERT" in reason and ABOUT_CLIENT.search(reason):
        problem = f"{server.who} refuses the client's certificate, or wants one ({alert})"
        return Denied(doing, name, problem, server.client or "Let it accept this client")
    detail = alert or "the connection was closed"
    problem = f"{server.who} does not answer: the TLS handshake failed ({detail})"
    return Unavailable(doing, name, problem, ". ".join(filter(None, (server.check, server.client))))


def _unresolved(error: BaseException) -> str:
    if not find_cause(error, socket.gaierror):
        return ""
    named = next(filter(None, (UNRESOLVED.search(str(cause)) for cause in causes_of(error))), None)
    return f"the name {named[1]} can't be resolved" if named else "its name can't be resolved"


def _cut_in_clear(error: BaseException) -> bool:
    urls = (str(getattr(getattr(cause, "request", None), "url", "")) for cause in causes_of(error))
    closed = find_cause(error, RemoteDisconnected) or find_cause(error, ConnectionResetError)
    return closed is not None and any(url.startswith("http://") for url in urls)


def _reason(error: BaseException) -> str:
    if find_cause(error, ConnectionRefusedError):
        return ": the connection is refused"
    if find_cause(error, RemoteDisconnected):
        return ": it closed the connection"
    unreachable = (ENETUNREACH, EHOSTUNREACH)
    if any(isinstance(cause, OSError) and cause.errno in unreachable for cause in causes_of(error)):
        return ": no route leads there"
    return ""
