"""One rotation in work, as the steps hand it on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from keyturn.core.errors import TerminalError
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.strategies import Change
from keyturn.core.record import Record, Rotation
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class Attempt:
    """One rotation in work: its record, and CURRENT as read when the step or the run began."""

    path: str
    record: Record
    current: HubSecret | None

    @property
    def rotation(self) -> Rotation:
        """The rotation, open or promoted. Raises TerminalError when the record has none."""
        if self.record.rotation is None:
            raise TerminalError("go on with", self.path, "no rotation is open", "See `keyturn history` for its end")
        return self.record.rotation

    @property
    def candidate(self) -> SecretFields:
        """The candidate. Raises TerminalError when it is not made yet."""
        if self.record.candidate is None:
            raise TerminalError("go on with", self.path, "it has no candidate", "Run the rotation again")
        return self.record.candidate

    @property
    def in_force(self) -> bool:
        """Whether CURRENT is the candidate already: a run was interrupted right after it promoted."""
        return self.current is not None and self.current.fields.holds(self.candidate)

    @property
    def ground(self) -> SecretFields | None:
        """What the candidate is laid over: CURRENT, or what a revocation has left of it."""
        return self.current.fields if self.current else self.record.rest

    def beside(self, makes: Collection[str], rotation: Rotation) -> SecretFields | None:
        """What a candidate is made from: the ground, without the credential of an account that it moves away from."""
        if self.ground is None or not rotation.changes_account:
            return self.ground
        return SecretFields({name: value for name, value in self.ground.reveal().items() if name not in makes})

    @property
    def guarded(self) -> SecretFields | None:
        """What serves, as guards are asked about it; nothing where a person let it move to another account."""
        return None if self.rotation.changes_account else self.serving

    @property
    def serving(self) -> SecretFields | None:
        """What CURRENT holds, unless a revocation has ended it: then nothing of it may be in force again."""
        if self.current is None or self.record.dead(self.current.version):
            return None
        return self.current.fields

    def change(self) -> Change:
        """The attempt as its strategy sees it."""
        return Change(self.path, self.rotation.sequence, self.candidate, self.ground)


def ends(workspace: Workspace, attempt: Attempt) -> dict[str, str]:
    """The names of the credential that CURRENT holds."""
    return dict(workspace.open_strategy(attempt.path).credential_id(attempt.current.fields)) if attempt.current else {}


def still_named(recorded: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether ``now`` names the credential that was ``recorded``; a strategy may have come to tell more of it."""
    return recorded == now if not recorded else recorded.items() <= now.items()


def newest_version(workspace: Workspace, attempt: Attempt) -> int:
    """The version that a write must name; a deleted newest version still counts in the hub."""
    if attempt.current:
        return attempt.current.version
    info = workspace.hub.describe(attempt.path)
    return info.version if info else 0
