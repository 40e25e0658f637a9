"""The rotation of one secret as a protocol: decide, stage, install, verify, promote, push, notify, conclude.

A conductor runs each yielded step (see :mod:`keyturn.core.ports.conductor`). The rest reads only the catalogue.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import Secret
from keyturn.core.errors import CandidateRejected, KeyturnError, Locked
from keyturn.core.fingerprint import shown
from keyturn.core.overrides import Waive
from keyturn.core.ports.conductor import Conductor, take_side_by_side
from keyturn.core.rotation_record import Rotation, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.copies.push import Pushed, failed, unless_refused
from keyturn.rotation.copies.restarts import restarting_stores
from keyturn.rotation.decide import UNFINISHED, Decision
from keyturn.rotation.grace import all_in_step
from keyturn.rotation.outcome import Outcome, RunState, ending
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement, canary, silent
from keyturn.rotation.state.journal import Doing
from keyturn.rotation.strategy_verbs import (
    CONCLUDE,
    DECIDE,
    DECIDE_AGAIN,
    DESCRIBE_PREVIOUS,
    FIND_PLACES,
    FIND_PROMOTED,
    FIND_REVERTIBLE,
    FINISH_TAKING_BACK,
    GUARD,
    HEALTH,
    INSTALL,
    LAY_GROUND,
    MAKE_WAY,
    NOTIFY,
    PASS_CANARY,
    PAUSE,
    PROMOTE,
    PUSH,
    RESTART,
    RETIRE,
    STAGE,
    TAKE_BACK,
    TRY_RESTORED,
    VERIFY,
)

ANNOUNCED: Final = ("stage", "install", "promote", "push")
"""The steps that change something, which one ledger entry may announce."""

CHECKED: Final = "not due; copies and consumers checked"

Announce = Callable[[str], AbstractContextManager[Doing]]
"""Records the steps to come before the first of them, and their result."""


def unannounced(note: str) -> AbstractContextManager[Doing]:
    """For protocols in which each step records itself."""
    return nullcontext(Doing(note=note))


def rotate(
    catalogue: Catalogue,
    path: str,
    trigger: Trigger,
    *,
    end_previous: bool = False,
    ground: int | None = None,
    change_account: bool = False,
    announce: Announce = unannounced,
) -> Conductor[Outcome]:
    """Replace one secret: see :func:`keyturn.rotation.run.rotate`.

    HELD where another run has the secret (Locked before the promotion), or where a person asks while a revocation has
    it. Raises all other errors, and Locked after the promotion, since then this run has more to do.
    """
    secret = catalogue.secret(path)
    restarting = restarting_stores(catalogue, secret.destinations)
    if ground is not None:
        yield from LAY_GROUND(ground, end_previous)
    decision = replace((yield from DECIDE(trigger)), changes_account=change_account)
    if decision.reverting:
        try:
            rotation = yield from FINISH_TAKING_BACK()
        except Locked as error:
            return Outcome(path, RunState.HELD, error.text)
        if rotation:
            return (yield from settle(secret, restarting, rotation, RunState.REVERTED))
    if decision.reason:
        return (yield from replace_secret(secret, restarting, trigger, decision, end_previous, announce))
    if decision.unsettled and (rotation := (yield from FIND_PROMOTED(decision.unsettled))):
        return (yield from settle(secret, restarting, rotation, RunState.SETTLED, CHECKED))
    # A person who asks for a new value must not be answered "not due".
    state = RunState.HELD if decision.held and decision.by_hand else RunState.NOT_DUE
    return Outcome(path, state, decision.waits, decision.seen)


def restore_previous(catalogue: Catalogue, path: str, why: str) -> Conductor[Outcome]:
    """Restore the value before the last rotation: see :func:`keyturn.rotation.run.restore_previous`."""
    secret = catalogue.secret(path)
    token = yield from FIND_REVERTIBLE()
    rotation = yield from TAKE_BACK(token, why, by_hand=True)
    yield from TRY_RESTORED()
    return (yield from settle(secret, restarting_stores(catalogue, secret.destinations), rotation, RunState.REVERTED))


def replace_secret(
    secret: Secret,
    restarting: Sequence[str],
    trigger: Trigger,
    decision: Decision,
    end_previous: bool,
    announce: Announce,
) -> Conductor[Outcome]:
    """All steps from the decision to the consumers, and the end of a suspected credential."""
    why, ended = decision.reason.message if decision.reason else "", None
    with announce(f"{why}: {steps_to_come(secret)}") as doing:
        try:
            if decision.reason != UNFINISHED and secret.destinations:
                yield from GUARD(decision)
            if decision.unsettled:
                ended = yield from MAKE_WAY(trigger, decision.unsettled, end_previous)
            rotation = yield from replace_credential(trigger, decision)
        except Locked as error:
            doing.note = f"held: {error.problem}"
            return Outcome(secret.path, RunState.HELD, mentioning(error, ended).text)
        except KeyturnError as error:
            raise mentioning(error, ended) from None
        outcome = yield from settle(secret, restarting, rotation, RunState.ROTATED, why)
        doing.version, doing.fingerprint, doing.note = rotation.version or 0, rotation.fingerprint, str(outcome.state)
    if decision.urgent and outcome.state is RunState.ROTATED:
        retirement = yield from RETIRE(Waive.GRACE)
        outcome = replace(outcome, previous=(yield from DESCRIBE_PREVIOUS(rotation, retirement)))
    return outcome.after(ended)


def mentioning(error: KeyturnError, ended: Retirement | None) -> KeyturnError:
    """The error, with what was ``ended``, or left open for good, before it."""
    if ended and ended.message:
        error.problem = f"{error.problem}. Before that, {ended.message}"
    return error


def steps_to_come(secret: Secret) -> str:
    """The steps to come that change something, for people."""
    places = [destination.label for destination in secret.destinations]
    names = ", ".join(step for step in ANNOUNCED if step != "push")
    return f"{names}, push to {', '.join(places)}" if places else names


def replace_credential(trigger: Trigger, decision: Decision) -> Conductor[Rotation]:
    """Promote a candidate, trying others where the target refuses one. Raises Locked."""
    while True:
        try:
            return (yield from candidate_in_force(decision))
        except CandidateRejected:
            again = yield from DECIDE_AGAIN(trigger, decision)
            if again is None:
                raise
            decision = again


def candidate_in_force(decision: Decision) -> Conductor[Rotation]:
    """Promote one candidate. Raises CandidateRejected once it is abandoned."""
    token = yield from STAGE(decision)
    yield from INSTALL(token)
    yield from VERIFY(token)
    return (yield from PROMOTE(token))


def settle(
    secret: Secret, restarting: Sequence[str], rotation: Rotation, state: RunState, message: str = ""
) -> Conductor[Outcome]:
    """Push the promoted secret everywhere, then notify consumers, the canary first.

    Where the canary is unhealthy, the previous value is restored and pushed instead.
    """
    destinations = yield from push_everywhere(secret, restarting)
    in_step = all_in_step(destinations)
    consumers, refused = yield from tell_everyone(secret, rotation, bool(destinations) and in_step)
    if refused and rotation.stage is Stage.PROMOTED:
        reverted = yield from TAKE_BACK(rotation.token, refused)
        return (yield from settle(secret, restarting, reverted, RunState.REVERTED))
    state, message = ending(rotation, state, message)
    previous = yield from DESCRIBE_PREVIOUS(rotation, in_step=in_step)
    arrived = (tuple(destinations), tuple(consumers))
    return Outcome(secret.path, state, message, rotation.version, shown(rotation.fingerprint), *arrived, previous)


def push_everywhere(secret: Secret, restarting: Sequence[str]) -> Conductor[list[Pushed]]:
    """Push to every destination in parallel, then restart the workloads; failures are independent.

    A copy fails where its store refuses the restart.
    """
    (places, unknown), refused = (yield from find_places(secret)), {}
    results = yield from take_side_by_side(PUSH(store, name) for store, name in places)
    for store in restarting:
        try:
            yield from RESTART(store)
        except KeyturnError as error:
            refused[store] = error
    pushed = [
        failed(store, name, result) if isinstance(result, KeyturnError) else result
        for (store, name), result in zip(places, results, strict=True)
    ]
    return unless_refused([*pushed, *unknown], refused)


def find_places(secret: Secret) -> Conductor[tuple[list[tuple[str, str]], list[Pushed]]]:
    """The destinations by store and name; the catalogue is enough unless a pattern expands to fields."""
    places = [(place.store, place.name) for place in secret.destinations if isinstance(place, Destination)]
    return (places, []) if len(places) == len(secret.destinations) else (yield from FIND_PLACES())


def tell_everyone(secret: Secret, rotation: Rotation, in_step: bool) -> Conductor[tuple[list[Acknowledgement], str]]:
    """Notify the canary, check it, and notify the rest; returns the answers and why the canary is unhealthy.

    ``in_step``, that all copies are in sync, is saved too: it starts the grace period.
    """
    first, answers = canary(secret, rotation), []
    if first and secret.rollout:
        answers = yield from tell_wave(rotation, first, in_step)
        if refused := silent(answers):
            return answers, refused
        yield from PAUSE(secret.rollout.pause.total_seconds())
        if secret.rollout.health and (refused := (yield from HEALTH(first))):
            return answers, refused
        yield from PASS_CANARY(rotation.token)
    rest = [consumer for consumer in secret.consumers if consumer not in first]
    return [*answers, *(yield from tell_wave(rotation, rest, in_step and not first))], ""


def tell_wave(rotation: Rotation, consumers: Sequence[str], in_step: bool) -> Conductor[list[Acknowledgement]]:
    """Notify these in parallel, and save the acknowledgements."""
    results = yield from take_side_by_side(NOTIFY(rotation.token, consumer) for consumer in consumers)
    answers = [
        Acknowledgement(consumer, result.text, kind=type(result).__name__)
        if isinstance(result, KeyturnError)
        else result
        for consumer, result in zip(consumers, results, strict=True)
    ]
    acknowledged = [answer.consumer for answer in answers if not answer.error]
    if acknowledged or in_step:
        yield from CONCLUDE(rotation.token, acknowledged, in_step)
    return answers
