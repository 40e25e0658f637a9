"""Sign-in, SDK settings and error translation of the Azure adapters."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import requests
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from requests.utils import get_environ_proxies

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.providers.answers import objection, retry_after
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.outbound import keep_to, open_anywhere

ROLE: Final = "Key Vault Secrets Officer"

AZURE: Final = RemoteServer(
    check="Check the address, DNS, firewall and proxy",
    address="the address in the catalogue",
    authority="Set ca_file in the catalogue to its CA file",
    who="Azure",
    whose="Azure's",
)
SDK_SETTINGS: Final[Mapping[str, Any]] = {
    "connection_timeout": 5,
    "read_timeout": 10,
    "retry_total": 1,
    "retry_connect": 1,
    "retry_read": 0,
    "retry_status": 0,
    "permit_redirects": False,
}
"""In seconds. Only a failed connection is retried: repeating a write after a lost answer would add a version."""
SECRET: Final = "AZURE_CLIENT_SECRET"
TOKEN_FILE: Final = "AZURE_FEDERATED_TOKEN_FILE"
OWN_SIGN_IN: Final = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", SECRET)
SIGN_IN: Final = f"Check {', '.join(OWN_SIGN_IN)}, or the managed identity"


SignIn = (
    ClientSecretCredential
    | EnvironmentCredential
    | DefaultAzureCredential
    | ManagedIdentityCredential
    | WorkloadIdentityCredential
)


def credential(name: str, authority: str | None, trust: Mapping[str, str], client_id: str | None = None) -> SignIn:
    """The identity ``client_id``, else the environment's application, else Azure's default credential.

    ``client_id`` is a workload identity if the environment contains its token file, else a managed identity. A private
    ``authority`` needs an application: raises Invalid without one.
    """
    if client_id:
        identity = WorkloadIdentityCredential if os.environ.get(TOKEN_FILE) else ManagedIdentityCredential
        return identity(client_id=client_id, transport=open_transport(None, trust), **{**SDK_SETTINGS, **trust})
    missing = [variable for variable in OWN_SIGN_IN if not os.environ.get(variable)]
    if authority is None:
        # The default credential's chain hides why a sign-in failed, and so whether to retry.
        named = not missing or (missing == [SECRET] and os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH"))
        kind = EnvironmentCredential if named else DefaultAzureCredential
        return kind(transport=open_transport(None, trust), **SDK_SETTINGS, **trust)
    if missing:
        raise Invalid("open", name, f"{', '.join(missing)} not set", "A private authority needs all three")
    tenant, client, secret = (os.environ[variable] for variable in OWN_SIGN_IN)
    return ClientSecretCredential(
        tenant,
        client,
        secret,
        authority=authority,
        disable_instance_discovery=True,
        transport=open_transport(authority, trust),
        **SDK_SETTINGS,
        **trust,
    )


def trust_in(ca_file: str | None) -> dict[str, str]:
    """The SDK's setting for ``ca_file`` or the environment's; empty for the public authorities."""
    bundle = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return {} if bundle is None else {"connection_verify": bundle}


def open_transport(url: str | None, trust: Mapping[str, str]) -> RequestsTransport:
    """The SDK's transport: only to the server of ``url``, or anywhere for None."""
    session = requests.Session()
    if url is None:
        open_anywhere(session)
    else:
        # Reading the environment for each request would take a sixth of the request's time.
        session.trust_env = False
        session.proxies = get_environ_proxies(url)
        keep_to(session, url)
    return OneTry(session=session, **SDK_SETTINGS, **trust)


class OneTry(RequestsTransport):  # type: ignore[misc]
    def send(self, *args: Any, **settings: Any) -> Any:
        """Raises ServiceResponseError for a rejected answer, because the SDK repeats failed connections."""
        try:
            return super().send(*args, **settings)
        except ServiceRequestError as error:
            if objection(error) is None:
                raise
            raise ServiceResponseError(error, error=error) from None


@contextmanager
def translate_azure_errors(doing: str, name: str) -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise from_azure(error, doing, name) from None
    except ValueError:
        # The SDK sends no token for Key Vault to any other address.
        problem = "the Azure SDK does not take this address for a Key Vault"
        raise Invalid(doing, name, problem, "Correct vault_url, or set authority where the vault is private") from None


def from_azure(error: AzureError, doing: str, name: str) -> KeyturnError:
    """Keeps the service's code and none of its text."""
    if _unanswered(error):
        return from_connection(error, doing, name, AZURE)
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _refused(error, error.status_code, doing, name)
    if isinstance(error, ClientAuthenticationError):
        return Denied(doing, name, "Entra ID gave no token", SIGN_IN)
    return Unavailable(doing, name, f"the Azure SDK gave up ({objection(error) or type(error).__name__})")


def service_code(error: HttpResponseError) -> str:
    """The service's innermost reason code; empty without one."""
    detail = error.error
    inner = detail.innererror if detail else None
    code = (inner.get("code") if isinstance(inner, dict) else None) or (detail.code if detail else None)
    return code if isinstance(code, str) and code.isalnum() else ""


def _unanswered(error: BaseException | None) -> bool:
    """Whether the service did not answer; azure-identity reports this as failed authentication."""
    while isinstance(error, ClientAuthenticationError) and error.response is None:
        error = error.__cause__ or error.__context__
    return isinstance(error, ServiceRequestError | ServiceResponseError | DecodeError)


def _refused(error: HttpResponseError, status: int, doing: str, name: str) -> KeyturnError:
    code = service_code(error)
    problem = f"Azure answered {status}" + (f" ({code})" if code else "")
    if status == 429:
        after = getattr(error.response, "headers", {}).get("Retry-After", "")
        return Throttled(doing, name, problem, "Slow down", retry_after(after))
    if status == 408 or status >= 500:
        return Unavailable(doing, name, problem)
    if status == 404:
        return NotFound(doing, name, "there is no such secret")
    if code == "SecretDisabled":
        return NotFound(doing, name, "the secret is disabled", "Enable it, or write it again")
    if status == 409:
        return _conflict(code, doing, name)
    if status in (401, 403):
        return Denied(doing, name, problem, SIGN_IN if status == 401 else _permission_hint(code))
    return Invalid(doing, name, problem)


def _conflict(code: str, doing: str, name: str) -> KeyturnError:
    if code == "ObjectIsDeletedButRecoverable":
        hint = "Run it again: it is recovered then. Or purge it: az keyvault secret purge"
        return Conflict(doing, name, "a deleted secret has this name", hint)
    return Locked(doing, name, f"another change is under way ({code or 'Conflict'})", "Run it again in a minute")


def _permission_hint(code: str) -> str:
    if code == "ForbiddenByFirewall":
        return "Let this address through the vault's firewall"
    role = f'Give the identity the role "{ROLE}" on the vault'
    if code == "ForbiddenByPolicy":
        return f"{role}; where an Azure policy asks for an expiry or a content type, say expires_after or content_type"
    return role
