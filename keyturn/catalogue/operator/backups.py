"""Backups of the hub: place, keys, interval and restore drills.

They are in the operator's file, because authors of the catalogue must not choose the place of a full copy.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from keyturn.catalogue.operator.approvals import KeyName, PublicKey
from keyturn.settings.fields import HttpsUrl, Line, Model, PositiveDuration, WebUrl, matching, refused

KEY_NAMES = "file:PATH, x25519:PATH, kms:ARN, azure:https://VAULT/keys/NAME or transit:NAME@ADDRESS"
WrappingKey = Annotated[
    Line, matching(r"(file|x25519|kms|azure|transit):.+", "is the name of no key", f"Write {KEY_NAMES}.")
]
Prefix = Annotated[
    str, matching(r"([A-Za-z0-9._-]+/)*", "is no prefix of objects", "Write it as in keyturn/prod/, or leave it out.")
]


class ObjectPlaceSettings(Model):
    """Common settings of object stores."""

    prefix: Prefix = ""
    """The prefix of all object names, with a final slash."""
    retain: PositiveDuration | None = None
    """The time in which no one can remove an object, by the store's own lock."""


class S3PlaceSettings(ObjectPlaceSettings):
    """A bucket of S3, or of a compatible store."""

    kind: Literal["s3"]
    bucket: Line
    region: Line
    endpoint_url: WebUrl | None = None
    """The address of a compatible store."""
    profile: Line | None = None
    role_arn: Line | None = None
    """The role to assume there."""
    mode: Literal["governance", "compliance"] = "compliance"
    """The mode of the lock: compliance binds everyone, governance those without the right to bypass it. The bucket
    needs Object Lock."""


class AzurePlaceSettings(ObjectPlaceSettings):
    """A container of Azure Blob Storage."""

    kind: Literal["azure-blob"]
    account_url: HttpsUrl
    """https://ACCOUNT.blob.core.windows.net"""
    container: Line
    ca_file: Line | None = None
    authority: HttpsUrl | None = None
    """The address of a private sign-in."""
    mode: Literal["unlocked", "locked"] = "locked"
    """The state of the immutability policy. The container needs version-level immutability."""


class GcsPlaceSettings(ObjectPlaceSettings):
    """A bucket of Google Cloud Storage."""

    kind: Literal["gcs"]
    bucket: Line
    endpoint: Line | None = None
    """HOST:PORT of an emulator on this machine."""
    mode: Literal["unlocked", "locked"] = "locked"
    """The state of the retention. The bucket needs object retention."""


class DirectoryPlaceSettings(Model):
    """A directory: another disk, or a shared file system."""

    kind: Literal["directory"]
    directory: Annotated[str, matching(r"/.*", "is no whole path", "Begin with /.")]


PlaceSettings = Annotated[
    S3PlaceSettings | AzurePlaceSettings | GcsPlaceSettings | DirectoryPlaceSettings, Field(discriminator="kind")
]


class KeepSettings(Model):
    """The number of backup chains to keep. The newest valid one is always kept."""

    last: Annotated[int, Field(ge=1)] = 2
    """The newest chains."""
    daily: Annotated[int, Field(ge=0)] = 7
    """The newest of each day, for that many days with a chain."""
    weekly: Annotated[int, Field(ge=0)] = 4
    """The newest of each week."""
    monthly: Annotated[int, Field(ge=0)] = 12
    """The newest of each month."""


class RestoreDrillSettings(Model):
    """The hub for practice restores, separate from the productive one."""

    hub: WebUrl
    """Its address."""
    token_file: Line
    """A file with a token that may make, use and remove mounts below keyturn-drill/ there."""
    namespace: Line | None = None
    ca_file: Line | None = None
    """The CA of its connection, in PEM."""
    key: WrappingKey | None = None
    """The key that opens backups if those of `keys` can't: a file with a recovery key's private half."""


class BackupSettings(Model):
    """Backups of the hub. None by default."""

    place: PlaceSettings
    """The place of the backups."""
    keys: Annotated[tuple[WrappingKey, ...], Field(min_length=1, max_length=16)]
    """The keys, each of which opens the backups; at least one is outside the hub that is backed up."""
    sign_with: KeyName | None = None
    """The Ed25519 key in the hub's transit engine that signs backups."""
    public_key: PublicKey | None = None
    """Its public half: without its signature, a backup is not restored."""
    every: PositiveDuration = timedelta(seconds=30)
    """The time between increments of `keyturn serve`."""
    base_every: PositiveDuration = timedelta(days=1)
    """The age of a chain at which a new base begins the next chain."""
    versions: Annotated[int, Field(ge=1, le=100)] = 2
    """The number of a secret's newest readable versions to keep: CURRENT and earlier ones."""
    keep: KeepSettings = Field(default_factory=KeepSettings)
    """The number of chains to keep."""
    restore_drill: RestoreDrillSettings | None = None
    """The hub for `keyturn backup drill`."""

    @model_validator(mode="after")
    def _signed_by_whom(self) -> Self:
        if bool(self.sign_with) != bool(self.public_key):
            remedy = "Say both: the key's name, and what `vault read transit/keys/NAME` shows as public_key."
            raise refused("sign_with and public_key belong together", remedy, "sign_with")
        return self
