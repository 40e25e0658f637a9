"""The stores of Google Cloud."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.core.clear_text import is_loopback
from keyturn.core.ports.stores import Details
from keyturn.core.rights import gcp_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.store_limits import GCP_SECRET_MANAGER, LIMITS
from keyturn.core.text.details import GCP_ANNOTATIONS, GCP_LABELS, GCP_MAX_ANNOTATIONS, GCP_ROOM, SHOWN, size_of
from keyturn.settings.fields import Duration, Line, PositiveDuration, matching, refused
from keyturn.settings.stores import Accounts, StoreBase, System

Project = Annotated[
    str,
    matching(r"[a-z0-9][a-z0-9.:-]*", "is not a GCP project", "Write the project's id or number."),
    WithJsonSchema({"type": "string", "examples": ["my-project"]}),
]


NOT_HERE: Final = "is not host:port of this machine"
FOR_EMULATORS: Final = "Leave it out for Google Cloud; for an emulator: 127.0.0.1:PORT."


PLAIN_HOST: Final = re.compile(r"[\w.-]+|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
"""Excludes gRPC schemes (`ipv4:`, `dns:`), which would bypass checks of the host."""


def _address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not PLAIN_HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) <= 65_535:
        raise refused(NOT_HERE, FOR_EMULATORS)
    return address


def _is_here(address: str) -> bool:
    return is_loopback(address.rpartition(":")[0].strip("[]"))


def _loopback_address(address: str) -> str:
    if not _is_here(_address(address)):
        raise refused(NOT_HERE, FOR_EMULATORS)
    return address


_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
Address = Annotated[str, AfterValidator(_address), _SCHEMA]
LoopbackAddress = Annotated[str, AfterValidator(_loopback_address), _SCHEMA]


Location = Annotated[
    str,
    matching(r"[a-z]+(-[a-z]+)*-?[0-9]+", "is not a location of Google Cloud", "Write its name, such as europe-west3."),
    WithJsonSchema({"type": "string", "examples": ["europe-west3"]}),
]
KMS_KEY: Final = r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+"
KmsKey = Annotated[
    str,
    matching(KMS_KEY, "is not a key of Cloud KMS", "Write projects/*/locations/*/keyRings/*/cryptoKeys/*."),
    WithJsonSchema({"type": "string", "pattern": f"^{KMS_KEY}$"}),
]


class GcpSecretManagerSettings(StoreBase):
    """Google Cloud Secret Manager, in one project. Credentials are Google's application default ones."""

    kind: Literal["gcp-secret-manager"]
    """The kind of store."""
    project: Project
    """The project's id or number."""
    location: Location | None = None
    """The location of regional secrets, such as europe-west3; by default, the project's global ones."""
    endpoint: Address | None = None
    """An emulator, as host:port, without Google's credentials. It needs a ca_file, unless it is on this machine."""
    ca_file: Line | None = None
    """A PEM file with the CA of the emulator's certificate; it enables TLS."""
    token_file: Line | None = None
    """A file with the emulator's own bearer token, sent over TLS only."""

    replication: tuple[Line, ...] = ()
    """The locations of new secrets, such as europe-west3; by default, Google chooses."""
    kms_key_name: KmsKey | None = None
    """The Cloud KMS key of new regional secrets, in the same location; by default, Google's."""
    annotations: dict[Line, Line] = Field(default_factory=dict)
    """Annotations of every copy, in addition to Keyturn's own."""
    ttl: PositiveDuration | None = None
    """The lifetime of a copy after its last write; then Google deletes it."""
    old_versions: Literal["keep", "disable", "destroy"] = "disable"
    """The treatment of versions older than the latest two: keep, disable, or disable and later destroy."""
    destroy_after: Duration = timedelta(days=7)
    """The time that such a version stays disabled before a later write destroys it."""

    ADAPTER = "keyturn.providers.gcp.store:GcpSecretManager"
    ASKS = "keyturn.providers.gcp.rights:ask_secret_manager"
    EXTRA = "gcp"
    LIMITS = LIMITS[GCP_SECRET_MANAGER]
    MERGES = True
    TAKES = SHOWN[GCP_SECRET_MANAGER]
    QUOTA = 10 / 3
    """600 writes a minute, three of them for each copy."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.location and self.replication:
            raise refused("a regional secret is not replicated", "Keep location, or replication.", "replication")
        if self.kms_key_name and not self.location:
            raise refused("only regional secrets take a key here", "Say location too, or leave it out.", "kms_key_name")
        if self.kms_key_name and self.kms_key_name.split("/")[3] != self.location:
            message = "the key is of another location than the secrets"
            raise refused(message, f"Name one in {self.location}: Google takes no other.", "kms_key_name")
        if self.endpoint and not self.ca_file and not _is_here(self.endpoint):
            raise refused(f"{NOT_HERE}, and has no ca_file", FOR_EMULATORS, "endpoint")
        if self.ca_file and not self.endpoint:
            raise refused("only an emulator has its own CA", "Say endpoint too, or leave it out.", "ca_file")
        if self.token_file and not self.ca_file:
            raise refused("a token goes over TLS alone", "Say endpoint and ca_file too.", "token_file")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        return (self.location,) if self.location else self.replication

    @property
    def place_remedy(self) -> str:
        return "Say location, or replication, on the store: without either, Google chooses."

    @property
    def accounts(self) -> Accounts:
        return {("project",): self.project}

    @property
    def system(self) -> System:
        home = f"{self.project}/{self.location}" if self.location else self.project
        return (self.kind, home, (self.endpoint or "").casefold())

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        return gcp_rights.role_files(gcp_rights.GcpScope(self.location or "", self.old_versions), copies)

    def refuses_details(self, details: Details) -> str | None:
        """Includes the expiry: Secret Manager's own would delete the secret."""
        if details.expires_at:
            return (
                f"{self.kind} deletes a secret that expires: leave it out, or set the store's ttl where that is meant"
            )
        return (
            super().refuses_details(details)
            or GCP_LABELS.refuses(self.kind, details.tags)
            or GCP_ANNOTATIONS.refuses(self.kind, details.annotations)
            or self._refuses_size(details)
        )

    def _refuses_size(self, details: Details) -> str | None:
        size = size_of({**self.annotations, **details.annotations}) + len(" ".join(details.names).encode())
        if size < (room := GCP_MAX_ANNOTATIONS - GCP_ROOM):
            return None
        return f"{self.kind}: all annotations together have to be below {room} bytes, with the names of all tags"
