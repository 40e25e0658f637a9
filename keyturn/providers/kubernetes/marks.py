"""A Secret's metadata: its owner, its keys, and the last author of each key.

The API server records each field's manager (``metadata.managedFields``): a changed value moves a key to its author. So
it shows others' changes without values or digests. Source: "Server-Side Apply", field management.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keyturn.core.fingerprint import shown
from keyturn.core.ports.merged_keys import NOTE
from keyturn.core.ports.stores import (
    MANAGED_BY,
    NO_DETAILS,
    TAG_MANAGED_BY,
    TAGS_BESIDE,
    Details,
    OwnershipTags,
    RemoteSecret,
    others,
    tag_changes,
)
from keyturn.core.text.details import KUBECTL_APPLIED
from keyturn.providers.kubernetes.client import MANAGER

KEYS: Final = "keyturn-keys"
JSON_KEYS: Final = "keyturn-json-keys"
"""The keys of JSON that is no string; absent for a text kept whole."""
RESTART_FOR: Final = "keyturn-restart-for"
MENDED: Final = "keyturn-mended"
"""Distinguishes a restored value from the same one before, for pods started meanwhile."""
TYPE: Final = "keyturn-type"
ANNOTATIONS: Final = (*TAGS_BESIDE, KEYS, JSON_KEYS, RESTART_FOR, MENDED, TYPE)


@dataclass(frozen=True, eq=False)
class KubernetesSecret(RemoteSecret):
    """``present`` are the data's keys; ``kept`` those of Keyturn that others have not changed or removed."""

    uid: str = field(default="", repr=False)
    resource_version: str = field(default="", repr=False)
    keys: frozenset[str] = field(default=frozenset(), repr=False)
    kept: frozenset[str] = field(default=frozenset(), repr=False)
    present: frozenset[str] = field(default=frozenset(), repr=False)
    restart_for: str = field(default="", repr=False)
    mended: str = field(default="", repr=False)
    merged: bool = field(default=False, repr=False)

    @property
    def foreign(self) -> frozenset[str]:
        return self.present - self.keys

    @property
    def content(self) -> str:
        """What new pods get of it: differs whenever their data would differ."""
        return self.restart_for or self._mended or self._plain

    @property
    def restarted(self) -> dict[str, Any]:
        return {"annotations": {RESTART_FOR: None, MENDED: self._mending(self._plain)}}

    def marked_anew(self, marks: OwnershipTags) -> dict[str, str | None]:
        if self.marks is None or self.marks.fingerprint == marks.fingerprint:
            return {}
        return {MENDED: self._mending(shown(marks.fingerprint))}

    def _mending(self, plain: str) -> str | None:
        if self.content == plain:
            return None
        return self.content if self.content.startswith(plain) else f"{plain}={self.content}"

    @property
    def _mended(self) -> str:
        if not self._plain or not self.mended.startswith(self._plain):
            return ""
        return self.mended.removeprefix(f"{self._plain}=")

    @property
    def _plain(self) -> str:
        return shown(self.marks.fingerprint) if self.marks else ""

    @property
    def served(self) -> bool:
        return self.kept == self.keys and (self.merged or not self.foreign)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteSecret):
            return NotImplemented
        mine = (self.name, self.version_id, self.marks, self.intact)
        return mine == (other.name, other.version_id, other.marks, other.intact)

    __hash__ = RemoteSecret.__hash__


def describe_manifest(manifest: Mapping[str, Any], *, merged: bool) -> KubernetesSecret:
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    marks = marks_in(metadata)
    keys = parse_names(annotations.get(KEYS)) or frozenset()
    unchanged, present = _keys(metadata.get("managedFields") or ())
    secret = KubernetesSecret(
        metadata["name"],
        "",
        marks,
        details=details_in(metadata),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        keys=keys,
        kept=unchanged & keys,
        present=present,
        restart_for=annotations.get(RESTART_FOR, ""),
        mended=annotations.get(MENDED, ""),
        merged=merged,
    )
    intact = "deletionTimestamp" not in metadata and (marks is None or (bool(keys) and secret.served))
    return _completed(secret, intact)


def is_ours(manifest: Mapping[str, Any]) -> bool:
    annotations = manifest["metadata"].get("annotations") or {}
    return marks_in(manifest["metadata"]) is not None or any(key.startswith((NOTE, RESTART_FOR)) for key in annotations)


def marks_in(metadata: Mapping[str, Any]) -> OwnershipTags | None:
    annotations = metadata.get("annotations") or {}
    tags = {key: annotations.get(key, "") for key in TAGS_BESIDE}
    return OwnershipTags.from_tags(tags | {TAG_MANAGED_BY: (metadata.get("labels") or {}).get(TAG_MANAGED_BY, "")})


def details_in(metadata: Mapping[str, Any]) -> Details:
    """Without kubectl's annotation, which may hold values."""
    there = metadata.get("annotations") or {}
    annotations = {key: text for key, text in others(there).items() if key != KUBECTL_APPLIED}
    return Details(others(metadata.get("labels") or {}), annotations, content_type=there.get(TYPE, ""))


def labelled(marks: OwnershipTags, details: Details, current: KubernetesSecret | None) -> dict[str, Any]:
    there, before = (current and current.details) or NO_DETAILS, (current and current.marks) or marks
    return {
        "labels": {**tag_changes(there.tags, details.tags, before.tags), TAG_MANAGED_BY: MANAGED_BY},
        "annotations": {
            **tag_changes(there.annotations, details.annotations, before.annotations),
            **dict.fromkeys(TAGS_BESIDE),
            **marks.beside(),
        },
    }


def key_annotations(
    keys: Iterable[str], json_keys: Iterable[str] | None, restart_for: str, type_asked: str
) -> dict[str, Any]:
    """None removes an annotation."""
    return {
        **({TYPE: type_asked} if type_asked else {}),
        KEYS: json.dumps(sorted(keys)),
        JSON_KEYS: None if json_keys is None else json.dumps(sorted(json_keys)),
        RESTART_FOR: restart_for or None,
    }


def unmarked(current: KubernetesSecret) -> dict[str, Any]:
    there, before = current.details or NO_DETAILS, current.marks
    return {
        "labels": {**(tag_changes(there.tags, {}, before.tags) if before else {}), TAG_MANAGED_BY: None},
        "annotations": {
            **(tag_changes(there.annotations, {}, before.annotations) if before else {}),
            **dict.fromkeys(ANNOTATIONS),
        },
    }


def merge_metadata(metadata: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Others' labels, annotations and owners stay."""
    made = {key: metadata[key] for key in ("name", "ownerReferences", "finalizers") if key in metadata}
    for part in ("labels", "annotations"):
        texts = {**(metadata.get(part) or {}), **ours[part]}
        made[part] = {key: text for key, text in texts.items() if text is not None}
    return made


def new_secret(metadata: Mapping[str, Any], kind: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": dict(metadata), "type": kind, "data": dict(data)}


def parse_names(annotation: str | None) -> frozenset[str] | None:
    try:
        names = json.loads(annotation or "")
    except ValueError:
        return None
    return frozenset(names) if isinstance(names, list) and all(isinstance(key, str) for key in names) else None


def _completed(secret: KubernetesSecret, intact: bool) -> KubernetesSecret:
    """Add an id that changes with the data: from valid marks, else of the whole object."""
    version = secret.resource_version
    if secret.marks and intact:
        version = hashlib.sha256(f"{secret.marks.source_tag}\n{secret.marks.fingerprint}".encode()).hexdigest()[:16]
    return replace(secret, version_id=f"{secret.uid}/{version}", intact=intact)


def _keys(managed: Iterable[Mapping[str, Any]]) -> tuple[frozenset[str], frozenset[str]]:
    entries = list(managed)
    others = [entry for entry in entries if entry.get("manager") != MANAGER]
    ours = frozenset(key for entry in entries if entry.get("manager") == MANAGER for key in _owned(entry, "f:data"))
    theirs = frozenset(key for entry in others for key in _owned(entry, "f:data"))
    over = _applied_over(entries, others)
    return ours - over, ours | theirs | over


def _applied_over(entries: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Keys applied by others as stringData after the last write, which keeps the manager.

    Source: "Secrets", which warns of stringData with server-side apply.
    """
    times = [_time(entry) for entry in entries if entry.get("manager") == MANAGER]
    after = [entry for entry in others if not times or _time(entry) > max(times)]
    return frozenset(key for entry in after for key in _owned(entry, "f:stringData"))


def _time(entry: Mapping[str, Any]) -> str:
    return str(entry.get("time") or "")


def _owned(entry: Mapping[str, Any], of: str) -> Iterator[str]:
    fields = (entry.get("fieldsV1") or {}).get(of) or {}
    return (name.removeprefix("f:") for name in fields if name.startswith("f:"))
