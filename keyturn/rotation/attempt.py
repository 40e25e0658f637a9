"""One rotation in progress, as the steps pass it on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from keyturn.core.errors import TerminalError
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.strategies import Change
from keyturn.core.rotation_record import Record, Rotation
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class Attempt:
    """One rotation in progress: its record, and CURRENT as read at the start of the step or run."""

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
        """The candidate. Raises TerminalError when it does not exist yet."""
        if self.record.candidate is None:
            raise TerminalError("go on with", self.path, "it has no candidate", "Run the rotation again")
        return self.record.candidate

    @property
    def in_force(self) -> bool:
        """Whether CURRENT already is the candidate: a run died right after the promotion."""
        return self.current is not None and self.current.fields.holds(self.candidate)

    @property
    def ground(self) -> SecretFields | None:
        """The base of the candidate: CURRENT, or what a revocation has left of it."""
        return self.current.fields if self.current else self.record.rest

    def beside(self, makes: Collection[str], rotation: Rotation) -> SecretFields | None:
        """The input of a mint: the base, without the credential where the account changes."""
        if self.ground is None or not rotation.changes_account:
            return self.ground
        return SecretFields({name: value for name, value in self.ground.reveal().items() if name not in makes})

    @property
    def guarded(self) -> SecretFields | None:
        """The serving fields for guards; None where a person allows a change of account."""
        return None if self.rotation.changes_account else self.serving

    @property
    def serving(self) -> SecretFields | None:
        """CURRENT's fields, unless revoked: then nothing of them may be in force again."""
        if self.current is None or self.record.dead(self.current.version):
            return None
        return self.current.fields

    def change(self) -> Change:
        """The attempt for its strategy."""
        return Change(self.path, self.rotation.sequence, self.candidate, self.ground)


def ends(workspace: Workspace, attempt: Attempt) -> dict[str, str]:
    """The names of CURRENT's credential."""
    return dict(workspace.open_strategy(attempt.path).credential_id(attempt.current.fields)) if attempt.current else {}


def still_named(recorded: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether ``now`` names the ``recorded`` credential; it may have more names than before."""
    return recorded == now if not recorded else recorded.items() <= now.items()


def newest_version(workspace: Workspace, attempt: Attempt) -> int:
    """The version that a write must name; a deleted newest version still counts."""
    if attempt.current:
        return attempt.current.version
    info = workspace.hub.describe(attempt.path)
    return info.version if info else 0
