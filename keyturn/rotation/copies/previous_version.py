"""Which version before CURRENT copies give beside it: the one whose grace lasts, and none that others may know.

It is told from the rotation's record: from promotion until the old credential is retired. Where a person replaces the
value, it is the last other one, for as long as the secret's grace lasts after it was replaced, by the hub's clock.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import plain_places
from keyturn.core.ports.hub import HubSecret, SecretInfo
from keyturn.core.record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.references import PREVIOUS, Unfit, names_previous, value_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.records import load_record

LOOKED_AT: Final = 10
"""So many versions that a person has replaced are looked at."""


def with_previous(workspace: Workspace, secret: HubSecret, places: Iterable[Destination]) -> HubSecret:
    """CURRENT with the version that copies in these places give beside it; nothing is asked where none gives any.

    One that is deleted or destroyed is left out. Raises what the hub says where nobody could look.
    """
    names = {name for place in places if place.shape.tells_previous for name in place.shape.references}
    own = sorted(name.removeprefix(PREVIOUS) for name in names if names_previous(name))
    return replace(secret, previous=previous_of(workspace, secret, own)) if own else secret


def previous_of(workspace: Workspace, secret: HubSecret, names: Iterable[str]) -> HubSecret | None:
    """The version before CURRENT that is given beside it, told apart by what it holds under these names."""
    if by_hand(workspace, secret.path):
        info = workspace.hub.describe(secret.path)
        versions = replaced_lately(workspace, info) if info and info.version == secret.version else ()
        stored = (workspace.hub.read(secret.path, version) for version in versions)
        held = held_under(secret.fields, names)
        return next((earlier for earlier in stored if earlier and held_under(earlier.fields, names) != held), None)
    version = before(workspace, secret.path, secret.version)
    return workspace.hub.read(secret.path, version) if version else None


def held_under(fields: SecretFields, names: Iterable[str]) -> list[object]:
    """The values under these names, None for those that are not there."""

    def one(name: str) -> object:
        try:
            return value_of(fields, name)
        except Unfit:
            return None

    return [one(name) for name in names]


def marked_version(workspace: Workspace, info: SecretInfo) -> int | None:
    """The number of that version, told without a value, 0 for none; None where values have to tell."""
    if by_hand(workspace, info.path):
        return None if any(replaced_lately(workspace, info)) else 0
    version = before(workspace, info.path, info.version)
    readable = any(candidate.version == version and candidate.readable for candidate in info.versions)
    return version if readable else 0


def by_hand(workspace: Workspace, path: str) -> bool:
    """Whether a person replaces the secret's value."""
    return path in workspace.catalogue.secrets and workspace.secret(path).rotation.schedule.by_hand


def before(workspace: Workspace, path: str, current: int) -> int:
    """The version that the last rotation replaced, while its grace lasts; 0 for none."""
    record = load_record(workspace, path) if path in workspace.catalogue.secrets else Record()
    rotation = record.rotation
    if rotation is None or rotation.stage is not Stage.PROMOTED or rotation.urgent:
        return 0
    newer = (rotation.version or 0) > current  # CURRENT was read before a rotation went on
    return 0 if newer or record.dead(rotation.base_version) else rotation.base_version


def replaced_lately(workspace: Workspace, info: SecretInfo) -> Iterator[int]:
    """The versions that a person has replaced less than the secret's grace ago, the newest first."""
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
    """Why a copy is without the version before, though its grace lasts; empty where it is not, or has none."""
    if secret.previous or not place.shape.tells_previous or by_hand(workspace, secret.path):
        return ""
    version = before(workspace, secret.path, secret.version)
    return f"without version {version}, which is deleted or destroyed" if version else ""


def still_beside(workspace: Workspace, secret: HubSecret, places: Iterable[Destination]) -> bool:
    """Whether copies are to give the version before that ``secret`` was read with, or none, now too."""
    now = with_previous(workspace, secret, places).previous
    return (now.version if now else 0) == (secret.previous.version if secret.previous else 0)


def told_anywhere(workspace: Workspace, path: str) -> bool:
    """Whether any copy of the secret gives the version before beside CURRENT."""
    return any(place.shape.tells_previous for place in plain_places(workspace.catalogue, path))
