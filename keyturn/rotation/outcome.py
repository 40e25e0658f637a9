"""How a run of a rotation ended, in names only."""

from dataclasses import dataclass, replace
from enum import StrEnum

from keyturn.core.errors import KeyturnError, TerminalError, TransientError
from keyturn.core.record import Rotation, Stage
from keyturn.rotation.copies.push import Pushed
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement


class RunState(StrEnum):
    """How a run ended."""

    ROTATED = "rotated"
    SETTLED = "settled"
    REVERTED = "reverted"
    TAKEN_BACK = "taken back"
    """By a person, who wanted just that."""
    NOT_DUE = "not due"
    HELD = "held"


@dataclass(frozen=True)
class Outcome:
    """What a run did, in names only: this is all that Prefect ever sees."""

    path: str
    state: RunState
    message: str = ""
    version: int | None = None
    fingerprint: str = ""
    destinations: tuple[Pushed, ...] = ()
    consumers: tuple[Acknowledgement, ...] = ()
    previous: str = ""
    """What has become of the credential before it, and of what had to make way: whether it works, and until when."""

    @property
    def promoted(self) -> bool:
        """Whether it tells of a promoted version, and of who has it."""
        return self.state not in (RunState.NOT_DUE, RunState.HELD)

    @property
    def turned(self) -> int | None:
        """The version that the run itself has put in force; None where it has put none."""
        return None if not self.promoted or self.state is RunState.SETTLED else self.version

    @property
    def headline(self) -> str:
        """The whole of it in one line."""
        if not self.promoted:
            return f"{self.state}: {self.message}"
        previous = f"; {self.previous}" if self.previous else ""
        return f"{self.state}: version {self.version} is in force{previous}"

    def after(self, ended: Retirement | None) -> "Outcome":
        """The same, which also says what was ``ended`` to make way."""
        if ended is None or not ended.message:
            return self
        return replace(self, previous=f"{ended.message}. Now {self.previous}")


def ending(rotation: Rotation, state: RunState, message: str = "") -> tuple[RunState, str]:
    """How the run ends, and its word for people; one that the canary had taken back says why, whatever it was to do."""
    if rotation.stage is not Stage.REVERTED:
        return state, message
    if not rotation.taken_back_by_hand:
        return RunState.REVERTED, rotation.note
    return (RunState.TAKEN_BACK, rotation.note) if state is RunState.REVERTED else (state, message)


def unsettled(outcome: Outcome) -> KeyturnError | None:
    """The error to end with when a promoted rotation has not reached everyone, or a canary refused it; else None."""
    behind = [f"{p.store}:{p.name} ({p.error or p.state})" for p in outcome.destinations if not p.in_step]
    silent = [f"{t.consumer} ({t.error})" for t in outcome.consumers if t.error]
    problems = [f"not in step: {', '.join(behind)}"] if behind else []
    problems += [f"not acknowledged by: {', '.join(silent)}"] if silent else []
    if outcome.state is RunState.REVERTED:
        problem = "; ".join([f"{outcome.message}; version {outcome.version} holds the previous value again", *problems])
        hint = f"{capital(outcome.previous)}. Mend the canary, then rotate again"
        return TerminalError("rotate", outcome.path, problem, hint)
    if not problems:
        return None
    problem = f"version {outcome.version} is in force, but {'; '.join(problems)}"
    hint = f"{capital(outcome.previous)}. Mend the cause; the next sync and retire runs go on by themselves"
    return TransientError("settle", outcome.path, problem, hint)


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]
