"""Sessions, answers and refusals of Google Cloud's REST APIs. Keeps none of the refusals' text."""

from typing import Any, Final

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport import requests as transport

from keyturn.core import errors
from keyturn.core.clear_text import is_loopback
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.outbound import open_anywhere

CHECK: Final = "Check the network and the endpoint"
GOOGLE: Final = RemoteServer(
    check=CHECK,
    address="the endpoint",
    authority="Give the CA that signed it as ca_file in the catalogue",
    who="Google",
    whose="Google's",
)
SIGN_IN: Final = "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
GRANT: Final = "Grant roles/iam.serviceAccountKeyAdmin on the service account to the caller, and enable the IAM API"
NO_ACCOUNT: Final = "Correct the service account in the secret's rotation, or the project of the target"


def authorized_session(name: str, scope: str, endpoint: str | None) -> tuple[Any, requests.Session]:
    """Return a session with the one that signs it in; none signs in at ``endpoint``.

    Raises Denied without credentials, and Invalid unless ``endpoint`` is a loopback host:port.
    """
    host, _, port = (endpoint or "").rpartition(":")
    if endpoint is not None and not (is_loopback(host) and port.isdigit()):
        problem = f"endpoint {endpoint!r} is not a loopback host:port"
        raise errors.Invalid("open", name, problem, "Leave it out for Google Cloud")
    signing_in = requests.Session()
    try:
        credentials: Any = google.auth.default(scopes=[scope])[0] if endpoint is None else AnonymousCredentials()  # type: ignore[no-untyped-call]
    except (auth.GoogleAuthError, requests.RequestException) as error:
        raise from_google(error, "open", name) from None
    session: Any = transport.AuthorizedSession(credentials, auth_request=transport.Request(signing_in))  # type: ignore[no-untyped-call]
    # No token or signature follows a redirect.
    session.max_redirects = signing_in.max_redirects = 0
    # On loopback, the environment's proxy would see the keys.
    session.trust_env = signing_in.trust_env = endpoint is None
    open_anywhere(signing_in)
    open_anywhere(session)
    return session, signing_in


def document_of(answer: requests.Response, doing: str, name: str) -> dict[str, Any]:
    """Raises Unavailable for anything but a JSON object."""
    try:
        document = answer.json()
    except requests.exceptions.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise errors.Unavailable(doing, name, "the answer is not Google's", CHECK)
    return document


def translate_refusal(
    answer: requests.Response, doing: str, name: str, grant: str = GRANT, absent: str = NO_ACCOUNT
) -> errors.KeyturnError:
    """Source: AIP-193. ``grant`` and ``absent`` are the hints for a missing permission or resource."""
    status = answer.status_code
    problem = f"Google answered {status}"
    if status in (401, 403):
        return errors.Denied(doing, name, problem, grant)
    if status == 404:
        return errors.NotFound(doing, name, problem, absent)
    if status == 409:
        return errors.Locked(doing, name, problem, "Something else changes it: run it again")
    if status == 429:
        return errors.Throttled(doing, name, problem, "", retry_after(answer.headers.get("Retry-After", "")))
    if status >= 500:
        return errors.Unavailable(doing, name, problem)
    return errors.Invalid(doing, name, problem, "Check the project and the account")


def from_google(error: Exception, doing: str, name: str) -> errors.KeyturnError:
    kind = type(error).__name__
    lasting = isinstance(error, auth.GoogleAuthError) and not error.retryable
    if lasting and not isinstance(error, auth.TransportError):
        return errors.Denied(doing, name, f"no usable Google credentials ({kind})", SIGN_IN)
    return from_connection(error, doing, name, GOOGLE)
