"""Replace one secret: decide, stage, install, verify, promote, push to every destination, tell consumers."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from flows.common import runbook, well, workspace
from flows.report import rotation_table
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import Secret
from keyturn.core.errors import CandidateRejected, KeyturnError, Locked
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation, Stage
from keyturn.rotation.decide import UNFINISHED, Decision
from keyturn.rotation.grace import all_in_step
from keyturn.rotation.previous import Retirement, state_of_previous
from keyturn.rotation.restarts import restarting
from keyturn.rotation.retire import Waive
from keyturn.rotation.rollout import Acknowledgement, canary, silent
from keyturn.rotation.run import Outcome, RunState, after, ending, told_again, unsettled
from keyturn.rotation.sync import Pushed, failed, unless_refused
from tasks import rotation as tasks


@runbook("rotate-secret", "rotate-{path}", timeout=timedelta(hours=4))
async def rotate_secret(
    path: str,
    trigger: Trigger = Trigger.SCHEDULE,
    end_previous: bool = False,
    ground: int | None = None,
    change_account: bool = False,
) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done.

    The credential before the last rotation holds it back while somebody may need it; with ``end_previous`` it ends now,
    whoever uses it. Where CURRENT is missing, ``ground`` names the version whose fields the next one is laid over. With
    ``change_account`` it moves away from an account that the catalogue names no more.
    """
    secret = (await workspace()).secret(path)
    if ground is not None:
        await tasks.ground(path, ground, end_previous)
    decision = replace(await tasks.decide(path, trigger), changes_account=change_account)
    try:
        if decision.reverting and (rotation := await tasks.finish_reverting(path)):
            return concluded(await settle(secret, rotation, RunState.REVERTED))
        if decision.reason:
            return await replaced(secret, trigger, decision, end_previous)
    except Locked as held:
        return well(f"held: {held}", Outcome(path, RunState.HELD, str(held)))
    if decision.unsettled:
        rotation = await tasks.conclude(path, decision.unsettled, [])
        return concluded(await settle(secret, rotation, RunState.SETTLED))
    return well("nothing to do", Outcome(path, RunState.NOT_DUE, "nothing to do", decision.seen))


async def replaced(secret: Secret, trigger: Trigger, decision: Decision, end_previous: bool) -> Outcome:
    """From the decision to the consumers, and to the end of what others may know."""
    path, ended = secret.path, None
    if decision.reason != UNFINISHED and secret.destinations:
        await tasks.guard(path, decision)
    if decision.unsettled:
        ended = await tasks.make_way(path, trigger, decision.unsettled, end_previous)
    rotation = await replace_credential(path, trigger, decision)
    return concluded(await settle(secret, rotation, RunState.ROTATED, ended, urgent=decision.urgent))


def concluded(outcome: Outcome) -> Outcome:
    """The completed run, whose message says what is in force, and what has become of the credential before."""
    previous = f"; {outcome.previous}" if outcome.previous else ""
    return well(f"{outcome.state}: version {outcome.version} is in force{previous}", outcome)


async def replace_credential(path: str, trigger: Trigger, decision: Decision) -> Rotation:
    """From the decision to the promotion, in names; a candidate that the target refuses makes way for another."""
    while True:
        try:
            return await candidate_in_force(path, decision)
        except CandidateRejected:
            again = await tasks.decide_again(path, trigger, decision)
            if again is None:
                raise
            decision = again


async def candidate_in_force(path: str, decision: Decision) -> Rotation:
    """One candidate's way."""
    token = await tasks.stage(path, decision)
    await tasks.install(path, token)
    await tasks.verify(path, token)
    return await tasks.promote(path, token)


async def settle(
    secret: Secret, rotation: Rotation, state: RunState, ended: Retirement | None = None, *, urgent: bool = False
) -> Outcome:
    """Carry the promoted secret everywhere, then tell consumers, the canary first; ``ended`` had to make way for it.

    Where the canary is not well the previous value is put back and carried everywhere instead. What is ``urgent`` then
    has its old credential retired without a grace. Raises when someone was not reached.
    """
    path, token = secret.path, rotation.token
    destinations = await restarted(secret, await asyncio.gather(*(push(path, place) for place in secret.destinations)))
    notified, refused = await tell_all(secret, rotation, bool(destinations) and all_in_step(destinations))
    if refused and rotation.stage is Stage.PROMOTED:
        return await settle(secret, await tasks.take_back(path, token, refused), RunState.REVERTED, ended)
    state, message = ending(rotation, state)
    opened, arrived = await workspace(), (tuple(destinations), tuple(notified))
    previous = state_of_previous(opened, path, rotation, in_step=all_in_step(destinations))
    outcome = Outcome(path, state, message, rotation.version, rotation.fingerprint, *arrived, previous)
    if urgent and unsettled(outcome) is None:
        outcome = told_again(opened, outcome, rotation, await tasks.retire_one(path, Waive.GRACE))
    outcome = after(outcome, ended)
    await rotation_table(outcome)
    if error := unsettled(outcome):
        raise error
    return outcome


async def tell_all(secret: Secret, rotation: Rotation, in_step: bool) -> tuple[list[Acknowledgement], str]:
    """Tell the canary, watch it, and tell the rest; or why the canary is not well.

    That all copies are ``in_step`` is kept with who acknowledged: the grace counts from here.
    """
    path, token, first, notified = secret.path, rotation.token, canary(secret, rotation), []
    if first and secret.rollout:
        notified = await tell_wave(path, token, first, in_step)
        if refused := silent(notified):
            return notified, refused
        await asyncio.sleep(secret.rollout.pause.total_seconds())
        if secret.rollout.health and (refused := await tasks.ask_health(path, list(first))):
            return notified, refused
        await tasks.let_rest_follow(path, token)
    rest = [consumer for consumer in secret.consumers if consumer not in first]
    return [*notified, *await tell_wave(path, token, rest, in_step and not first)], ""


async def tell_wave(path: str, token: str, consumers: Sequence[str], in_step: bool) -> list[Acknowledgement]:
    """Tell these side by side, and keep who acknowledged."""
    answers = await asyncio.gather(*(tell(path, token, consumer) for consumer in consumers))
    heard = [answer.consumer for answer in answers if not answer.error]
    if heard or in_step:
        await tasks.conclude(path, token, heard, in_step)
    return answers


async def push(path: str, destination: Destination) -> Pushed:
    """One destination; its failure stays its own."""
    try:
        return await tasks.push_to(path, destination.store, destination.name)
    except KeyturnError as error:
        return failed(destination, error)


async def restarted(secret: Secret, pushed: Sequence[Pushed]) -> Sequence[Pushed]:
    """What was pushed, once the workloads that use it are restarted; where that is refused, the copy has failed."""
    refused: dict[str, KeyturnError] = {}
    for store in restarting(await workspace(), secret.destinations):
        try:
            await tasks.restart(secret.path, store)
        except KeyturnError as error:
            refused[store] = error
    return unless_refused(pushed, refused)


async def tell(path: str, token: str, consumer: str) -> Acknowledgement:
    """One consumer; its silence stays its own."""
    try:
        return await tasks.tell(path, token, consumer)
    except KeyturnError as error:
        return Acknowledgement(consumer, str(error))
