"""Rename a secret: move its record, versions and copies to its new name in the catalogue.

Safe to repeat. The old record is emptied last: until then the old name counts as open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.ports.hub import HubSecret
from keyturn.core.rotation_record import Record, Rotation
from keyturn.rotation.copies.push import Pushed, known_places, restart_after_push, take_over_copy
from keyturn.rotation.preconditions import check_target
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import claim, load_record, rewrite

HINT = "Nothing was changed"


@dataclass(frozen=True)
class Renamed:
    """The result of a rename: the newest version at the new name, and the copies with new marks."""

    old: str
    new: str
    version: int
    copies: tuple[Pushed, ...] = ()


def rename(workspace: Workspace, old: str, new: str) -> Renamed:
    """Move the hub's data of ``old`` to ``new``, which the catalogue declares. Safe to repeat.

    An open or retiring rotation continues there. The hub's secret at ``old`` stays for its readers. Raises Invalid,
    NotFound, Locked before any change.
    """
    workspace.secret(new)
    if old in workspace.catalogue.secrets:
        raise Invalid("rename", old, "the catalogue declares it still", f"Take it out there, where {new} replaces it")
    with record_action(workspace, "rename", new, note=f"from {old}") as doing:
        before, there = claim(workspace, old, load_record(workspace, old)), load_record(workspace, new)
        if not carried(before, there):
            insist_on_one_life(workspace, new, before, there)
            moved = carry_versions(workspace, old, new, before)
            carry_record(workspace, new, before, there, moved)
        places, unknown = known_places(workspace, new)
        pushed = side_by_side(lambda place: take_over_copy(workspace, old, new, place), places)
        copies = [*restart_after_push(workspace, new, pushed, places), *unknown]
        if tokens(before):
            rewrite(workspace, old, before.emptied)
        info = workspace.hub.describe(new)
        doing.version = info.version if info else 0
    return Renamed(old, new, doing.version, tuple(copies))


def insist_on_one_life(workspace: Workspace, new: str, before: Record, there: Record) -> None:
    """Raises Invalid rather than mix two secrets' rotations, or continue at another target."""
    if strangers := tokens(there) - tokens(before):
        problem = f"it has its own rotations ({len(strangers)}), which the other name does not know"
        raise Invalid("rename to", new, problem, f"{HINT}: give up the old name with `keyturn repair forget`")
    for rotation in [before.rotation] if before.rotation else before.history[-1:]:
        check_target(workspace, new, rotation)


def carried(before: Record, there: Record) -> bool:
    """Whether an earlier run has moved everything, so that the old record is empty."""
    return bool(before.version) and not tokens(before) and bool(tokens(there))


def tokens(record: Record) -> set[str]:
    """The tokens of a record's rotations."""
    return {rotation.token for rotation in rotations(record)}


def rotations(record: Record) -> list[Rotation]:
    """All rotations of a record, the open one last."""
    return [*record.history, *([record.rotation] if record.rotation else [])]


# --- versions


def carry_versions(workspace: Workspace, old: str, new: str, record: Record) -> Sequence[int]:
    """Copy the old versions to the new name in order, and return the old numbers of all that exist there.

    Raises Invalid where the new name holds another value.
    """
    versions, present = readable(workspace, old, record), contents(workspace, new)
    if present and versions and present[-1].fields == versions[-1].fields and not begins(versions, present):
        return [versions[-1].version] * present[-1].version  # a person has copied the value
    if not begins(versions, present):
        raise Invalid("rename to", new, "the hub holds another value there", f"{HINT}. See which of the two is right")
    if not (versions or present or record.version):
        raise NotFound("rename", old, "the hub knows no secret and no record of that name", "Check the old name")
    for number, version in enumerate(versions[len(present) :], start=len(present)):
        workspace.hub.write(new, version.fields, cas=number)
    if versions:
        workspace.hub.patch_metadata(new, dict(versions[-1].custom))
    return [version.version for version in versions]


def readable(workspace: Workspace, path: str, record: Record) -> list[HubSecret]:
    """The readable versions that were not revoked, the oldest first."""
    info = workspace.hub.describe(path)
    alive = [v.version for v in info.versions if v.readable and not record.dead(v.version)] if info else []
    return [secret for version in alive if (secret := workspace.hub.read(path, version))]


def contents(workspace: Workspace, path: str) -> list[HubSecret]:
    """The versions under the new name."""
    info = workspace.hub.describe(path)
    return (
        [secret for version in info.versions if (secret := workspace.hub.read(path, version.version))] if info else []
    )


def begins(versions: Sequence[HubSecret], present: Sequence[HubSecret]) -> bool:
    """Whether ``present`` is a prefix of the versions, as after an interrupted run."""
    pairs = list(zip(versions, present, strict=False))
    return len(present) <= len(versions) and all(version.fields == other.fields for version, other in pairs)


# --- the record


def carry_record(workspace: Workspace, new: str, before: Record, there: Record, moved: Sequence[int]) -> None:
    """Write the record under the new name, with the new version numbers. Already done is success."""
    if not before.version or (there.version and tokens(there) == tokens(before) and tokens(before)):
        return
    # Fingerprints depend on the path: those of unreadable versions are dropped.
    digests = {version.version: workspace.fingerprint(new, version.fields) for version in contents(workspace, new)}
    history = tuple(renumbered(workspace, old, moved, digests) for old in before.history)
    rotation = renumbered(workspace, before.rotation, moved, digests) if before.rotation else None
    rewrite(workspace, new, replace(before, rotation=rotation, history=history, version=there.version))


def renumbered(workspace: Workspace, rotation: Rotation, moved: Sequence[int], digests: Mapping[int, str]) -> Rotation:
    """The rotation with the new numbers of its versions."""
    version = rotation.version and _number(rotation.version, moved)
    return replace(
        rotation,
        base_version=_number(rotation.base_version, moved),
        version=version,
        fingerprint=digests.get(version or 0, ""),
        holder=workspace.holder,
    )


def _number(version: int, moved: Sequence[int]) -> int:
    """The new number of an old version; 0 for those before all that were moved."""
    return sum(other <= version for other in moved)
