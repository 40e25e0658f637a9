"""The hub as a drill uses it: Keyturn's state for the secret and the incident is in a separate folder."""

from typing import Final

from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from local.drill.names import FOLDER

SHARED: Final = ("targets/", "fingerprint-key", "ledger", f"{FOLDER}/")
"""State that a drill shares: admin credentials of targets, the key of the fingerprints, and the ledger's name."""


class HubOfADrill(VaultHub):
    """The real hub, with all other state, such as incidents, rotations and candidates, in ``folder``.

    In the usual place, workers would find the drill's incident and try to continue it. Their catalogue lacks its
    secret, so it would stay open.
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
