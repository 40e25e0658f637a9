"""What Secret Manager tells of a secret, as a copy, and the annotations that it takes.

The protobuf messages are read bare: reading them through the SDK's wrappers costs about ten times the CPU.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.cloud.secretmanager_v1.types import Secret, SecretVersion

from keyturn.core.stores import MANAGED_BY, TAG_MANAGED_BY, TAG_SOURCE, TAG_VERSION, TAGS_BESIDE, Copy, Marks

OURS: Final = f"labels.{TAG_MANAGED_BY}={MANAGED_BY}"
"""The listing's filter for what carries our label."""

MAX_ANNOTATIONS: Final = 16 * 1024
ANNOTATION_KEY: Final = re.compile(r"(?!keyturn-)[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""Bytes that keys and values stay below together, and what a key is. Source: "annotations" in resources.proto."""

ROOM: Final = "x" * 640
"""As long as all of Keyturn's own annotations at most."""


@dataclass(frozen=True, eq=False)
class Seen(Copy):
    """A copy together with what a write needs; it equals the plain :class:`Copy`.

    ``aliased`` are the versions that an alias other than "latest" stands for.
    """

    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    aliased: frozenset[int] = field(default=frozenset(), repr=False)
    etag: str = field(default="", repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Copy):
            return NotImplemented
        mine = (self.name, self.version_id, self.marks, self.intact)
        return mine == (other.name, other.version_id, other.marks, other.intact)

    __hash__ = Copy.__hash__


def seen(remote: str, secret: Secret, latest: SecretVersion | None) -> Seen:
    """The copy that a secret and its latest version make."""
    number = last(latest.name) if latest else ""
    served = latest is not None and latest.state == SecretVersion.State.ENABLED
    bare = Secret.pb(secret)
    marks = _marks(bare)
    intact = served and (marks is None or bare.annotations.get(TAG_VERSION) == number)
    aliased = frozenset(bare.version_aliases.values())
    return Seen(remote, number, marks, intact, dict(bare.labels), dict(bare.annotations), aliased, bare.etag)


def listed(secret: Any) -> Copy:
    """The copy that a bare secret of a listing makes: what we wrote, if it is ours; it tells nothing of versions."""
    marks = _marks(secret)
    version = secret.annotations.get(TAG_VERSION, "") if marks else ""
    return Copy(last(secret.name), version, marks, intact=marks is None or bool(version))


def last(resource_name: str) -> str:
    """The last part of a resource's name: a secret's id, or a version's number."""
    return resource_name.rpartition("/")[2]


def wrong(annotations: Mapping[str, str]) -> str | None:
    """Why a store can't put these beside Keyturn's own; None where it can."""
    illegal = next((key for key in annotations if not ANNOTATION_KEY.fullmatch(key)), None)
    if illegal is not None:
        return f"the annotation {illegal!r} is not allowed"
    return too_large({**annotations, TAG_SOURCE: ROOM})


def too_large(annotations: Mapping[str, str]) -> str | None:
    """Why a secret can't carry them all; None where it can."""
    size = sum(len(key.encode()) + len(text.encode()) for key, text in annotations.items())
    return None if size < MAX_ANNOTATIONS else f"all annotations together must be below {MAX_ANNOTATIONS} bytes"


def _marks(secret: Any) -> Marks | None:
    tags = {TAG_MANAGED_BY: secret.labels.get(TAG_MANAGED_BY, "")}
    return Marks.from_tags(tags | {key: secret.annotations.get(key, "") for key in TAGS_BESIDE})
