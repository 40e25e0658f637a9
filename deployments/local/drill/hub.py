"""The hub as a drill uses it: Keyturn's state for the secret and the incident is in a separate folder."""

from typing import Final

from deployments.local.drill.names import FOLDER
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings

SHARED: Final = ("targets/", "fingerprint-key", "ledger", f"{FOLDER}/")
"""What is the same for a drill: Keyturn's own accounts at targets, the key of fingerprints, and the ledger's name."""


class HubOfADrill(VaultHub):
    """The real hub, where all else that Keyturn keeps, such as incidents and rotations, lies below ``folder``.

    Workers look for open incidents where they always are. They would go on with this one, of a secret that their
    catalogue does not know, and it would stay open for good.
    """

    def __init__(self, settings: HubSettings, folder: str) -> None:
        super().__init__(settings)
        self._folder = folder

    def _state_url(self, kind: str, path: str) -> str:
        return super()._state_url(kind, self._apart(path))

    def _state_name(self, path: str) -> str:
        return super()._state_name(self._apart(path))

    def _apart(self, path: str) -> str:
        return path if path.startswith(SHARED) else f"{self._folder}/{path}"
