"""The hub as a drill uses it: what Keyturn keeps of the secret and of the incident lies apart."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deployments.local.drill.names import FOLDER
from keyturn.core.hub import State
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

    def read_state(self, path: str) -> State | None:
        """The entry, from its place apart."""
        return super().read_state(self._apart(path))

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write the entry to its place apart."""
        return super().write_state(self._apart(path), data, cas=cas)

    def list_state(self, prefix: str) -> Iterator[str]:
        """Every entry's path below ``prefix``, as if it lay where it always does."""
        for entry in super().list_state(self._apart(prefix)):
            yield entry if prefix.startswith(SHARED) else entry.removeprefix(f"{self._folder}/")

    def _apart(self, path: str) -> str:
        return path if path.startswith(SHARED) else f"{self._folder}/{path}"
