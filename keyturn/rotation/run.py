"""The whole protocol in one call: what a fleet's task runs, and what runs without a Prefect server."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from keyturn.core.errors import CandidateRejected, Locked, TerminalError, TransientError
from keyturn.core.fingerprint import shown
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation
from keyturn.rotation import steps
from keyturn.rotation.abandon import abandon
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.context import Keyturn
from keyturn.rotation.records import load
from keyturn.rotation.settle import Told, Waive, notify_all, retire
from keyturn.rotation.sync import Pushed, sync


class State(StrEnum):
    """How a run ended."""

    ROTATED = "rotated"
    SETTLED = "settled"
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
    """Replace one secret. Safe to run again: every step first asks whether it is done."""
    decision = steps.decide(keyturn, path, trigger)
    if decision.reason is None:
        return finish(keyturn, path, decision)
    try:
        rotation = replace_credential(keyturn, path, trigger, decision)
    except Locked as held:
        return Outcome(path, State.HELD, str(held))
    return settle(keyturn, path, rotation, State.ROTATED, decision.reason.message)


def replace_credential(keyturn: Keyturn, path: str, trigger: Trigger, decision: steps.Decision) -> Rotation:
    """From the decision to the promotion. Raises Locked when another run is at it."""
    if decision.unsettled:
        make_way(keyturn, path, trigger, decision.unsettled)
    attempt = steps.stage(keyturn, path, decision)
    steps.install(keyturn, attempt)
    check(keyturn, attempt)
    return steps.promote(keyturn, attempt).rotation


def make_way(keyturn: Keyturn, path: str, trigger: Trigger, token: str | None = None) -> None:
    """Retire what the last rotation left; a forced one does so whatever speaks against it.

    Raises TerminalError, naming what holds the old credential.
    """
    retirement = retire(keyturn, path, Waive.EVERYTHING if trigger is Trigger.FORCE else Waive.NOTHING, token)
    if retirement.held_by:
        problem = f"the credential before version {retirement.version} is not retired: {'; '.join(retirement.held_by)}"
        raise TerminalError("rotate", path, problem, "Mend that, or force the rotation, which ends the old one at once")


def check(keyturn: Keyturn, attempt: Attempt) -> None:
    """Verify the candidate; one that the target refuses is given up, so that the next run makes another."""
    try:
        steps.verify(keyturn, attempt)
    except CandidateRejected as rejected:
        abandon(keyturn, attempt, rejected.problem)
        raise


def finish(keyturn: Keyturn, path: str, decision: steps.Decision) -> Outcome:
    """What is left of a promoted rotation whose run was interrupted; otherwise nothing is due."""
    rotation = load(keyturn, path).retiring if decision.unsettled else None
    if rotation is None:
        return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)
    return settle(keyturn, path, rotation, State.SETTLED, "not due; copies and consumers checked")


def unsettled(outcome: Outcome) -> TransientError | None:
    """The error to end with when a promoted rotation has not reached everyone; None when it has."""
    behind = [f"{p.store}:{p.name} ({p.error or p.state})" for p in outcome.destinations if not p.in_step]
    silent = [f"{t.consumer} ({t.error})" for t in outcome.consumers if t.error]
    if not behind and not silent:
        return None
    said = [f"not in step: {', '.join(behind)}"] if behind else []
    said += [f"not acknowledged by: {', '.join(silent)}"] if silent else []
    problem = f"version {outcome.version} is in force, but {'; '.join(said)}"
    hint = (
        "The old credential stays valid until then. Mend the cause; the next sync and retire runs go on by themselves"
    )
    return TransientError("settle", outcome.path, problem, hint)


def settle(keyturn: Keyturn, path: str, rotation: Rotation, state: State, message: str) -> Outcome:
    """Carry a promoted secret to its destinations, and then tell its consumers."""
    destinations = sync(keyturn, path)
    told = notify_all(keyturn, path, rotation)
    fingerprint = shown(rotation.fingerprint)
    return Outcome(path, state, message, rotation.version, fingerprint, tuple(destinations), tuple(told))
