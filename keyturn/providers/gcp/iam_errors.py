"""Translates refusals of Google Cloud's REST APIs. Keeps none of their text."""

from typing import Final

import requests
from google.auth import exceptions as auth

from keyturn.core import errors
from keyturn.providers.answers import retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection

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
        return errors.Locked(doing, name, problem, "Somebody else changes it: run again")
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
