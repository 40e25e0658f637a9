"""The port of store adapters, and the types that it uses."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import Sensitive

MANAGED_BY = "keyturn"
TAG_MANAGED_BY = "keyturn-managed-by"
TAG_SOURCE = "keyturn-source"
TAG_FINGERPRINT = "keyturn-fingerprint"
TAG_VERSION = "keyturn-version"
TAG_CATALOGUE = "keyturn-catalogue"
TAG_TAGS = "keyturn-tags"
TAGS_BESIDE = (TAG_SOURCE, TAG_FINGERPRINT, TAG_CATALOGUE, TAG_TAGS)
"""Tags stored as annotations where labels can't hold such texts."""

OWN_PREFIX = "keyturn-"
"""Prefix of all of Keyturn's tags, labels and annotations."""

ANNOTATION = "@"
"""Prefix of annotation names in :attr:`OwnershipTags.tags`. A label never begins with it."""

ADOPTED = "adopted"

GROWN = "a"
"""Begins the shape suffix of a copy that keeps old fields, unlike a version number."""


class Detail(StrEnum):
    """A property that a store may show next to a copy."""

    TAGS = "tags"
    ANNOTATIONS = "annotations"
    DESCRIPTION = "description"
    CONTENT_TYPE = "content_type"
    EXPIRY = "expiry"


@dataclass(frozen=True)
class Details:
    """Declared properties of a copy for people and tools; empty ones are not requested.

    ``tags`` are tags (AWS, Azure), labels (Google Cloud, Kubernetes) or custom metadata (Vault); ``annotations`` exist
    in Google Cloud and Kubernetes. ``expires_at`` is the expiry or the next replacement.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    content_type: str = ""
    expires_at: datetime | None = None

    @property
    def asked(self) -> frozenset[Detail]:
        """The requested properties."""
        values = {
            Detail.TAGS: self.tags,
            Detail.ANNOTATIONS: self.annotations,
            Detail.DESCRIPTION: self.description,
            Detail.CONTENT_TYPE: self.content_type,
            Detail.EXPIRY: self.expires_at,
        }
        return frozenset(detail for detail, value in values.items() if value)

    @property
    def names(self) -> tuple[str, ...]:
        """Its tag names, and annotation names prefixed as in :attr:`OwnershipTags.tags`."""
        return (*sorted(self.tags), *(f"{ANNOTATION}{name}" for name in sorted(self.annotations)))

    @property
    def shared(self) -> "Details":
        """The same, or the shared empty object, which saves memory in large listings."""
        return NO_DETAILS if self == NO_DETAILS else self

    def differing(self, shown: "Details") -> frozenset[Detail]:
        """The requested properties that differ; expiry is compared in whole seconds."""
        differ = {
            Detail.TAGS: not self.tags.items() <= shown.tags.items(),
            Detail.ANNOTATIONS: not self.annotations.items() <= shown.annotations.items(),
            Detail.DESCRIPTION: self.description != shown.description,
            Detail.CONTENT_TYPE: self.content_type != shown.content_type,
            Detail.EXPIRY: _second(self.expires_at) != _second(shown.expires_at),
        }
        return frozenset(detail for detail in self.asked if differ[detail])

    def laid_over(self, there: "Details", before: "OwnershipTags | None") -> "Details":
        """These details merged into ``there``, which has the marks ``before``."""
        return Details(
            changed_tags(there.tags, self.tags, before.tags if before else ()),
            changed_tags(there.annotations, self.annotations, before.annotations if before else ()),
            self.description or there.description,
            self.content_type or there.content_type,
            self.expires_at or there.expires_at,
        )


NO_DETAILS = Details()


def _second(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None


def others(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, labels or annotations that are not Keyturn's marks."""
    return {name: text for name, text in tags.items() if not name.startswith(OWN_PREFIX)}


def tag_changes(there: Mapping[str, str], wanted: Mapping[str, str], before: Iterable[str]) -> dict[str, str | None]:
    """The changes from ``there`` to ``wanted``; None removes a tag.

    Only names in ``before``, set by Keyturn (:attr:`OwnershipTags.tags`), are removed.
    """
    gone: dict[str, str | None] = {name: None for name in before if name in there and name not in wanted}
    return gone | {name: text for name, text in wanted.items() if there.get(name) != text}


def changed_tags(there: Mapping[str, str], wanted: Mapping[str, str], before: Iterable[str]) -> dict[str, str]:
    """All tags after :func:`tag_changes`, for services that replace them at once."""
    changed = {**there, **tag_changes(there, wanted, before)}
    return {name: text for name, text in changed.items() if text is not None}


@dataclass(frozen=True, slots=True)
class OwnershipTags:
    """The ownership marks of a copy, as tags, labels or annotations.

    ``source`` is the hub path, ``version`` the pushed version, ``fingerprint`` 64 hex digits of the copy's text.
    ``shape`` identifies how the text was derived, empty for the whole secret. ``created_at`` is by the hub's clock, and
    distinguishes equal version numbers after a removal or restore; None in older marks. ``catalogue`` is the creating
    catalogue's id, empty in older marks. ``adopted``: Keyturn did not create the copy. ``tags`` are the tag and
    annotation names, without spaces, that Keyturn set, so that it removes only its own.
    """

    source: str
    version: int
    fingerprint: str
    shape: str = ""
    created_at: datetime | None = None
    catalogue: str = ""
    adopted: bool = False
    tags: tuple[str, ...] = ()

    @property
    def source_tag(self) -> str:
        """The value of ``keyturn-source``: ``path@version:20261126T230138.123456Z``, the time being the version's
        creation.

        ``+shape`` and ``+adopted`` follow where they apply.
        """
        made = f":{self.created_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z" if self.created_at else ""
        shape = f"+{self.shape}" if self.shape else ""
        return f"{self.source}@{self.version}{made}{shape}{f'+{ADOPTED}' if self.adopted else ''}"

    @property
    def grown(self) -> bool:
        """Whether the copy keeps old fields, and so may contain other versions' fields.

        ``fingerprint`` covers all; ``shape`` identifies the version last compared with.
        """
        return self.shape.partition("-")[2].startswith(GROWN)

    @staticmethod
    def from_tags(tags: dict[str, str]) -> "OwnershipTags | None":
        """The marks in a store's tags; None if absent or malformed."""
        path, _, rest = tags.get(TAG_SOURCE, "").rpartition("@")
        numbered, *qualifiers = rest.split("+")
        version, _, made = numbered.partition(":")
        if tags.get(TAG_MANAGED_BY) != MANAGED_BY or not path or not version.isdecimal():
            return None
        try:
            created_at = datetime.fromisoformat(made) if made else None
        except ValueError:
            return None
        shape = next((qualifier for qualifier in qualifiers if qualifier != ADOPTED), "")
        # Tens of thousands of copies share these texts, so keep each once.
        path, digest, catalogue = (
            sys.intern(text) for text in (path, tags.get(TAG_FINGERPRINT, ""), tags.get(TAG_CATALOGUE, ""))
        )
        named = tuple(tags.get(TAG_TAGS, "").split())
        return OwnershipTags(path, int(version), digest, shape, created_at, catalogue, ADOPTED in qualifiers, named)

    def to_tags(self) -> dict[str, str]:
        """The marks as key and value pairs."""
        return {
            TAG_MANAGED_BY: MANAGED_BY,
            TAG_SOURCE: self.source_tag,
            TAG_FINGERPRINT: self.fingerprint,
            **({TAG_CATALOGUE: self.catalogue} if self.catalogue else {}),
            **({TAG_TAGS: " ".join(self.tags)} if self.tags else {}),
        }

    @property
    def annotations(self) -> tuple[str, ...]:
        """The names of the annotations among ``tags``."""
        return tuple(name.removeprefix(ANNOTATION) for name in self.tags if name.startswith(ANNOTATION))

    def beside(self) -> dict[str, str]:
        """The marks stored as annotations, without the ownership label."""
        return {key: text for key, text in self.to_tags().items() if key in TAGS_BESIDE}


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """A remote secret without its value.

    ``version_id`` is the store's id of the served version. ``marks`` is None if Keyturn does not own it. ``intact`` is
    False if the store does not serve Keyturn's last write (another current version, disabled, scheduled for deletion),
    so it must be written again. ``outdated``: the settings require another form of the text. ``details`` excludes
    Keyturn's marks; None if not reported here.
    """

    name: str
    version_id: str
    marks: OwnershipTags | None
    intact: bool = True
    outdated: bool = field(default=False, kw_only=True)
    details: Details | None = field(default=None, kw_only=True, compare=False, repr=False)


class Unsupported(StrEnum):
    """What a store can't do."""

    READ = "read"
    """It never returns a value."""
    LISTED_CHANGES = "listed changes"
    """Its listing does not show changes by others; ``describe`` does."""
    CHANGES = "changes"
    """Nothing shows changes by others."""


class Store(Protocol):
    """A system that secrets are pushed to. Serves many threads.

    Methods raise the errors of :mod:`keyturn.core.errors`, named ``{store}:{remote name}``. Modelled on the External
    Secrets provider contract (find, push, delete by remote name).
    """

    name: str
    unsupported: frozenset[Unsupported]

    def describe(self, remote: str) -> RemoteSecret | None:
        """Describe a remote secret without its value; None if absent.

        One scheduled for deletion exists, with ``intact=False``.
        """

    def list_managed(self) -> Iterator[RemoteSecret]:
        """Every copy with Keyturn's marks, through pages of listings, not one call each."""

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every secret, marked or not, through pages of listings.

        Omits those scheduled for deletion.
        """

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Create the secret or add a version, and return what is served.

        ``current`` is the result of :meth:`describe`. Writing the same value, marks and details adds no version. The
        caller decides about overwriting an unowned secret. Supported ``details`` are set; those of others stay.
        """

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Set ``details`` and the tags in ``marks`` without a new version or the value.

        All else in ``marks`` equals ``current``'s. Safe to repeat after a crash: the marks name a tag until it is gone.
        Raises UnsupportedOperation, before any change, if this needs a new version: write it then.
        """

    def read(self, remote: str) -> Sensitive:
        """The served value. Raises NotFound, and UnsupportedOperation without READ."""

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The served values in as few calls as possible, without absent ones."""

    def delete(self, remote: str) -> None:
        """Remove the secret, recoverably if the store can. Absent is success."""

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """All other readable values, by version name.

        Includes old versions and stages, a deleted but restorable secret's, and differing replicas. Raises
        UnsupportedOperation if old versions exist but READ is missing.
        """

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Remove all versions but the served one, permanently if possible, including replicas.

        Return what remains, as text per version. Absent is success.
        """

    def purge(self, remote: str) -> tuple[str, ...]:
        """Remove the secret with all versions, permanently if possible, including replicas. Absent is success.

        Return what can still be restored, and until when, as text.
        """

    def close(self) -> None:
        """Release connections; the store can't be used afterwards."""


class Creates(Protocol):
    """Capability: creates a copy without first describing it."""

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """Create a secret under an unused name in few calls, and return what is served.

        The service confirmed the value, or it was read back. Raises Taken, without change, if the name is in use, even
        by a deleted but restorable secret. :meth:`Store.describe` and the listing show what a crash left incomplete as
        not intact.
        """


class Describes(Protocol):
    """Capability: listing and :meth:`Store.describe` omit details, so this reads them."""

    def with_details(self, copies: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        """The same copies with details and tags, in as few calls as possible."""


def describer(store: Store) -> Describes | None:
    """The store if it has :class:`Describes`."""
    return capability(store, Describes)


def creator(store: Store) -> Creates | None:
    """The store if it has :class:`Creates`."""
    return capability(store, Creates)
