"""Where the hub is backed up to, by whose key and how often, and where restoring is tried: the operator's to say.

Whoever may merge into the catalogue may not say where a copy of everything goes.
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
    """What the stores of objects have in common."""

    prefix: Prefix = ""
    """What the names of all objects begin with, and ends in a slash."""
    retain: PositiveDuration | None = None
    """How long nobody may remove what was written, whoever they are: the store's own lock on objects."""


class S3PlaceSettings(ObjectPlaceSettings):
    """A bucket of S3, or of what speaks like it."""

    kind: Literal["s3"]
    bucket: Line
    region: Line
    endpoint_url: WebUrl | None = None
    """Of another store that speaks like S3."""
    profile: Line | None = None
    role_arn: Line | None = None
    """The role to assume there."""
    mode: Literal["governance", "compliance"] = "compliance"
    """Of the lock: nobody at all, or nobody without the right to bypass it. The bucket has to have Object Lock."""


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
    """Of the immutability policy. The container has to have version-level immutability."""


class GcsPlaceSettings(ObjectPlaceSettings):
    """A bucket of Google Cloud Storage."""

    kind: Literal["gcs"]
    bucket: Line
    endpoint: Line | None = None
    """HOST:PORT of an emulator on this machine."""
    mode: Literal["unlocked", "locked"] = "locked"
    """Of the retention. The bucket has to have object retention."""


class DirectoryPlaceSettings(Model):
    """A directory: another disk, or a file system that other machines share."""

    kind: Literal["directory"]
    directory: Annotated[str, matching(r"/.*", "is no whole path", "Begin with /.")]


PlaceSettings = Annotated[
    S3PlaceSettings | AzurePlaceSettings | GcsPlaceSettings | DirectoryPlaceSettings, Field(discriminator="kind")
]


class KeepSettings(Model):
    """How many chains of backups are kept. The newest that holds is kept whatever this says."""

    last: Annotated[int, Field(ge=1)] = 2
    """The newest ones."""
    daily: Annotated[int, Field(ge=0)] = 7
    """The newest of each day, for so many days that have one."""
    weekly: Annotated[int, Field(ge=0)] = 4
    """The same of weeks."""
    monthly: Annotated[int, Field(ge=0)] = 12
    """The same of months."""


class RestoreDrillSettings(Model):
    """The hub in which restoring is tried; it is not the one at work."""

    hub: WebUrl
    """Its address."""
    token_file: Line
    """A file with a token that may make and remove mounts below keyturn-drill/ there, and work in them."""
    namespace: Line | None = None
    ca_file: Line | None = None
    """Whom its connection trusts, PEM."""
    key: WrappingKey | None = None
    """The key that opens backups, where those of `keys` can't: a file with a recovery key's private half."""


class BackupSettings(Model):
    """Backups of the hub. Without them there are none."""

    place: PlaceSettings
    """Where they lie."""
    keys: Annotated[tuple[WrappingKey, ...], Field(min_length=1, max_length=16)]
    """The keys that open them, each by itself; one at least lies outside of the hub that is backed up."""
    sign_with: KeyName | None = None
    """The Ed25519 key in the hub's transit engine that signs what is backed up."""
    public_key: PublicKey | None = None
    """Its public half: what no such key has signed is not restored."""
    every: PositiveDuration = timedelta(seconds=30)
    """How long between two increments, where `keyturn serve` makes them."""
    base_every: PositiveDuration = timedelta(days=1)
    """How old a chain may get before a new base begins the next."""
    versions: Annotated[int, Field(ge=1, le=100)] = 2
    """How many of a secret's newest versions are kept that can be read: CURRENT and those before it."""
    keep: KeepSettings = Field(default_factory=KeepSettings)
    """How many chains are kept."""
    restore_drill: RestoreDrillSettings | None = None
    """The hub in which `keyturn backup drill` tries restoring."""

    @model_validator(mode="after")
    def _signed_by_whom(self) -> Self:
        if bool(self.sign_with) != bool(self.public_key):
            remedy = "Say both: the key's name, and what `vault read transit/keys/NAME` shows as public_key."
            raise refused("sign_with and public_key belong together", remedy, "sign_with")
        return self
