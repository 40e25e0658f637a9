"""The port that every store's adapter fills, and the words that pass through it."""

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
"""The tags that stand as annotations where labels take no such texts."""

OWN_PREFIX = "keyturn-"
"""How the names of all of Keyturn's own tags, labels and annotations begin."""

ANNOTATION = "@"
"""Begins an annotation's name in :attr:`OwnershipTags.tags`, and no label's: such a one is somebody else's."""

ADOPTED = "adopted"

GROWN = "a"
"""Begins what follows the hyphen in the shape of a copy that keeps what it has; a version's number begins otherwise."""


class Detail(StrEnum):
    """What a store may be able to show beside a copy, as people call it."""

    TAGS = "tags"
    ANNOTATIONS = "annotations"
    DESCRIPTION = "description"
    CONTENT_TYPE = "content_type"
    EXPIRY = "expiry"


@dataclass(frozen=True)
class Details:
    """What stands beside a copy for other people and other tools; what is empty is not asked for.

    ``tags`` are the tags of AWS and Azure, the labels of Google Cloud and Kubernetes, the custom metadata of Vault;
    ``annotations`` those of Google Cloud and Kubernetes. ``expires_at`` is when the value ends, or is to be replaced.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    content_type: str = ""
    expires_at: datetime | None = None

    @property
    def asked(self) -> frozenset[Detail]:
        """Which of them are asked for."""
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
        """The names of its tags, those of its annotations with a sign before, as in :attr:`OwnershipTags.tags`."""
        return (*sorted(self.tags), *(f"{ANNOTATION}{name}" for name in sorted(self.annotations)))

    @property
    def shared(self) -> "Details":
        """The same; where nothing is told, the one that all such copies share, since listings have thousands."""
        return NO_DETAILS if self == NO_DETAILS else self

    def differing(self, shown: "Details") -> frozenset[Detail]:
        """Which of what is asked for here does not stand there so; an expiry is compared in whole seconds."""
        differ = {
            Detail.TAGS: not self.tags.items() <= shown.tags.items(),
            Detail.ANNOTATIONS: not self.annotations.items() <= shown.annotations.items(),
            Detail.DESCRIPTION: self.description != shown.description,
            Detail.CONTENT_TYPE: self.content_type != shown.content_type,
            Detail.EXPIRY: _second(self.expires_at) != _second(shown.expires_at),
        }
        return frozenset(detail for detail in self.asked if differ[detail])

    def laid_over(self, there: "Details", before: "OwnershipTags | None") -> "Details":
        """What stands once these are laid over what is ``there``; ``before`` are the marks that it has."""
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
    """The tags, labels or annotations that are not Keyturn's own marks: what :class:`Details` tells."""
    return {name: text for name, text in tags.items() if not name.startswith(OWN_PREFIX)}


def tag_changes(there: Mapping[str, str], wanted: Mapping[str, str], before: Iterable[str]) -> dict[str, str | None]:
    """What is to be laid over the tags that are ``there`` so that the ``wanted`` ones stand; None removes one.

    ``before`` are the names that Keyturn has set (:attr:`OwnershipTags.tags`): what nobody asks for is removed of these
    alone.
    """
    gone: dict[str, str | None] = {name: None for name in before if name in there and name not in wanted}
    return gone | {name: text for name, text in wanted.items() if there.get(name) != text}


def changed_tags(there: Mapping[str, str], wanted: Mapping[str, str], before: Iterable[str]) -> dict[str, str]:
    """The tags that stand after :func:`tag_changes`, for services that take them all at once."""
    changed = {**there, **tag_changes(there, wanted, before)}
    return {name: text for name, text in changed.items() if text is not None}


@dataclass(frozen=True, slots=True)
class OwnershipTags:
    """What Keyturn writes beside a copy, as tags, labels or annotations, to own and to compare it.

    ``source`` is the hub path, ``version`` the hub version that was pushed, ``fingerprint`` 64 hex digits of the
    copy's text, ``shape`` tells how the text was made of the secret; it is empty for the whole of it. ``created_at`` is
    when the hub made that version, by its own clock: it tells the version from another of the same number, after the
    secret was removed and written anew, or the hub restored; None in marks of an older release. ``catalogue`` is the
    id of the catalogue that made the copy, empty in such marks too. ``adopted`` says that somebody else had made it.
    ``tags`` are the names of the tags and annotations that Keyturn has set from the catalogue, without spaces, so that
    one that the catalogue asks for no more is removed, and nobody else's ever is.
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
        """The value of ``keyturn-source``: ``path@version``, with ``:20261126T230138.123456Z`` for its creation.

        ``+shape`` and ``+adopted`` follow where they are so.
        """
        made = f":{self.created_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z" if self.created_at else ""
        shape = f"+{self.shape}" if self.shape else ""
        return f"{self.source}@{self.version}{made}{shape}{f'+{ADOPTED}' if self.adopted else ''}"

    @property
    def grown(self) -> bool:
        """Whether the copy keeps what it has, and may hold fields of later versions beside those of ``version``.

        ``fingerprint`` is that of all of them together, and ``shape`` tells up to which version it was compared.
        """
        return self.shape.partition("-")[2].startswith(GROWN)

    @staticmethod
    def from_tags(tags: dict[str, str]) -> "OwnershipTags | None":
        """The marks in a store's tags; None where Keyturn's are absent or malformed."""
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
        # Copies of one secret bear the same texts: of tens of thousands each is kept once.
        path, digest, catalogue = (
            sys.intern(text) for text in (path, tags.get(TAG_FINGERPRINT, ""), tags.get(TAG_CATALOGUE, ""))
        )
        named = tuple(tags.get(TAG_TAGS, "").split())
        return OwnershipTags(path, int(version), digest, shape, created_at, catalogue, ADOPTED in qualifiers, named)

    def to_tags(self) -> dict[str, str]:
        """The tags, for stores whose tags are plain key and value pairs."""
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
        """The same without the one that says that it is Keyturn's."""
        return {key: text for key, text in self.to_tags().items() if key in TAGS_BESIDE}


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """One remote secret as a store describes it, without its value.

    ``version_id`` is the store's own name for what it serves now. ``marks`` is None when Keyturn does not
    own it. ``intact`` is False when the store shows that what it serves is not what Keyturn wrote last
    (another current version, disabled, scheduled for deletion), so the value must be written again. ``outdated``
    is True where the store's settings would have the same text stand otherwise, as for another reader of a file.
    ``details`` are what stands beside it, without Keyturn's own marks; None where this look does not tell.
    """

    name: str
    version_id: str
    marks: OwnershipTags | None
    intact: bool = True
    outdated: bool = field(default=False, kw_only=True)
    details: Details | None = field(default=None, kw_only=True, compare=False, repr=False)


class Unsupported(StrEnum):
    """What a store can't do, whatever Keyturn does."""

    READ = "read"
    """It never gives a value back."""
    LISTED_CHANGES = "listed changes"
    """Its listing does not show that somebody else changed a copy; ``describe`` does."""


class Store(Protocol):
    """A system that secrets are pushed to. One instance serves many threads.

    Every method raises the errors of :mod:`keyturn.core.errors`, named ``{store}:{remote name}``.
    Source of the shape: the External Secrets provider contract (find, push, delete by remote name).
    """

    name: str
    unsupported: frozenset[Unsupported]

    def describe(self, remote: str) -> RemoteSecret | None:
        """Describe one remote secret without reading its value; None where there is none.

        A secret scheduled for deletion is there, with ``intact=False``.
        """

    def list_managed(self) -> Iterator[RemoteSecret]:
        """Every copy that carries Keyturn's marks, read through listing pages, not one call each."""

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every secret that is there, with Keyturn's marks or without, read through listing pages.

        Those scheduled for deletion are left out.
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
        """Create the secret, or give it a new version, with ``marks``; the answer is what is served now.

        ``current`` is what :meth:`describe` said, so that no call is spent asking again. Writing what the store
        already holds under the same marks and details adds no version. Whether Keyturn may overwrite an unowned
        secret is decided by the caller. Afterwards all ``details`` stand that the store can show; what others have
        set beside them stays.
        """

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Lay ``details`` and the tags in ``marks`` beside a copy, without a new version and without its value.

        All else in ``marks`` is what ``current`` has. Safe to repeat after a crash at any point: the marks name a tag
        until it is gone. Raises UnsupportedOperation, before anything is changed, for what takes a new version there:
        then it is to be written.
        """

    def read(self, remote: str) -> Sensitive:
        """The value served now. Raises NotFound, and UnsupportedOperation where it lacks READ."""

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values served now, in as few calls as the service allows; what is absent is left out."""

    def delete(self, remote: str) -> None:
        """Remove it, recoverably where the store can. Absent is success."""

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """The values that can be had of it besides the one that is served now, by a name for each version.

        Old versions and stages, also of a secret that is deleted but can be restored, and what replicas serve that
        differs. Empty where there is none, and where the store keeps no old versions. Raises UnsupportedOperation
        where it lacks READ and yet keeps some.
        """

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Remove every version but the one that is served now, for good where the service can, from replicas too.

        What stays all the same, in words for people, one for each version. Absent is success.
        """

    def purge(self, remote: str) -> tuple[str, ...]:
        """Remove it with every version, for good where the service can, from replicas too. Absent is success.

        What can still be had or restored all the same, in words for people, and until when.
        """

    def close(self) -> None:
        """Let go of connections; the store can't be used afterwards."""


class Creates(Protocol):
    """What a store has besides where it can make a new copy without being told first what is there."""

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """Make a secret of a name that nobody has, in as few calls as the service allows; what is served then.

        The answer is the service's own word: it has said that it keeps this value, or it was read back. Raises
        Taken where the name is taken, also by one that is deleted and can be restored: then nothing is changed.
        What a crash leaves half made, :meth:`Store.describe` and the listing show as not intact.
        """


class Describes(Protocol):
    """What a store has besides where neither listing nor :meth:`Store.describe` tells what stands beside a copy."""

    def with_details(self, copies: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        """The same copies with their details, and the tags in their marks, in as few calls as the service allows."""


def describer(store: Store) -> Describes | None:
    """The store, where it has :class:`Describes`."""
    return capability(store, Describes)


def creator(store: Store) -> Creates | None:
    """The store, where it has :class:`Creates`."""
    return capability(store, Creates)
