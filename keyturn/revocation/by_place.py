"""Ending all of a secret by its place at the target, even without a version."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, Locked, UnsupportedOperation
from keyturn.core.ports.strategies import RevokeResult, Strategy
from keyturn.core.rotation_record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.findings.leaked_versions import last_leaked
from keyturn.revocation.incidents.incident import SecretProgress
from keyturn.revocation.lock import HeldRecord, insist_unchanged
from keyturn.revocation.readable_versions import read_versions
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record

NOTHING: Final = SecretFields({})
MOST: Final = 1000
"""Most credentials at the place of one secret; with more, it is shared."""


@dataclass
class Ended:
    """The results of ending several credentials; a newer credential replaced those in ``overtaken``.

    ``lost`` means that a failed one is only in the record. ``placed`` means that all was ended by place, ``leftover``
    remained, and ``placeless`` is why nothing can be found. ``record`` is the last one written.
    """

    cuts: list[RevokeResult] = field(default_factory=list)
    errors: list[KeyturnError] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    lost: bool = False
    record: Record | None = None
    placed: bool = False
    leftover: list[str] = field(default_factory=list)
    placeless: str = ""

    @property
    def sessions(self) -> int:
        """The number of ended sessions."""
        return sum(ending.sessions for ending in self.cuts)

    def trying(self, work: Callable[[], RevokeResult]) -> None:
        """End one credential; a failure stops no other."""
        try:
            self.cuts.append(work())
        except KeyturnError as error:
            self.errors.append(error)

    def finding(self, strategy: Strategy, spared: Sequence[SecretFields] = (), most: int = MOST) -> list[str]:
        """The names found by place, up to the first error."""
        names: list[str] = []
        try:
            for name in strategy.find_everything(spared):
                names.append(name)
                if len(names) > most:
                    problem = f"there are more than {most} credentials, so they are not this secret's alone"
                    raise Invalid("end", "its place at the target", problem, "End those of this secret by hand")
        except UnsupportedOperation as error:
            self.placeless = error.problem
        except KeyturnError as error:
            self.errors.append(error)
        return names


def end_by_place(held: HeldRecord, ended: Ended) -> None:
    """End everything there. Raises Locked where a newer value may be in force."""
    strategy = held.workspace.open_strategy(held.path)
    names = ended.finding(strategy)
    insist_unchanged(held.workspace, held.path, held.record)
    end_found(names, ended, lambda name: held.above(NOTHING, partial(strategy.revoke_found, name)))
    ended.leftover = ended.finding(strategy)
    ended.placed = not ended.placeless


def end_by_place_again(workspace: Workspace, progress: SecretProgress, ended: Ended) -> None:
    """End the strangers; credentials newer than the cut are spared."""
    strategy = workspace.open_strategy(progress.path)
    end_found(
        find_strangers(workspace, progress, ended), ended, lambda name: strategy.revoke_found(name, progress.sequence)
    )


def end_found(names: Iterable[str], ended: Ended, end: Callable[[str], RevokeResult]) -> None:
    """End each by its name; a failure stops no other."""
    for name in names:
        ended.trying(partial(end, name))


def find_strangers(workspace: Workspace, progress: SecretProgress, ended: Ended) -> list[str]:
    """The names at the target that belong to nothing newer than the cut.

    The target is asked first, to exclude a running rotation's.
    """
    strategy = workspace.open_strategy(progress.path)
    there = ended.finding(strategy)
    if not there:
        return []
    try:
        spared = fields_since_cut(workspace, progress)
    except KeyturnError as error:
        ended.errors.append(error)
        return []
    unspared = set(ended.finding(strategy, spared))
    return [name for name in there if name in unspared]


def fields_since_cut(workspace: Workspace, progress: SecretProgress) -> list[SecretFields]:
    """Newer versions and a candidate, which may be in force. Raises Locked while one is made."""
    record = load_record(workspace, progress.path)
    if record.open and record.open.stage is Stage.MINTING:
        hint = "Nothing to do: it continues by itself"
        raise Locked("look at", progress.path, "a rotation makes a new credential at this moment", hint)
    newer = [
        version.fields
        for version in read_versions(workspace, progress.path).versions
        if version.version > last_leaked(progress)
    ]
    # Read here, so that an error is part of the answer.
    return newer + ([record.candidate.merged({})] if record.candidate else [])


def find_reopened(workspace: Workspace, progress: SecretProgress) -> list[str]:
    """Names that grant access again since the cut. Raises the error of a failed check."""
    ended = Ended()
    names = (
        [name for name in find_strangers(workspace, progress, ended) if name not in progress.leftover]
        if progress.placed
        else []
    )
    if ended.errors:
        raise ended.errors[0]
    return names
