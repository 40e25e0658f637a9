"""The stores of Google Cloud."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from keyturn.catalogue.stores.base import StoreBase, System
from keyturn.settings.fields import Duration, Line, PositiveDuration, is_loopback, matching, refused

Project = Annotated[
    str,
    matching(r"[a-z0-9][a-z0-9.:-]*", "is not a GCP project", "Write the project's id or number."),
    WithJsonSchema({"type": "string", "examples": ["my-project"]}),
]


def _loopback_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) <= 65_535 or not is_loopback(host.strip("[]")):
        raise refused(
            "is not host:port of this machine", "Leave it out for Google Cloud; for an emulator: 127.0.0.1:PORT."
        )
    return address


LoopbackAddress = Annotated[
    str, AfterValidator(_loopback_address), WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
]


class GcpSecretManagerSettings(StoreBase):
    """Google Cloud Secret Manager, in one project. Credentials are Google's application default ones."""

    kind: Literal["gcp-secret-manager"]
    """Which store this is."""
    project: Project
    """The project's id or number."""
    endpoint: LoopbackAddress | None = None
    """An emulator on this machine, as host:port: spoken to without encryption and credentials."""

    replication: tuple[Line, ...] = ()
    """The locations that new secrets are kept in, such as europe-west3; without any, Google chooses."""
    annotations: dict[Line, Line] = Field(default_factory=dict)
    """Annotations that every copy carries besides Keyturn's own."""
    ttl: PositiveDuration | None = None
    """How long a copy lives after its last write; then Google deletes it."""
    old_versions: Literal["keep", "disable", "destroy"] = "disable"
    """What becomes of versions older than the latest two: kept, disabled, or disabled and later destroyed."""
    destroy_after: Duration = timedelta(days=7)
    """How long such a version stays disabled before a later write destroys it."""

    @property
    def system(self) -> System:
        """The project, and the address."""
        return (self.kind, self.project, (self.endpoint or "").casefold())
