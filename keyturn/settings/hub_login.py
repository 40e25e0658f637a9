"""The login to the hub: a small class for each method, and the variables that select it.

Settings have the names of Vault Agent and External Secrets. None holds a lasting secret: they name files, a variable,
or roles of the hub. Source: "Vault Agent: auto-auth methods".
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid

AUTH: Final = "KEYTURN_HUB_AUTH"
MOUNT_PATH: Final = "KEYTURN_HUB_AUTH_MOUNT_PATH"
ROLE: Final = "KEYTURN_HUB_AUTH_ROLE"
TOKEN_PATH: Final = "KEYTURN_HUB_AUTH_TOKEN_PATH"
AUDIENCE: Final = "KEYTURN_HUB_AUTH_AUDIENCE"
REGION: Final = "KEYTURN_HUB_AUTH_REGION"
HEADER_VALUE: Final = "KEYTURN_HUB_AUTH_HEADER_VALUE"
ROLE_ID_FILE: Final = "KEYTURN_HUB_ROLE_ID_FILE"
SECRET_ID_FILE: Final = "KEYTURN_HUB_SECRET_ID_FILE"
WRAPPED_SECRET_ID_FILE: Final = "KEYTURN_HUB_WRAPPED_SECRET_ID_FILE"
TOKEN_FILE: Final = "KEYTURN_HUB_TOKEN_FILE"

SERVICE_ACCOUNT_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
"""The file with the token of a pod's service account, unless the pod was given another one."""

HELPER_CONFIGURATION: Final = "VAULT_CONFIG_PATH"
"""The variable that names the configuration of the hub's own tools, by default `~/.vault`."""

HELPER_FILE: Final = ".vault-token"
"""The file in the user's home that `keyturn login`, `vault login` and `bao login` write."""

LOGIN_VARIABLES: Final = (
    AUTH, MOUNT_PATH, ROLE, TOKEN_PATH, AUDIENCE, REGION, HEADER_VALUE,
    ROLE_ID_FILE, SECRET_ID_FILE, WRAPPED_SECRET_ID_FILE, TOKEN_FILE,
)  # fmt: skip
"""All variables for a program's login, except VAULT_TOKEN."""

_MOUNT: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True)
class TokenLogin:
    """An existing token: in ``file``, else in the variable ``env``, else in ``helper_file``.

    A person's login writes ``helper_file``, which must be accessible to its owner alone. Where the file
    ``helper_configuration`` names a token helper, that program is asked instead.
    """

    env: str = "VAULT_TOKEN"
    file: str | None = None
    helper_file: str | None = None
    helper_configuration: str | None = None


@dataclass(frozen=True)
class AppRoleLogin:
    """An AppRole's two ids, in files.

    ``wrapped_secret_id_file`` holds a token that wraps the secret id, and can be unwrapped once. The secret id is then
    stored in ``secret_id_file``, or in memory alone without that.
    """

    role_id_file: str
    secret_id_file: str | None = None
    wrapped_secret_id_file: str | None = None
    mount: str = "approle"


@dataclass(frozen=True)
class JwtLogin:
    """A JWT in a file that another program renews: read again at each login.

    With ``audience``, a JWT for another one is never sent to the hub.
    """

    role: str
    token_path: str
    audience: str | None = None
    mount: str = "jwt"


@dataclass(frozen=True)
class KubernetesLogin(JwtLogin):
    """A pod's service account: the hub asks the cluster whether its token is valid (TokenReview)."""

    token_path: str = SERVICE_ACCOUNT_TOKEN
    mount: str = "kubernetes"


@dataclass(frozen=True)
class AwsLogin:
    """AWS's identity of this process: a signed request to STS (GetCallerIdentity), which the hub sends in its place.

    ``region`` is the STS that signs, the global one if None. ``header_value`` is the hub's own name. It is signed too,
    so that no other hub can use the request (``iam_server_id_header_value``).
    """

    role: str
    region: str | None = None
    header_value: str | None = None
    mount: str = "aws"


@dataclass(frozen=True)
class CertLogin:
    """The client certificate that the connection shows. Without ``role`` the hub takes the first role that fits."""

    role: str | None = None
    mount: str = "cert"


HubLogin = TokenLogin | AppRoleLogin | JwtLogin | AwsLogin | CertLogin


def login_from_environment(env: Mapping[str, str], home: Path | None = None) -> HubLogin:
    """Return the login that KEYTURN_HUB_AUTH names; without it an AppRole where its role id is given, else a token.

    ``home`` is the directory of a person's own token, unknown if None. Raises Invalid, naming the variable, for an
    unknown method, a missing setting, and a setting that the method would ignore.
    """
    method = env.get(AUTH) or ("approle" if env.get(ROLE_ID_FILE) else "token")
    if method not in _READ:
        raise _wrong(AUTH, f"is none of {', '.join(_READ)}", "Set it to one of these")
    for name in (MOUNT_PATH, ROLE, TOKEN_PATH, AUDIENCE, REGION, HEADER_VALUE):
        if env.get(name) and name not in _READ[method]:
            readers = [reader for reader, names in _READ.items() if name in names]
            hint = f"Unset it, or set {AUTH} to a method that reads it: {', '.join(readers)}"
            raise _wrong(name, f"is set, which the method {method} does not read", hint)
    return _token(env, home) if method == "token" else _MADE[method](env)


def _token(env: Mapping[str, str], home: Path | None) -> TokenLogin:
    file = env.get(TOKEN_FILE) or None
    if home is None:
        return TokenLogin(file=file)
    return TokenLogin(
        file=file, helper_file=str(home / HELPER_FILE), helper_configuration=helper_configuration(env, home)
    )


def helper_configuration(env: Mapping[str, str], home: Path) -> str:
    """Return the configuration of the hub's own tools for this user; the file may be missing."""
    return env.get(HELPER_CONFIGURATION) or str(home / ".vault")


def _approle(env: Mapping[str, str]) -> AppRoleLogin:
    role_id = _needed(env, "approle", ROLE_ID_FILE, "Name the file that holds the role id")
    secret_id, wrapped = env.get(SECRET_ID_FILE) or None, env.get(WRAPPED_SECRET_ID_FILE) or None
    if not secret_id and not wrapped:
        hint = f"Name the file that holds the secret id, or {WRAPPED_SECRET_ID_FILE} one that holds it wrapped"
        raise _wrong(SECRET_ID_FILE, "is not set, which the method approle needs", hint)
    return AppRoleLogin(role_id, secret_id, wrapped, _mount(env, "approle"))


def _jwt(env: Mapping[str, str]) -> JwtLogin:
    path = _needed(env, "jwt", TOKEN_PATH, "Name the file that holds the JWT")
    return JwtLogin(_role(env, "jwt"), path, env.get(AUDIENCE) or None, _mount(env, "jwt"))


def _kubernetes(env: Mapping[str, str]) -> KubernetesLogin:
    path, audience = env.get(TOKEN_PATH) or SERVICE_ACCOUNT_TOKEN, env.get(AUDIENCE) or None
    return KubernetesLogin(_role(env, "kubernetes"), path, audience, _mount(env, "kubernetes"))


def _aws(env: Mapping[str, str]) -> AwsLogin:
    region = env.get(REGION) or None
    if region and not _REGION.fullmatch(region):
        raise _wrong(REGION, "is no region of AWS", "Write it as AWS does, such as eu-central-1")
    return AwsLogin(_role(env, "aws"), region, env.get(HEADER_VALUE) or None, _mount(env, "aws"))


def _cert(env: Mapping[str, str]) -> CertLogin:
    if not env.get("VAULT_CLIENT_CERT"):
        hint = "Name the files of the certificate and of its key there and in VAULT_CLIENT_KEY"
        raise _wrong("VAULT_CLIENT_CERT", "is not set, which the method cert needs", hint)
    if not env.get("VAULT_ADDR", "").startswith("https:"):
        raise _wrong("VAULT_ADDR", "is no https address: a certificate is shown over TLS alone", "Set it to one")
    return CertLogin(env.get(ROLE) or None, _mount(env, "cert"))


_MADE: Final[Mapping[str, Callable[[Mapping[str, str]], HubLogin]]] = {
    "approle": _approle,
    "kubernetes": _kubernetes,
    "jwt": _jwt,
    "aws": _aws,
    "cert": _cert,
}

_READ: Final[Mapping[str, Collection[str]]] = {
    "token": (),
    "approle": (MOUNT_PATH,),
    "kubernetes": (MOUNT_PATH, ROLE, TOKEN_PATH, AUDIENCE),
    "jwt": (MOUNT_PATH, ROLE, TOKEN_PATH, AUDIENCE),
    "aws": (MOUNT_PATH, ROLE, REGION, HEADER_VALUE),
    "cert": (MOUNT_PATH, ROLE),
}
"""The methods, and the variables with the prefix KEYTURN_HUB_AUTH that each of them reads."""


def _role(env: Mapping[str, str], method: str) -> str:
    return _needed(env, method, ROLE, "Set it to the role's name in the hub")


def _mount(env: Mapping[str, str], method: str) -> str:
    mount = (env.get(MOUNT_PATH) or method).strip("/").removeprefix("auth/")
    if not _MOUNT.fullmatch(mount) or {".", ".."} & set(mount.split("/")):
        raise _wrong(MOUNT_PATH, "is no path of a method", f"Write it as `vault auth list` does, such as {method}")
    return mount


def _needed(env: Mapping[str, str], method: str, name: str, hint: str) -> str:
    if value := env.get(name):
        return value
    raise _wrong(name, f"is not set, which the method {method} needs", hint)


def _wrong(name: str, problem: str, hint: str) -> Invalid:
    return Invalid("log in to", "the hub", f"{name} {problem}", hint)
