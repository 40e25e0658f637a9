"""Whether a person's token may see the page; the hub decides and logs the access.

Source: "Lookup a token (self)" and "Read secret version" in the API of Vault and of OpenBao.
"""

from keyturn.core.errors import Denied, NotFound
from keyturn.core.ports.viewers import DASHBOARD, Viewer
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.grants import networks_of
from keyturn.providers.vault.identity import identity_of
from keyturn.settings.hub import HubSettings


@reads_answers("the hub")
class VaultViewers:
    """A :class:`keyturn.core.ports.viewers.ViewersPort`."""

    def __init__(self, settings: HubSettings) -> None:
        self._place = f"{settings.state_mount}/data/{DASHBOARD}"
        self._calls = Calls(settings)

    def admit(self, token: Sensitive) -> Viewer:
        """Raises Denied, Unavailable. An absent entry admits, because only a permitted reader gets 404."""
        try:
            answer = self._calls.get("see", "the page", self._place, token.reveal()).json()
        except NotFound:
            pass
        else:
            if answer.get("wrap_info"):
                raise Denied("see", "the page", "others have to agree first", "Ask the hub itself")
        about = self._calls.get("look up", "the viewer's token", "auth/token/lookup-self", token.reveal())
        facts = about.json()["data"]
        return Viewer(identity_of(facts).name, networks_of(facts))

    def close(self) -> None:
        self._calls.close()
