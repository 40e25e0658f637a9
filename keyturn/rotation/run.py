"""The whole protocol in one call: what a fleet's task runs, and what runs without a Prefect server."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from keyturn.core.errors import CandidateRejected, KeyturnError, Locked, TerminalError, TransientError
from keyturn.core.fingerprint import shown
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation, Stage
from keyturn.rotation import steps
from keyturn.rotation.context import Workspace
from keyturn.rotation.decide import BY_HAND, UNFINISHED, Decision, SecretStatus, decide_again, decide_on
from keyturn.rotation.grace import all_in_step
from keyturn.rotation.guard import describe_move, guard_destinations
from keyturn.rotation.journal import record_action, written_together
from keyturn.rotation.missing import lay_ground
from keyturn.rotation.previous import Retirement, state_of_previous
from keyturn.rotation.records import load_record
from keyturn.rotation.retire import Waive, retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.rollout import Acknowledgement, tell_all
from keyturn.rotation.sync import Pushed, sync_destinations

ANNOUNCED: Final = ("stage", "install", "promote", "push")
"""The steps of a rotation that change something, which one entry of the ledger announces."""


class RunState(StrEnum):
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
    state: RunState
    message: str = ""
    version: int | None = None
    fingerprint: str = ""
    destinations: tuple[Pushed, ...] = ()
    consumers: tuple[Acknowledgement, ...] = ()
    previous: str = ""
    """What has become of the credential before it, and of what had to make way: whether it works, and until when."""

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def rotate(
    workspace: Workspace,
    path: str,
    trigger: Trigger = Trigger.SCHEDULE,
    *,
    end_previous: bool = False,
    ground: int | None = None,
    change_account: bool = False,
) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done.

    The credential before the last rotation, where it is not retired yet, holds it back while anything speaks against
    its end; with ``end_previous`` it ends now, whoever uses it. Raises TerminalError, naming what holds it.

    Where CURRENT was there and can't be read, Missing is raised; a person names the version whose fields are the
    ``ground`` of the next one. With ``change_account`` it moves away from an account that the catalogue names no more,
    which is retired like any other.
    The ledger is written twice: that it begins and with which steps, before the first of them, and what became of each.
    """
    with written_together(workspace):
        if ground is not None:
            lay_ground(workspace, path, ground, end_previous=end_previous)
        decision, status = decide_on(workspace, path, trigger, reading=trigger in BY_HAND)
        decision = replace(decision, changes_account=change_account)
        try:
            if decision.reverting and (rotation := reverting(workspace, path)):
                return settle(workspace, path, rotation, RunState.REVERTED)
            if decision.reason is None:
                return finish(workspace, path, decision)
        except Locked as held:
            return Outcome(path, RunState.HELD, str(held))
        return replaced(workspace, path, trigger, decision, status, end_previous=end_previous)


def replaced(
    workspace: Workspace, path: str, trigger: Trigger, decision: Decision, status: SecretStatus, *, end_previous: bool
) -> Outcome:
    """From the decision on what was seen to the consumers; one entry of the ledger announces the steps."""
    ended: Retirement | None = None
    why = decision.reason.message if decision.reason else ""
    note = f"{why}: {announced(workspace, path)}"
    with record_action(workspace, "rotate", path, note=note, announcing=ANNOUNCED) as doing:
        try:
            if decision.reason != UNFINISHED:
                guard_destinations(workspace, path, urgent=decision.urgent, by_hand=decision.by_hand)
            if decision.unsettled:
                ended = make_way(workspace, path, trigger, decision.unsettled, end_previous=end_previous)
            rotation = replace_credential(workspace, path, trigger, decision, status)
        except Locked as held:
            doing.note = f"held: {held.problem}"
            return Outcome(path, RunState.HELD, str(held))
        outcome = settle(workspace, path, rotation, RunState.ROTATED, why)
        doing.version, doing.fingerprint, doing.note = rotation.version or 0, rotation.fingerprint, str(outcome.state)
    if decision.urgent:
        outcome = told_again(workspace, outcome, rotation, retire(workspace, path, Waive.GRACE))
    return after(outcome, ended)


def after(outcome: Outcome, ended: Retirement | None) -> Outcome:
    """The outcome, which also says what was ended to make way."""
    if ended is None or not ended.message:
        return outcome
    return replace(outcome, previous=f"{ended.message}. Now {outcome.previous}")


def told_again(workspace: Workspace, outcome: Outcome, rotation: Rotation, retirement: Retirement) -> Outcome:
    """The outcome, once what ``rotation`` replaced has been tried to retire."""
    if outcome.state is not RunState.ROTATED:
        return outcome
    return replace(outcome, previous=state_of_previous(workspace, outcome.path, rotation, retirement))


def announced(workspace: Workspace, path: str) -> str:
    """The steps to come that change something, for people."""
    places = [destination.label for destination in workspace.secret(path).destinations]
    return ", ".join(step for step in ANNOUNCED if step != "push") + (
        f", push to {', '.join(places)}" if places else ""
    )


def reverting(workspace: Workspace, path: str) -> Rotation | None:
    """The rotation that a run died in taking back, once it is taken back; None where there is none."""
    rotation = load_record(workspace, path).open
    if rotation is None or rotation.stage is not Stage.REVERTING:
        return None
    return rollback(workspace, path, rotation.token, rotation.note)


def replace_credential(
    workspace: Workspace, path: str, trigger: Trigger, decision: Decision, status: SecretStatus | None
) -> Rotation:
    """From the decision on what was seen to the promotion: candidates, until the target takes one. Raises Locked."""
    while True:
        try:
            return candidate_in_force(workspace, path, decision, status)
        except CandidateRejected:
            again = decide_again(workspace, path, trigger, decision)
            if again is None:
                raise
            decision, status = again, None


def candidate_in_force(
    workspace: Workspace, path: str, decision: Decision, status: SecretStatus | None = None
) -> Rotation:
    """One candidate's way, on what was seen at the decision. Raises CandidateRejected, when it has been given up."""
    attempt = steps.stage(workspace, path, decision, status)
    steps.install(workspace, attempt)
    steps.verify(workspace, attempt)
    return steps.promote(workspace, attempt).rotation


def make_way(
    workspace: Workspace, path: str, trigger: Trigger, token: str | None = None, *, end_previous: bool = False
) -> Retirement:
    """Retire what the last rotation left, on evidence; a suspicion, or ``end_previous``, ends it whoever uses it.

    Raises TerminalError, naming what holds the old credential.
    """
    waive = Waive.EVERYTHING if end_previous or trigger is Trigger.COMPROMISE else Waive.NOTHING
    if trigger is Trigger.FORCE and ends_nothing(workspace, path):
        waive = Waive.EVERYTHING
    retirement = retire(workspace, path, waive, token)
    if retirement.held_by:
        names = f" ({retirement.names})" if retirement.names else ""
        held_by = "; ".join(retirement.held_by)
        problem = f"the credential before version {retirement.version}{names} is not retired: {held_by}"
        hint = f"Nothing was changed. Mend that or wait; `keyturn rotate {path} --now --end-previous` ends it at once"
        raise TerminalError("rotate", path, problem, hint)
    return retirement


def ends_nothing(workspace: Workspace, path: str) -> bool:
    """Whether nobody can be cut off: no target knows what was before, or the catalogue leads to another one now."""
    rotation = load_record(workspace, path).retiring
    return rotation is not None and (not rotation.ends or bool(describe_move(workspace, path, rotation)))


def finish(workspace: Workspace, path: str, decision: Decision) -> Outcome:
    """What is left of a promoted rotation whose run was interrupted; otherwise nothing is due."""
    rotation = load_record(workspace, path).retiring if decision.unsettled else None
    if rotation is None:
        return Outcome(path, RunState.NOT_DUE, "nothing to do", decision.seen)
    return settle(workspace, path, rotation, RunState.SETTLED, "not due; copies and consumers checked")


def settle(workspace: Workspace, path: str, rotation: Rotation, state: RunState, message: str = "") -> Outcome:
    """Carry a promoted secret to its destinations, and then tell its consumers, wave by wave.

    Where the canary is not well the previous value is put back, and carried everywhere instead.
    """
    destinations = sync_destinations(workspace, path)
    rollout = tell_all(workspace, path, rotation, bool(destinations) and all_in_step(destinations))
    if rollout.refused and rotation.stage is Stage.PROMOTED:
        return settle(workspace, path, rollback(workspace, path, rotation.token, rollout.refused), RunState.REVERTED)
    state, message = ending(rotation, state, message)
    previous = state_of_previous(workspace, path, rotation, in_step=all_in_step(destinations))
    arrived = (tuple(destinations), tuple(rollout.told))
    return Outcome(path, state, message, rotation.version, shown(rotation.fingerprint), *arrived, previous)


def ending(rotation: Rotation, state: RunState, message: str = "") -> tuple[RunState, str]:
    """How the run ends, and its word for people; one that was taken back says why, whatever the run was to do."""
    return (RunState.REVERTED, rotation.note) if rotation.stage is Stage.REVERTED else (state, message)


def unsettled(outcome: Outcome) -> KeyturnError | None:
    """The error to end with when a promoted rotation has not reached everyone, or was taken back; else None."""
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
