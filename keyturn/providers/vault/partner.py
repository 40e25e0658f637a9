"""Another organisation's Keyturn state mount, open to this login for copies there."""

from keyturn.core.ports.hub import StatePort
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.store import store_login
from keyturn.settings.hub import HubSettings


def open_state(
    state_mount: str,
    *,
    address: str,
    mount: str = "secret",
    namespace: str | None = None,
    ca_file: str | None = None,
    token_file: str | None = None,
    role_id_file: str | None = None,
    secret_id_file: str | None = None,
) -> StatePort:
    """The state mount of a :class:`keyturn.providers.vault.store.VaultStore` with the same settings."""
    login = store_login(token_file, role_id_file, secret_id_file)
    return VaultHub(HubSettings(address, mount, state_mount, namespace, ca_file, login))
