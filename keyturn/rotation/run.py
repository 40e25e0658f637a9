"""The whole protocol in one call: what a fleet's task runs, and what runs without a Prefect server."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from keyturn.core.errors import CandidateRejected, KeyturnError, Locked, TerminalError, TransientError
from keyturn.core.fingerprint import shown
from keyturn.core.policy import Trigger
from keyturn.core.record import Record, Rotation, Stage
from keyturn.rotation import steps
from keyturn.rotation.context import Keyturn
from keyturn.rotation.decide import UNFINISHED, Decision, decide_again, decide_on
from keyturn.rotation.grace import all_in_step
from keyturn.rotation.guard import guard_destinations
from keyturn.rotation.recorded import recorded, written_together
from keyturn.rotation.records import load
from keyturn.rotation.revert import revert
from keyturn.rotation.rollout import Told, tell_all
from keyturn.rotation.settle import Waive, retire
from keyturn.rotation.sync import Pushed, sync

ANNOUNCED: Final = ("stage", "install", "promote", "push")
"""The steps of a rotation that change something, which one entry of the ledger announces."""


class State(StrEnum):
    """How a run ended."""

    ROTATED = "rotated"
    SETTLED = "settled"
    REVERTED = "reverted"
    NOT_DUE = "not due"
    HELD = "held"


@dataclass(frozen=True)
class Outcome:
    """What a run did, in names only: this is all that Prefect ever sees."""

    path: str
    state: State
    message: str = ""
    version: int | None = None
    fingerprint: str = ""
    destinations: tuple[Pushed, ...] = ()
    consumers: tuple[Told, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def rotate(keyturn: Keyturn, path: str, trigger: Trigger = Trigger.SCHEDULE) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done.

    The ledger is written twice: that it begins and with which steps, before the first of them, and what became of each.
    """
    with written_together(keyturn):
        decision, record = decide_on(keyturn, path, trigger)
        try:
            if decision.reverting and (rotation := reverting(keyturn, path)):
                return settle(keyturn, path, rotation, State.REVERTED)
            if decision.reason is None:
                return finish(keyturn, path, decision)
        except Locked as held:
            return Outcome(path, State.HELD, str(held))
        return replaced(keyturn, path, trigger, decision, record)


def replaced(keyturn: Keyturn, path: str, trigger: Trigger, decision: Decision, record: Record) -> Outcome:
    """From the decision on that record to the consumers; one entry of the ledger announces the steps."""
    why = decision.reason.message if decision.reason else ""
    note = f"{why}: {announced(keyturn, path)}"
    with recorded(keyturn, "rotate", path, note=note, announcing=ANNOUNCED) as doing:
        try:
            rotation = replace_credential(keyturn, path, trigger, decision, record)
        except Locked as held:
            doing.note = f"held: {held.problem}"
            return Outcome(path, State.HELD, str(held))
        outcome = settle(keyturn, path, rotation, State.ROTATED, why)
        doing.version, doing.fingerprint, doing.note = rotation.version or 0, rotation.fingerprint, str(outcome.state)
    if decision.urgent:
        retire(keyturn, path, Waive.GRACE)
    return outcome


def announced(keyturn: Keyturn, path: str) -> str:
    """The steps to come that change something, for people."""
    places = [one.label for one in keyturn.secret(path).destinations]
    return ", ".join(step for step in ANNOUNCED if step != "push") + (
        f", push to {', '.join(places)}" if places else ""
    )


def reverting(keyturn: Keyturn, path: str) -> Rotation | None:
    """The rotation that a run died in taking back, once it is taken back; None where there is none."""
    rotation = load(keyturn, path).open
    if rotation is None or rotation.stage is not Stage.REVERTING:
        return None
    return revert(keyturn, path, rotation.token, rotation.note)


def replace_credential(
    keyturn: Keyturn, path: str, trigger: Trigger, decision: Decision, record: Record | None
) -> Rotation:
    """From the decision on that record to the promotion. Raises Locked when another run is at it."""
    if decision.reason != UNFINISHED:
        guard_destinations(keyturn, path, urgent=decision.urgent)
    if decision.unsettled:
        make_way(keyturn, path, trigger, decision.unsettled)
    while True:
        try:
            return candidate_in_force(keyturn, path, decision, record)
        except CandidateRejected:
            again = decide_again(keyturn, path, trigger, decision)
            if again is None:
                raise
            decision, record = again, None


def candidate_in_force(keyturn: Keyturn, path: str, decision: Decision, record: Record | None = None) -> Rotation:
    """One candidate's way, on the record as it was decided on. Raises CandidateRejected, when it has been given up."""
    attempt = steps.stage(keyturn, path, decision, record)
    steps.install(keyturn, attempt)
    steps.verify(keyturn, attempt)
    return steps.promote(keyturn, attempt).rotation


def make_way(keyturn: Keyturn, path: str, trigger: Trigger, token: str | None = None) -> None:
    """Retire what the last rotation left; a forced one does so whatever speaks against it.

    Raises TerminalError, naming what holds the old credential.
    """
    forced = trigger in (Trigger.FORCE, Trigger.COMPROMISE)
    retirement = retire(keyturn, path, Waive.EVERYTHING if forced else Waive.NOTHING, token)
    if retirement.held_by:
        problem = f"the credential before version {retirement.version} is not retired: {'; '.join(retirement.held_by)}"
        raise TerminalError("rotate", path, problem, "Mend that, or force the rotation, which ends the old one at once")


def finish(keyturn: Keyturn, path: str, decision: Decision) -> Outcome:
    """What is left of a promoted rotation whose run was interrupted; otherwise nothing is due."""
    rotation = load(keyturn, path).retiring if decision.unsettled else None
    if rotation is None:
        return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)
    return settle(keyturn, path, rotation, State.SETTLED, "not due; copies and consumers checked")


def settle(keyturn: Keyturn, path: str, rotation: Rotation, state: State, message: str = "") -> Outcome:
    """Carry a promoted secret to its destinations, and then tell its consumers, wave by wave.

    Where the canary is not well the previous value is put back, and carried everywhere instead.
    """
    destinations = sync(keyturn, path)
    rollout = tell_all(keyturn, path, rotation, bool(destinations) and all_in_step(destinations))
    if rollout.refused and rotation.stage is Stage.PROMOTED:
        return settle(keyturn, path, revert(keyturn, path, rotation.token, rollout.refused), State.REVERTED)
    state, message = ending(rotation, state, message)
    fingerprint = shown(rotation.fingerprint)
    return Outcome(path, state, message, rotation.version, fingerprint, tuple(destinations), tuple(rollout.told))


def ending(rotation: Rotation, state: State, message: str = "") -> tuple[State, str]:
    """How the run ends, and its word for people; one that was taken back says why, whatever the run was to do."""
    return (State.REVERTED, rotation.note) if rotation.stage is Stage.REVERTED else (state, message)


def unsettled(outcome: Outcome) -> KeyturnError | None:
    """The error to end with when a promoted rotation has not reached everyone, or was taken back; else None."""
    behind = [f"{p.store}:{p.name} ({p.error or p.state})" for p in outcome.destinations if not p.in_step]
    silent = [f"{t.consumer} ({t.error})" for t in outcome.consumers if t.error]
    said = [f"not in step: {', '.join(behind)}"] if behind else []
    said += [f"not acknowledged by: {', '.join(silent)}"] if silent else []
    if outcome.state is State.REVERTED:
        problem = "; ".join([f"{outcome.message}; version {outcome.version} holds the previous value again", *said])
        hint = "Both credentials work until the grace is over. Mend the canary, then rotate again"
        return TerminalError("rotate", outcome.path, problem, hint)
    if not said:
        return None
    problem = f"version {outcome.version} is in force, but {'; '.join(said)}"
    hint = (
        "The old credential stays valid until then. Mend the cause; the next sync and retire runs go on by themselves"
    )
    return TransientError("settle", outcome.path, problem, hint)
