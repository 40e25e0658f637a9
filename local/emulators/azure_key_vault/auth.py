"""Who calls, and what they may do: the Entra ID sign-in, App Service's managed identity, and roles."""

import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import jwt
from jwt.types import Options

from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.rights import Documents

RESOURCE: Final = "https://vault.azure.net"
ACTIONS: Final = "Microsoft.KeyVault/vaults/"
TOKEN_SECONDS: Final = 3599
REMEMBERED_TOKENS: Final = 1_000
OWN_TIME: Final[Options] = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
"""The library would look at the machine's clock; this vault has its own."""

ADMINISTRATOR: Final = "Key Vault Administrator"
SECRETS_OFFICER: Final = "Key Vault Secrets Officer"
SECRETS_USER: Final = "Key Vault Secrets User"

ROLES: Final[dict[str, tuple[str, ...]]] = {
    ADMINISTRATOR: ("",),
    SECRETS_OFFICER: ("secrets/",),
    SECRETS_USER: ("secrets/getSecret/action", "secrets/readMetadata/action"),
}
"""What each built-in role allows, as beginnings of the data action's name after :data:`ACTIONS`."""

ON_SECRETS: Final[dict[str, Mapping[str, tuple[str, ...]]]] = {}
"""What a role allows besides on single secrets, by their names in small letters, where it is assigned to these."""


@dataclass(frozen=True)
class Application:
    """An application that may sign in, and its role on the vault."""

    client_id: str
    secret: str = field(repr=False)
    role: str = ADMINISTRATOR


@dataclass(frozen=True)
class Directory:
    """A tenant with its applications; ``identity_header`` opens the managed identity's endpoint."""

    tenant_id: str
    applications: tuple[Application, ...]
    identity_header: str | None = field(default=None, repr=False)
    identity_role: str = ADMINISTRATOR


class SignIn:
    """Issues and checks the tokens of one directory. Other services' sign-in differs in the first three methods."""

    def __init__(
        self,
        directory: Directory,
        signing_key: str,
        clock: Callable[[], float] = time.time,
        token_seconds: int = TOKEN_SECONDS,
    ) -> None:
        self._directory = directory
        self._key = signing_key
        self._clock = clock
        self._seconds = token_seconds
        self._checked: dict[str, dict[str, Any]] = {}

    def resources(self, base: str) -> tuple[str, ...]:
        """What tokens may be asked for; ``base`` is the address that the client used."""
        return (RESOURCE,)

    def application(self, client_id: str) -> Application | None:
        """The application of that id."""
        return next((app for app in self._directory.applications if app.client_id == client_id), None)

    def refused_secret(self, client_id: str, secret: str) -> tuple[int, str] | None:
        """Why Entra ID does not take the secret, with its number; None where it does."""
        application = self.application(client_id)
        if application is not None and _same(application.secret, secret):
            return None
        return 7000215, "Invalid client secret provided."

    def serves(self, request: Request) -> bool:
        """Whether this call is for the sign-in and not for the vault."""
        return request.parts == ("msi", "token") or request.parts[1:2] in (("oauth2",), ("v2.0",))

    def answer(self, request: Request) -> Answer:
        """The answer to a call of the sign-in."""
        match request.method, request.parts:
            case "GET", ("msi", "token"):
                return self._managed_identity(request)
            case "GET", (tenant, "v2.0", ".well-known", "openid-configuration"):
                return self._configuration(request.base, tenant)
            case "POST", (tenant, "oauth2", "v2.0", "token"):
                return self._client_credentials(tenant, request)
        return Answer({"error": "not_found"}, 404)

    def role(self, request: Request) -> str:
        """The role of the bearer. Raises a 401 refusal with the challenge that clients follow."""
        return str(self.bearer(request)["role"])

    def bearer(self, request: Request) -> dict[str, Any]:
        """The claims of the bearer's token. Raises like :meth:`role`."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._challenge(request.base, "AKV10000: Request is missing a Bearer or PoP token.")
        claims = self._claims(token, self.resources(request.base))
        if claims is None:
            raise self._challenge(request.base, "AKV10022: Invalid token: its signature, audience or lifetime.")
        return claims

    def _challenge(self, base: str, message: str) -> Refusal:
        header = f'Bearer authorization="{base}/{self._directory.tenant_id}", resource="{RESOURCE}"'
        return Refusal(401, "Unauthorized", message, headers={"WWW-Authenticate": header})

    def _claims(self, token: str, audience: tuple[str, ...]) -> dict[str, Any] | None:
        claims = self._checked.get(token)
        if claims is None:
            try:
                claims = jwt.decode(token, self._key, algorithms=["HS256"], audience=audience, options=OWN_TIME)
            except jwt.InvalidTokenError:
                return None
            if len(self._checked) >= REMEMBERED_TOKENS:
                self._checked.clear()
            self._checked[token] = claims
        return claims if claims["exp"] > self._clock() else None

    def _token(self, client_id: str, role: str, issuer: str, resource: str = RESOURCE) -> tuple[str, int]:
        now = int(self._clock())
        claims = {
            "aud": resource,
            "iss": issuer,
            "iat": now,
            "nbf": now,
            "exp": now + self._seconds,
            "appid": client_id,
            "tid": self._directory.tenant_id,
            "role": role,
        }
        return jwt.encode(claims, self._key, algorithm="HS256"), now + self._seconds

    def _configuration(self, base: str, tenant: str) -> Answer:
        if tenant != self._directory.tenant_id:
            return _no_tenant(tenant)
        root = f"{base}/{tenant}"
        return Answer(
            {
                "issuer": f"{root}/v2.0",
                "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                "token_endpoint": f"{root}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["token"],
                "subject_types_supported": ["pairwise"],
            }
        )

    def _client_credentials(self, tenant: str, request: Request) -> Answer:
        if tenant != self._directory.tenant_id:
            return _no_tenant(tenant)
        form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return _entra(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        application = self.application(form.get("client_id", ""))
        if application is None:
            return _entra(400, "unauthorized_client", 700016, "The application was not found in the directory.")
        if refused := self.refused_secret(application.client_id, form.get("client_secret", "")):
            return _entra(401, "invalid_client", *refused)
        resource = form.get("scope", "").removesuffix("/.default")
        if form.get("scope") not in [f"{accepted}/.default" for accepted in self.resources(request.base)]:
            return _entra(
                400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."
            )
        token, _ = self._token(application.client_id, application.role, f"{request.base}/{tenant}/v2.0", resource)
        lifetime = {"expires_in": self._seconds, "ext_expires_in": self._seconds}
        return Answer(
            {"token_type": "Bearer", **lifetime, "access_token": token}, headers={"Cache-Control": "no-store"}
        )

    def _managed_identity(self, request: Request) -> Answer:
        header = self._directory.identity_header
        if header is None or not _same(header, request.headers.get("x-identity-header", "")):
            return Answer({"statusCode": 401, "message": "X-IDENTITY-HEADER is missing or wrong."}, 401)
        if request.query.get("api-version") != "2019-08-01":
            return Answer({"statusCode": 400, "message": "api-version must be 2019-08-01."}, 400)
        if request.query.get("resource", "").rstrip("/") != RESOURCE:
            return Answer({"statusCode": 400, "message": "The resource is not known here."}, 400)
        client_id = str(uuid.uuid5(uuid.NAMESPACE_URL, self._directory.tenant_id))
        token, expires = self._token(client_id, self._directory.identity_role, f"{request.base}/v2.0")
        answer = {"expires_on": str(expires), "resource": RESOURCE, "token_type": "Bearer", "client_id": client_id}
        return Answer({"access_token": token, **answer}, headers={"Cache-Control": "no-store"})


def assign(role: str, documents: Documents | None) -> None:
    """Let ``role`` stand for the custom roles and assignments among these documents; None for everything."""
    if documents is None:
        ROLES[role], ON_SECRETS[role] = ROLES[ADMINISTRATOR], {}
        return
    found = [json.loads(text) for name, text in documents.items() if name.endswith(".json")]
    custom = {document["Name"]: document["DataActions"] for document in found if "DataActions" in document}
    on_vault, on_secrets = list[str](), dict[str, tuple[str, ...]]()
    for assignment in (assignment for document in found for assignment in document.get("assignments", ())):
        actions = tuple(action.removeprefix(ACTIONS) for action in custom[assignment["role"]])
        _, secret, name = assignment["scope"].partition("/secrets/")
        if secret:
            on_secrets[name.lower()] = (*on_secrets.get(name.lower(), ()), *actions)
        else:
            on_vault += actions
    ROLES[role], ON_SECRETS[role] = tuple(on_vault), on_secrets


def allow(role: str, action: str, name: str = "") -> None:
    """Raise a 403 refusal unless the role includes the data action, such as ``secrets/getSecret/action``.

    ``name`` is the secret that it is about; empty where it is about all of them.
    """
    on_secret = ON_SECRETS.get(role, {}).get(name.lower(), ())
    if any(action.startswith(beginning) for beginning in (*ROLES[role], *on_secret)):
        return
    message = (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Action: '{ACTIONS}{action}'\r\nAssignment: (not found)\r\n"
    )
    raise Refusal(403, "Forbidden", message, "ForbiddenByRbac")


def _same(expected: str, actual: str) -> bool:
    return hmac.compare_digest(expected.encode(), actual.encode())


def _no_tenant(tenant: str) -> Answer:
    return _entra(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")


def _entra(status: int, error: str, number: int, description: str) -> Answer:
    trace = {"trace_id": str(uuid.uuid4()), "correlation_id": str(uuid.uuid4())}
    return Answer(
        {"error": error, "error_description": f"AADSTS{number}: {description}", "error_codes": [number], **trace},
        status,
    )
