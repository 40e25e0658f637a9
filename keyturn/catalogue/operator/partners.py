"""Other organisations that secrets are shared with: where on a hub they are, and who signs for them."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from keyturn.catalogue.operator.approvals import PublicKey
from keyturn.core.text.names import VAULT
from keyturn.settings.fields import HubPath, Line, Model, WebUrl, matching
from keyturn.settings.stores import StoreBase

OrganisationName = Annotated[
    Line, matching(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", "is no name of an organisation", "Use a-z, 0-9 and -.")
]


class PartnerSettings(Model):
    """Another organisation, as the operator of this one knows it."""

    hub_part: HubPath
    """Its own part of a hub: a namespace, or a mount where there are none. Stores in it are this organisation's."""
    address: WebUrl | None = None
    """The hub's address; without it, a part of that name on any hub."""
    state_mount: HubPath = "keyturn"
    """Its Keyturn's own mount, where it keeps what it has agreed to."""
    signers: Annotated[dict[str, PublicKey], Field(min_length=1)]
    """Who signs for it: public keys of Ed25519, by the names that people know them by."""
    channel_file: Line | None = None
    """A file with the Apprise address at which it hears of revocations."""

    def has(self, store: StoreBase) -> bool:
        """Whether a store is in its part of a hub, however namespace and mount are written."""
        if getattr(store, "kind", "") != VAULT:
            return False
        namespace, mount, address = (str(getattr(store, name) or "") for name in ("namespace", "mount", "address"))
        place = "/".join(part.strip("/") for part in (namespace, mount) if part.strip("/"))
        inside = f"{place}/".startswith(f"{self.hub_part.strip('/')}/")
        return inside and (self.address is None or _authority(self.address) == _authority(address))


def _authority(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return (parts.hostname or "").casefold(), parts.port or (443 if parts.scheme == "https" else 80)
