"""Translates the errors of Secret Manager's SDK."""

from typing import Final

import grpc
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

from keyturn.core.errors import (
    Conflict,
    Denied,
    Invalid,
    KeyturnError,
    NotFound,
    Throttled,
    Unavailable,
    UnsupportedOperation,
)
from keyturn.providers.connection_errors import reason_in

_SIGN_IN: Final = "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
_GRANT: Final = "Grant roles/secretmanager.admin on the project to the account in use, and enable the API"
_AGAIN: Final = "Run again: it starts from the present state"
_CHECK: Final = "Check the project, the name, the size and the store's settings"
_LOCATIONS: Final = f"{_AGAIN}. Where the organization's policy names locations, set location, or replication, to some"

_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], type[KeyturnError], str, str], ...]] = (
    ((auth.DefaultCredentialsError, auth.RefreshError), Denied, "no usable Google credentials", _SIGN_IN),
    ((api.Forbidden, api.Unauthorized), Denied, "the credentials in use are refused", _GRANT),
    ((api.NotFound,), NotFound, "there is no such secret or version", ""),
    ((api.Conflict,), Conflict, "it has changed since it was read", _AGAIN),
    # It is also a BadRequest, so it must come first.
    ((api.FailedPrecondition,), Conflict, "it has changed since it was read, or a policy forbids it", _LOCATIONS),
    ((api.BadRequest,), Invalid, "the request is refused as wrong", _CHECK),
    ((api.MethodNotImplemented,), UnsupportedOperation, "the service does not offer this", ""),
)


def from_gcp(error: Exception, doing: str, name: str) -> KeyturnError:
    """Keeps the status code and none of its text."""
    code = getattr(error, "grpc_status_code", None)
    status = f" ({code.name})" if isinstance(code, grpc.StatusCode) else ""
    if isinstance(error, api.TooManyRequests):
        problem, hint = f"the quota is used up{status}", "Slow down, or ask for a higher Secret Manager quota"
        waits = [detail.retry_delay for detail in error.details if isinstance(detail, RetryInfo)]
        after = waits[0].seconds + waits[0].nanos / 1e9 if waits else None
        return Throttled(doing, name, problem, hint, after)
    for kinds, meaning, problem, hint in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(doing, name, f"{problem}{status}", hint)
    problem = f"Secret Manager did not answer{status}{reason_in(str(error))}"
    return Unavailable(doing, name, problem, "Check the network, the endpoint and the account")
