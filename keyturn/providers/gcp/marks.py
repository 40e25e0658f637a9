"""Copies from Secret Manager's messages, and limits of labels and annotations.

Messages are read as raw protobuf: the SDK's wrappers take about ten times the CPU time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from google.cloud.secretmanager_v1.types import Secret, SecretVersion

from keyturn.core.ports.stores import (
    MANAGED_BY,
    TAG_MANAGED_BY,
    TAG_SOURCE,
    TAG_VERSION,
    TAGS_BESIDE,
    Details,
    OwnershipTags,
    RemoteSecret,
    others,
)
from keyturn.core.text.details import GCP_ANNOTATION, GCP_MAX_ANNOTATIONS, GCP_MAX_LABELS, size_of

OURS: Final = f"labels.{TAG_MANAGED_BY}={MANAGED_BY}"
ROOM: Final = "x" * 640


@dataclass(frozen=True, eq=False)
class GcpSecret(RemoteSecret):
    """A copy with the properties that a write needs; it equals the plain :class:`RemoteSecret`.

    ``aliased`` are the versions with an alias other than "latest".
    """

    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    aliased: frozenset[int] = field(default=frozenset(), repr=False)
    etag: str = field(default="", repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteSecret):
            return NotImplemented
        mine = (self.name, self.version_id, self.marks, self.intact)
        return mine == (other.name, other.version_id, other.marks, other.intact)

    __hash__ = RemoteSecret.__hash__


def describe_secret(remote: str, secret: Secret, latest: SecretVersion | None) -> GcpSecret:
    number = last(latest.name) if latest else ""
    served = latest is not None and latest.state == SecretVersion.State.ENABLED
    bare = Secret.pb(secret)
    marks = marks_of(bare)
    intact = served and (marks is None or bare.annotations.get(TAG_VERSION) == number)
    aliased = frozenset(bare.version_aliases.values())
    return GcpSecret(
        remote,
        number,
        marks,
        intact,
        details=_details(bare),
        labels=dict(bare.labels),
        annotations=dict(bare.annotations),
        aliased=aliased,
        etag=bare.etag,
    )


def describe_entry(secret: Any) -> RemoteSecret:
    """Keyturn's last write, without the versions' state."""
    marks = marks_of(secret)
    version = secret.annotations.get(TAG_VERSION, "") if marks else ""
    return RemoteSecret(last(secret.name), version, marks, marks is None or bool(version), details=_details(secret))


def last(resource_name: str) -> str:
    """A secret's id, or a version's number."""
    return resource_name.rpartition("/")[2]


def wrong(annotations: Mapping[str, str]) -> str | None:
    """Why these annotations can't be set next to Keyturn's; None if they can."""
    illegal = next((key for key in annotations if not GCP_ANNOTATION.fullmatch(key)), None)
    if illegal is not None:
        return f"the annotation {illegal!r} is not allowed"
    return too_large({**annotations, TAG_SOURCE: ROOM})


def too_large(annotations: Mapping[str, str]) -> str | None:
    if size_of(annotations) < GCP_MAX_ANNOTATIONS:
        return None
    return f"all annotations together must be below {GCP_MAX_ANNOTATIONS} bytes"


def too_many(labels: Mapping[str, str]) -> str | None:
    if len(labels) <= GCP_MAX_LABELS:
        return None
    return f"{len(labels)} labels, others' and ours, are over {GCP_MAX_LABELS}"


def _details(secret: Any) -> Details:
    ends = secret.expire_time.ToDatetime(UTC) if secret.HasField("expire_time") else None
    return Details(others(secret.labels), others(secret.annotations), expires_at=ends).shared


def marks_of(secret: Any) -> OwnershipTags | None:
    tags = {TAG_MANAGED_BY: secret.labels.get(TAG_MANAGED_BY, "")}
    return OwnershipTags.from_tags(tags | {key: secret.annotations.get(key, "") for key in TAGS_BESIDE})
