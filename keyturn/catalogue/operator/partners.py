"""Other organisations that share secrets: their part of a hub and their signers."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from keyturn.catalogue.operator.approvals import PublicKey
from keyturn.core.store_limits import VAULT
from keyturn.settings.fields import HubPath, Line, Model, WebUrl, matching
from keyturn.settings.stores import StoreBase

OrganisationName = Annotated[
    Line, matching(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", "is no name of an organisation", "Use a-z, 0-9 and -.")
]


class PartnerSettings(Model):
    """Another organisation, from this operator's view."""

    hub_part: HubPath
    """Its part of a hub: a namespace, or a mount without namespaces. Stores in it belong to this organisation."""
    address: WebUrl | None = None
    """The hub's address; by default, the part applies to any hub."""
    state_mount: HubPath = "keyturn"
    """The mount of its Keyturn, with its agreements."""
    signers: Annotated[dict[str, PublicKey], Field(min_length=1)]
    """Its signers: Ed25519 public keys, by the names that people use."""
    channel_file: Line | None = None
    """A file with its Apprise address for notices of revocations."""

    def has(self, store: StoreBase) -> bool:
        """Whether the store is in its part of a hub, in any spelling of namespace and mount."""
        if getattr(store, "kind", "") != VAULT:
            return False
        namespace, mount, address = (str(getattr(store, name) or "") for name in ("namespace", "mount", "address"))
        place = "/".join(part.strip("/") for part in (namespace, mount) if part.strip("/"))
        inside = f"{place}/".startswith(f"{self.hub_part.strip('/')}/")
        return inside and (self.address is None or _authority(self.address) == _authority(address))


def _authority(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return (parts.hostname or "").casefold(), parts.port or (443 if parts.scheme == "https" else 80)
