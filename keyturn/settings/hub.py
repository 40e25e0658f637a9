"""The hub's address, whom its connections trust, and how to log in to it; never a credential itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from keyturn.core.clear_text import is_set, leaves_in_clear
from keyturn.core.errors import Invalid
from keyturn.core.ports.grants import GRANT_TOKEN_ROLE
from keyturn.settings.durations import parse
from keyturn.settings.hub_login import AppRoleLogin, HubLogin, TokenLogin, login_from_environment
from keyturn.settings.tls import TlsSettings, tls_from_environment

INSECURE_HTTP: Final = "KEYTURN_HUB_INSECURE_HTTP"
"""The variable that allows plain http to the hub over a network."""
TOKEN_ADDRESSES: Final = "KEYTURN_HUB_TOKEN_ADDRESSES"
"""The variable with the networks where tokens for leases and for credentials of grants work."""


@dataclass(frozen=True)
class HubSettings:
    """The hub's address and references to a login; never the credential itself.

    A lease ends with the token that asked for it. So leases are asked for with an orphan token of ``lease_token_role``
    (auth/token/roles), and the credentials of grants with one of ``grant_token_role``. :class:`TlsSettings` explains
    ``ca_file`` to ``tls_server_name``. Raises Invalid for plain http to another machine, unless ``insecure_http``
    allows it.
    """

    address: str
    mount: str = "secret"
    state_mount: str = "keyturn"
    namespace: str | None = None
    ca_file: str | None = None
    login: HubLogin = field(default_factory=TokenLogin)
    lease_token_role: str | None = None
    transit_mount: str = "transit"
    client_cert_file: str | None = None
    client_key_file: str | None = None
    tls_server_name: str | None = None
    insecure_http: bool = False
    grant_token_role: str = GRANT_TOKEN_ROLE
    token_addresses: tuple[str, ...] = ()
    """The networks where tokens of both roles work; without them, those of the logins that make the tokens."""
    failover: "FailoverSettings | None" = None
    """The other one of two hubs, where there are two."""

    def __post_init__(self) -> None:
        for setting, text in (("VAULT_ADDR", self.address), ("VAULT_NAMESPACE", self.namespace or "")):
            if not (text.isascii() and text.isprintable() and " " not in text):
                problem = f"{setting} has a line break, a space or a character that it can't have"
                raise Invalid("find", "the hub", problem, f"Set {setting} to one line")
        if not self.address.lower().startswith(("https://", "http://")):
            hint = "Begin it with https://, as in https://hub.example.com:8200"
            raise Invalid("find the hub at", self.address, "that is no address of a server", hint)
        if leaves_in_clear(self.address) and not self.insecure_http:
            problem = "token and values would go to another machine in clear"
            hint = f"Give the hub an https address. If no one can listen in between, set {INSECURE_HTTP}=true"
            raise Invalid("speak plain http to", self.address, problem, hint)

    @property
    def tls(self) -> TlsSettings:
        return TlsSettings(self.ca_file, self.client_cert_file, self.client_key_file, self.tls_server_name)

    @staticmethod
    def from_environment(env: Mapping[str, str] = os.environ) -> "HubSettings":
        """Return the settings from Vault's own variables, and KEYTURN_HUB_* for the rest.

        Raises Invalid without VAULT_ADDR, and for unread variables that would change whom the hub's clients trust, or
        who they are.
        """
        if not env.get("VAULT_ADDR"):
            raise Invalid(
                "find", "the hub", "VAULT_ADDR is not set", "Set it to the hub's address, as for the vault CLI"
            )
        tls = tls_from_environment(env)
        settings = HubSettings(
            env["VAULT_ADDR"],
            mount=env.get("KEYTURN_HUB_MOUNT", "secret"),
            state_mount=env.get("KEYTURN_HUB_STATE_MOUNT", "keyturn"),
            namespace=env.get("VAULT_NAMESPACE"),
            ca_file=tls.ca_file,
            login=login_from_environment(env, Path(env["HOME"]) if env.get("HOME") else None),
            lease_token_role=env.get("KEYTURN_HUB_LEASE_TOKEN_ROLE"),
            transit_mount=env.get("KEYTURN_HUB_TRANSIT_MOUNT", "transit"),
            client_cert_file=tls.client_cert_file,
            client_key_file=tls.client_key_file,
            tls_server_name=tls.server_name,
            insecure_http=is_set(env, INSECURE_HTTP),
            grant_token_role=env.get("KEYTURN_HUB_GRANT_TOKEN_ROLE", GRANT_TOKEN_ROLE),
            token_addresses=networks_in(env.get(TOKEN_ADDRESSES, "")),
        )
        return replace(settings, failover=FailoverSettings.from_environment(settings, env))


def networks_in(text: str) -> tuple[str, ...]:
    """Return the networks in a list with commas. Raises Invalid."""
    names = tuple(filter(None, (part.strip() for part in text.split(","))))
    for name in names:
        try:
            ip_network(name, strict=False)
        except ValueError:
            hint = f"Set {TOKEN_ADDRESSES} to networks with commas between, such as 10.1.2.0/24,192.0.2.7/32"
            raise Invalid("read", TOKEN_ADDRESSES, f"{name!r} is no network", hint) from None
    return names


# --- the other hub of two

HUB_NAME: Final = "KEYTURN_HUB_NAME"
PEER_NAME: Final = "KEYTURN_PEER_NAME"
PEER_ADDRESS: Final = "KEYTURN_PEER_ADDR"
PEER_CA_FILE: Final = "KEYTURN_PEER_CACERT"
PEER_TOKEN_FILE: Final = "KEYTURN_PEER_TOKEN_FILE"
PEER_ROLE_ID_FILE: Final = "KEYTURN_PEER_ROLE_ID_FILE"
PEER_SECRET_ID_FILE: Final = "KEYTURN_PEER_SECRET_ID_FILE"
LEASE: Final = "KEYTURN_FAILOVER_LEASE"
NO_LEASE: Final = "none"
"""The lease of an environment for emergencies."""

VARIABLES: Final = (
    HUB_NAME,
    PEER_NAME,
    PEER_ADDRESS,
    PEER_CA_FILE,
    PEER_TOKEN_FILE,
    PEER_ROLE_ID_FILE,
    PEER_SECRET_ID_FILE,
    LEASE,
)


@dataclass(frozen=True)
class FailoverSettings:
    """``own`` is this hub's name, ``other`` that of ``peer``.

    With a ``lease`` this hub is written only while the other one has answered within it; with None it is also written
    while the other one can't be asked. Where the other one answers without naming the written hub, ``strict`` forbids
    writes.
    """

    own: str
    other: str
    peer: HubSettings
    lease: timedelta | None = None
    strict: bool = True

    def without_lease(self) -> "FailoverSettings":
        """Return the settings for emergencies: a hub that is silent or refuses to be asked delays nothing."""
        return replace(self, lease=None, strict=False)

    @staticmethod
    def from_environment(hub: HubSettings, env: Mapping[str, str] = os.environ) -> "FailoverSettings | None":
        """Return the other hub's settings by those of ``hub``; None where no variable names it.

        Raises Invalid for half of it.
        """
        if not any(env.get(name) for name in VARIABLES):
            return None
        for name in (HUB_NAME, PEER_NAME, PEER_ADDRESS):
            if not env.get(name):
                variables = ", ".join(variable for variable in VARIABLES if env.get(variable))
                hint = f"Set {HUB_NAME}, {PEER_NAME} and {PEER_ADDRESS} together, or none of them"
                raise Invalid("find", "the other hub", f"{name} is not set, and {variables} is", hint)
        if env[HUB_NAME] == env[PEER_NAME] or env[PEER_ADDRESS].rstrip("/") == hub.address.rstrip("/"):
            problem = "both hubs have one name, or one address"
            raise Invalid("find", "the other hub", problem, f"Correct {PEER_NAME} and {PEER_ADDRESS}")
        peer = replace(
            hub,
            address=env[PEER_ADDRESS],
            ca_file=env.get(PEER_CA_FILE) or hub.ca_file,
            tls_server_name=None,
            login=_login(env) or hub.login,
        )
        lease = env.get(LEASE, "")
        settings = FailoverSettings(env[HUB_NAME], env[PEER_NAME], peer)
        return settings.without_lease() if lease == NO_LEASE else replace(settings, lease=_lease(lease))


def _login(env: Mapping[str, str]) -> HubLogin | None:
    if file := env.get(PEER_TOKEN_FILE):
        return TokenLogin(file=file)
    if role := env.get(PEER_ROLE_ID_FILE):
        return AppRoleLogin(role, env.get(PEER_SECRET_ID_FILE))
    return None


def _lease(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        lease = parse(text)
    except ValueError:
        raise Invalid(
            "read", LEASE, "it is no duration", "Write it like 5m, or none in the environment of the revoker"
        ) from None
    if lease < timedelta(seconds=15):
        raise Invalid("read", LEASE, "it is shorter than what is looked at takes", "Give it 15s at least")
    return lease
