"""The hub's records of secrets that the catalogue no longer declares: removed or renamed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.redaction import ShownNames
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.rotation.candidates import ROTATIONS
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.owners import claimed
from keyturn.rotation.state.quiet_period import Listing
from keyturn.rotation.state.record_store import load_record

AT_ONCE: Final = 8


@dataclass(frozen=True)
class Undeclared:
    """A recorded secret without a catalogue entry; ``error`` is why its record can't be read."""

    path: str
    record: Record
    error: str = ""

    @property
    def open(self) -> bool:
        """Whether it has unfinished work."""
        return bool(self.error) or self.record.rotation is not None

    @property
    def message(self) -> str:
        """What is left of it, and the two ways to finish it."""
        if self.error:
            return f"the catalogue declares it no more, and {self.error}"
        rotation = self.record.rotation
        left = leaves(rotation) if rotation else "nothing is open"
        ways = (
            f"`keyturn repair rename {self.path} NEW` where it has another name now,"
            f" else `keyturn repair forget {self.path}`"
        )
        return f"the catalogue declares it no more: {left}. {ways}"


def leaves(rotation: Rotation) -> str:
    """What an unfinished rotation leaves at its target, in words."""
    where = f" at {rotation.target}" if rotation.target else ""
    if rotation.stage in (Stage.PROMOTED, Stage.REVERTED, Stage.RETIRING):
        old = ShownNames(()).told(rotation.ends)
        return f"the old credential ({old}){where} is not ended" if old else "its last rotation is not retired"
    return f"a rotation is {rotation.stage}{where}, and CURRENT is as it was"


def left_open(workspace: Workspace, listing: Listing | None = None) -> list[Undeclared]:
    """The secrets with unfinished work, for a person to continue or give up; ``listing`` is the hub's, if just read."""
    ours = ("", workspace.catalogue.id)
    return [secret for secret in list_undeclared(workspace, listing) if secret.open and whose(secret) in ours]


def of_same_id(workspace: Workspace) -> list[str]:
    """Undeclared secrets that were rotated under this catalogue's id."""
    ours = ("", workspace.catalogue.id)
    return [
        secret.path
        for secret in list_undeclared(workspace)
        if not secret.error and last_catalogue(secret.record) in ours
    ]


def last_catalogue(record: Record) -> str:
    """The catalogue that last rotated a secret; empty if unknown."""
    rotations = [*record.history, *([record.rotation] if record.rotation else [])]
    return rotations[-1].catalogue if rotations else ""


def same_id_words(catalogue: str, paths: list[str]) -> str:
    """The warning that several catalogues may share one id."""
    named = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return (
        f"{named} was rotated under the catalogue id {catalogue}, and this catalogue does not declare it: another"
        " catalogue on this hub has the same id, or it was removed here"
    )


SAME_ID_REMEDY: Final = "Give each catalogue its own `id`. Where the secret was removed: `keyturn repair forget PATH`"


def whose(secret: Undeclared) -> str:
    """The catalogue that began the open rotation; empty if unknown."""
    return secret.record.rotation.catalogue if secret.record.rotation else ""


def list_undeclared(workspace: Workspace, listing: Listing | None = None) -> list[Undeclared]:
    """Every record of an undeclared secret."""
    newest = listing.records if listing else workspace.hub.newest_states(ROTATIONS)
    listed = newest if newest is not None else within(workspace)
    paths = sorted(path for path in listed if path not in workspace.catalogue.secrets)
    return side_by_side(lambda path: _look(workspace, path), paths, AT_ONCE)


def within(workspace: Workspace) -> Iterator[str]:
    """The secrets that have a record."""
    return (path.removeprefix(ROTATIONS).lstrip("/") for path in workspace.hub.list_state(f"{ROTATIONS}/"))


def _look(workspace: Workspace, path: str) -> Undeclared:
    """One secret; an error is part of the result."""
    try:
        return Undeclared(path, load_record(workspace, path))
    except KeyturnError as error:
        return Undeclared(path, Record(), str(error))


def former_owner(workspace: Workspace, path: str) -> str:
    """An undeclared secret that used the accounts of ``path``; empty for none.

    A first version of ``path`` would cut off what the old name still serves.
    """
    accounts = claimed(workspace, path)
    if not accounts:
        return ""
    return next(
        (other.path for other in list_undeclared(workspace) if accounts & accounts_of(workspace, path, other)), ""
    )


def accounts_of(workspace: Workspace, path: str, other: Undeclared) -> set[str]:
    """The accounts that a secret has used at the target of ``path``."""
    rotations = [*other.record.history, *([other.record.rotation] if other.record.rotation else [])]
    there = [rotation for rotation in rotations if rotation.target == workspace.target(path)]
    accounts = {account for rotation in there for account in rotation.ends.values()}
    current = workspace.hub.read(other.path) if there else None
    return accounts | set(workspace.open_strategy(path).credential_id(current.fields).values() if current else ())
