"""Which previous version copies contain next to CURRENT: one in its grace period, and no suspected one.

By the rotation's record until the old credential is retired. For a value replaced by hand: the last different one,
during the grace period by the hub's clock.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import plain_places
from keyturn.core.ports.hub import HubSecret, SecretInfo
from keyturn.core.rotation_record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.references import PREVIOUS, Unfit, names_previous, value_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record

LOOKED_AT: Final = 10
"""Maximum replaced versions that are checked."""


def with_previous(workspace: Workspace, secret: HubSecret, places: Iterable[Destination]) -> HubSecret:
    """CURRENT with the previous version that these copies contain; reads nothing where none contains one.

    A deleted or destroyed version is left out. Raises the hub's errors.
    """
    names = {name for place in places if place.shape.tells_previous for name in place.shape.references}
    own = sorted(name.removeprefix(PREVIOUS) for name in names if names_previous(name))
    return replace(secret, previous=previous_of(workspace, secret, own)) if own else secret


def previous_of(workspace: Workspace, secret: HubSecret, names: Iterable[str]) -> HubSecret | None:
    """The previous version, chosen by a different value under these names where a person replaces them."""
    if by_hand(workspace, secret.path):
        info = workspace.hub.describe(secret.path)
        versions = replaced_lately(workspace, info) if info and info.version == secret.version else ()
        stored = (workspace.hub.read(secret.path, version) for version in versions)
        held = held_under(secret.fields, names)
        return next((earlier for earlier in stored if earlier and held_under(earlier.fields, names) != held), None)
    version = before(workspace, secret.path, secret.version)
    return workspace.hub.read(secret.path, version) if version else None


def held_under(fields: SecretFields, names: Iterable[str]) -> list[object]:
    """The values under these names, None for missing ones."""

    def one(name: str) -> object:
        try:
            return value_of(fields, name)
        except Unfit:
            return None

    return [one(name) for name in names]


def marked_version(workspace: Workspace, info: SecretInfo) -> int | None:
    """The number of the previous version, 0 for none; None where only values can decide."""
    if by_hand(workspace, info.path):
        return None if any(replaced_lately(workspace, info)) else 0
    version = before(workspace, info.path, info.version)
    readable = any(candidate.version == version and candidate.readable for candidate in info.versions)
    return version if readable else 0


def by_hand(workspace: Workspace, path: str) -> bool:
    """Whether a person replaces the secret's value."""
    return path in workspace.catalogue.secrets and workspace.secret(path).rotation.schedule.by_hand


def before(workspace: Workspace, path: str, current: int) -> int:
    """The version that the last rotation replaced, during its grace period; 0 for none."""
    record = load_record(workspace, path) if path in workspace.catalogue.secrets else Record()
    rotation = record.rotation
    if rotation is None or rotation.stage is not Stage.PROMOTED or rotation.urgent:
        return 0
    newer = (rotation.version or 0) > current  # CURRENT was read before another promotion
    return 0 if newer or record.dead(rotation.base_version) else rotation.base_version


def replaced_lately(workspace: Workspace, info: SecretInfo) -> Iterator[int]:
    """The versions replaced by hand within the grace period, the newest first."""
    grace: timedelta = workspace.secret(info.path).rotation.grace
    if not grace or len(info.versions) < 2:
        return
    now, record = workspace.hub_now(), load_record(workspace, info.path)
    pairs = list(zip(info.versions, info.versions[1:], strict=False))[-LOOKED_AT:]
    for old, newer in reversed(pairs):
        if newer.created_at + grace <= now:
            return
        if old.readable and not record.dead(old.version):
            yield old.version


def left_out(workspace: Workspace, secret: HubSecret, place: Destination) -> str:
    """Why a copy lacks the previous version during its grace period; empty otherwise."""
    if secret.previous or not place.shape.tells_previous or by_hand(workspace, secret.path):
        return ""
    version = before(workspace, secret.path, secret.version)
    return f"without version {version}, which is deleted or destroyed" if version else ""


def still_beside(workspace: Workspace, secret: HubSecret, places: Iterable[Destination]) -> bool:
    """Whether copies should still contain the previous version, or none, that ``secret`` was read with."""
    now = with_previous(workspace, secret, places).previous
    return (now.version if now else 0) == (secret.previous.version if secret.previous else 0)


def told_anywhere(workspace: Workspace, path: str) -> bool:
    """Whether any copy of the secret contains the previous version."""
    return any(place.shape.tells_previous for place in plain_places(workspace.catalogue, path))
