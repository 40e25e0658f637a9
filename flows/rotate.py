"""Replace one secret: decide, stage, install, verify, promote, push to every destination, tell consumers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from flows.common import runbook, workspace
from flows.report import rotation_table
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import Secret
from keyturn.core.errors import CandidateRejected, KeyturnError, Locked
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation, Stage
from keyturn.rotation.decide import UNFINISHED, Decision
from keyturn.rotation.grace import all_in_step
from keyturn.rotation.rollout import Told, canary, silent
from keyturn.rotation.run import Outcome, State, ending, unsettled
from keyturn.rotation.settle import Waive
from keyturn.rotation.sync import Pushed, failed
from tasks import rotation as tasks


@runbook("rotate-secret", "rotate-{path}", timeout=timedelta(hours=4))
async def rotate_secret(path: str, trigger: Trigger = Trigger.SCHEDULE) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done."""
    secret = (await workspace()).secret(path)
    decision = await tasks.decide(path, trigger)
    try:
        if decision.reverting and (rotation := await tasks.finish_reverting(path)):
            return await settle(secret, rotation, State.REVERTED)
        if decision.reason:
            rotation = await replace_credential(path, trigger, decision)
            outcome = await settle(secret, rotation, State.ROTATED)
            if decision.urgent:
                await tasks.retire_one(path, Waive.GRACE)
            return outcome
    except Locked as held:
        return Outcome(path, State.HELD, str(held))
    if decision.unsettled:
        rotation = await tasks.conclude(path, decision.unsettled, [])
        return await settle(secret, rotation, State.SETTLED)
    return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)


async def replace_credential(path: str, trigger: Trigger, decision: Decision) -> Rotation:
    """From the decision to the promotion, in names; a candidate that the target refuses makes way for another."""
    if decision.reason != UNFINISHED and (await workspace()).secret(path).destinations:
        await tasks.guard(path, decision)
    if decision.unsettled:
        await tasks.make_way(path, trigger, decision.unsettled)
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


async def settle(secret: Secret, rotation: Rotation, state: State) -> Outcome:
    """Carry the promoted secret everywhere, then tell consumers, the canary first.

    Where the canary is not well the previous value is put back and carried everywhere instead. Raises when
    someone was not reached.
    """
    path, token = secret.path, rotation.token
    destinations = await asyncio.gather(*(push(path, place) for place in secret.destinations))
    told, refused = await tell_all(secret, rotation, bool(destinations) and all_in_step(destinations))
    if refused and rotation.stage is Stage.PROMOTED:
        return await settle(secret, await tasks.take_back(path, token, refused), State.REVERTED)
    state, message = ending(rotation, state)
    outcome = Outcome(path, state, message, rotation.version, rotation.fingerprint, tuple(destinations), tuple(told))
    await rotation_table(outcome)
    if error := unsettled(outcome):
        raise error
    return outcome


async def tell_all(secret: Secret, rotation: Rotation, in_step: bool) -> tuple[list[Told], str]:
    """Tell the canary, watch it, and tell the rest; or why the canary is not well.

    That all copies are ``in_step`` is kept with who acknowledged: the grace counts from here.
    """
    path, token, first, told = secret.path, rotation.token, canary(secret, rotation), []
    if first and secret.rollout:
        told = await tell_wave(path, token, first, in_step)
        if refused := silent(told):
            return told, refused
        await asyncio.sleep(secret.rollout.pause.total_seconds())
        if secret.rollout.health and (refused := await tasks.ask_health(path, list(first))):
            return told, refused
        await tasks.let_rest_follow(path, token)
    rest = [consumer for consumer in secret.consumers if consumer not in first]
    return [*told, *await tell_wave(path, token, rest, in_step and not first)], ""


async def tell_wave(path: str, token: str, consumers: Sequence[str], in_step: bool) -> list[Told]:
    """Tell these side by side, and keep who acknowledged."""
    told = await asyncio.gather(*(tell(path, token, consumer) for consumer in consumers))
    heard = [one.consumer for one in told if not one.error]
    if heard or in_step:
        await tasks.conclude(path, token, heard, in_step)
    return told


async def push(path: str, destination: Destination) -> Pushed:
    """One destination; its failure stays its own."""
    try:
        return await tasks.push_to(path, destination.store, destination.name)
    except KeyturnError as error:
        return failed(destination, error)


async def tell(path: str, token: str, consumer: str) -> Told:
    """One consumer; its silence stays its own."""
    try:
        return await tasks.tell(path, token, consumer)
    except KeyturnError as error:
        return Told(consumer, str(error))
