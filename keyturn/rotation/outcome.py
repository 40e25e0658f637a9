"""The result of a rotation's run, in names only."""

from dataclasses import dataclass, replace
from enum import StrEnum

from keyturn.core.errors import KeyturnError, TerminalError, TransientError
from keyturn.core.rotation_record import Rotation, Stage
from keyturn.rotation.copies.push import Pushed
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement


class RunState(StrEnum):
    """How a run ended."""

    ROTATED = "rotated"
    SETTLED = "settled"
    REVERTED = "reverted"
    TAKEN_BACK = "taken back"
    """A person asked for the rollback."""
    NOT_DUE = "not due"
    HELD = "held"


@dataclass(frozen=True)
class Outcome:
    """The result of a run, in names only: Prefect sees nothing else."""

    path: str
    state: RunState
    message: str = ""
    version: int | None = None
    fingerprint: str = ""
    destinations: tuple[Pushed, ...] = ()
    consumers: tuple[Acknowledgement, ...] = ()
    previous: str = ""
    """The state of the credential before it, and of a retired one: whether it works, and until when."""

    @property
    def promoted(self) -> bool:
        """Whether it has a promoted version and its recipients."""
        return self.state not in (RunState.NOT_DUE, RunState.HELD)

    @property
    def turned(self) -> int | None:
        """The version that the run itself promoted; None for none."""
        return None if not self.promoted or self.state is RunState.SETTLED else self.version

    @property
    def headline(self) -> str:
        """The result in one line."""
        if not self.promoted:
            return f"{self.state}: {self.message}"
        previous = f"; {self.previous}" if self.previous else ""
        return f"{self.state}: version {self.version} is in force{previous}"

    def after(self, ended: Retirement | None) -> "Outcome":
        """The result, with what was ``ended`` before it."""
        if ended is None or not ended.message:
            return self
        return replace(self, previous=f"{ended.message}. Now {self.previous}")


def ending(rotation: Rotation, state: RunState, message: str = "") -> tuple[RunState, str]:
    """The state and message of the run; a canary's rollback gives its reason, whatever the run was to do."""
    if rotation.stage is not Stage.REVERTED:
        return state, message
    if not rotation.taken_back_by_hand:
        return RunState.REVERTED, rotation.note
    return (RunState.TAKEN_BACK, rotation.note) if state is RunState.REVERTED else (state, message)


def unsettled(outcome: Outcome) -> KeyturnError | None:
    """The error for a rotation that has not reached all, or that a canary refused; else None."""
    behind = [f"{p.store}:{p.name} ({p.error or p.state})" for p in outcome.destinations if not p.in_step]
    silent = [f"{t.consumer} ({t.error})" for t in outcome.consumers if t.error]
    problems = [f"not in sync: {', '.join(behind)}"] if behind else []
    problems += [f"not acknowledged by: {', '.join(silent)}"] if silent else []
    if outcome.state is RunState.REVERTED:
        problem = "; ".join([f"{outcome.message}; version {outcome.version} holds the previous value again", *problems])
        hint = f"{capital(outcome.previous)}. Fix the canary, then rotate again"
        return TerminalError("rotate", outcome.path, problem, hint)
    if not problems:
        return None
    problem = f"version {outcome.version} is in force, but {'; '.join(problems)}"
    hint = f"{capital(outcome.previous)}. Fix the cause; the next sync and retire runs continue by themselves"
    return TransientError("settle", outcome.path, problem, hint)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
