"""Where the hub is, whom its connections trust, and how to log in to it; never a credential itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.core.errors import Invalid
from keyturn.core.outbound import is_set, leaves_in_clear
from keyturn.core.ports.grants import GRANT_TOKEN_ROLE
from keyturn.settings.hub_login import HubLogin, TokenLogin, login_from_environment
from keyturn.settings.tls import TlsSettings, tls_from_environment

if TYPE_CHECKING:
    from keyturn.settings.failover import FailoverSettings

INSECURE_HTTP: Final = "KEYTURN_HUB_INSECURE_HTTP"
"""The variable that lets the hub be spoken to in clear over a network."""
TOKEN_ADDRESSES: Final = "KEYTURN_HUB_TOKEN_ADDRESSES"
"""The variable that says from which networks the tokens work that ask for leases and for credentials of grants."""


@dataclass(frozen=True)
class HubSettings:
    """Where the hub is and which references lead to a login; never the credential itself.

    A lease ends with the token that asked for it, so leases are asked for with an orphan token of
    ``lease_token_role`` (auth/token/roles), and the credentials of grants with one of ``grant_token_role``. What
    ``ca_file`` to ``tls_server_name`` mean stands in :class:`TlsSettings`. A hub on another machine has an https
    address, unless ``insecure_http`` says that nobody can listen between; else Invalid is raised.
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
    """The networks that tokens of both roles work from; none for those of the logins that make them."""
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
            hint = f"Give the hub an https address. Where nobody can listen between, set {INSECURE_HTTP}=true"
            raise Invalid("speak plain http to", self.address, problem, hint)

    @property
    def tls(self) -> TlsSettings:
        """Whom the hub's connections trust, and by which name."""
        return TlsSettings(self.ca_file, self.client_cert_file, self.client_key_file, self.tls_server_name)

    @staticmethod
    def from_environment(env: Mapping[str, str] = os.environ) -> "HubSettings":
        """Vault's own variables, and KEYTURN_HUB_* for the rest.

        Raises Invalid without VAULT_ADDR, and for what would change whom the hub's clients trust, or who they are,
        and is not read.
        """
        if not env.get("VAULT_ADDR"):
            raise Invalid(
                "find", "the hub", "VAULT_ADDR is not set", "Set it to the hub's address, as for the vault CLI"
            )
        from keyturn.settings.failover import FailoverSettings

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
    """The networks of a list with commas. Raises Invalid."""
    names = tuple(filter(None, (part.strip() for part in text.split(","))))
    for name in names:
        try:
            ip_network(name, strict=False)
        except ValueError:
            hint = f"Set {TOKEN_ADDRESSES} to networks with commas between, such as 10.1.2.0/24,192.0.2.7/32"
            raise Invalid("read", TOKEN_ADDRESSES, f"{name!r} is no network", hint) from None
    return names
