"""The whole protocol in one call: what a fleet's task runs, and what runs without a Prefect server."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from keyturn.core.errors import CandidateRejected, Locked
from keyturn.core.fingerprint import shown
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation
from keyturn.rotation import steps
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

    @property
    def complete(self) -> bool:
        """Whether every destination is in step and every consumer has acknowledged."""
        return all(p.in_step for p in self.destinations) and not any(t.error for t in self.consumers)

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def rotate(keyturn: Keyturn, path: str, trigger: Trigger = Trigger.SCHEDULE) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done."""
    try:
        decision = steps.decide(keyturn, path, trigger)
        if decision.reason is None:
            return finish(keyturn, path, decision)
        if trigger is Trigger.FORCE and decision.unsettled:
            retire(keyturn, path, Waive.EVERYTHING)
        attempt = steps.stage(keyturn, path, decision)
    except Locked as held:
        return Outcome(path, State.HELD, str(held))
    steps.install(keyturn, attempt)
    try:
        steps.verify(keyturn, attempt)
    except CandidateRejected as rejected:
        steps.abandon(keyturn, attempt, rejected.problem)
        raise
    attempt = steps.promote(keyturn, attempt)
    return settle(keyturn, path, attempt.rotation, State.ROTATED, decision.reason.message)


def finish(keyturn: Keyturn, path: str, decision: steps.Decision) -> Outcome:
    """What is left of a promoted rotation whose run was interrupted; otherwise nothing is due."""
    rotation = load(keyturn, path).retiring if decision.unsettled else None
    if rotation is None:
        return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)
    return settle(keyturn, path, rotation, State.SETTLED, "not due; copies and consumers checked")


def settle(keyturn: Keyturn, path: str, rotation: Rotation, state: State, message: str) -> Outcome:
    """Carry a promoted secret to its destinations, and then tell its consumers."""
    destinations = sync(keyturn, path)
    told = notify_all(keyturn, path, rotation)
    fingerprint = shown(rotation.fingerprint)
    return Outcome(path, state, message, rotation.version, fingerprint, tuple(destinations), tuple(told))
