"""The addresses of a test run's servers, for child processes."""

import json
from dataclasses import asdict, dataclass

import hvac

from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin

TOKEN_VARIABLE = "KEYTURN_TEST_HUB_TOKEN"
REGION = "eu-central-1"


@dataclass(frozen=True)
class World:
    """Where everything is. The hub's token lies in the environment variable ``TOKEN_VARIABLE``."""

    hub_address: str
    hub_token: str
    host: str
    port: int
    superuser_password: str
    log: str
    hub_ca: str | None = None
    hub_clear_port: int | None = None

    @property
    def hub_in_clear(self) -> str:
        """The hub's other address, for what stands between it and its clients, and knows no TLS."""
        return f"http://127.0.0.1:{self.hub_clear_port}" if self.hub_clear_port else self.hub_address

    def hub(self) -> VaultHub:
        """A new connection to the hub."""
        return VaultHub(HubSettings(self.hub_address, ca_file=self.hub_ca, login=TokenLogin(TOKEN_VARIABLE)))

    def root(self) -> hvac.Client:
        """The SDK's own client, which knows nothing of Keyturn."""
        return hvac.Client(url=self.hub_address, token=self.hub_token, verify=self.hub_ca or True)

    def to_json(self) -> str:
        """For a child process."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "World":
        """In the child."""
        return World(**json.loads(text))
