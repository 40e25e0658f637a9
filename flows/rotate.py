"""Replace one secret: decide, stage, install, verify, promote, push to every destination, tell consumers."""

import asyncio

from flows.common import runbook, workspace
from flows.report import rotation_table
from keyturn.catalogue.models import Destination, Secret
from keyturn.core.errors import KeyturnError, Locked
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation
from keyturn.rotation.run import Outcome, State, unsettled
from keyturn.rotation.settle import Told
from keyturn.rotation.steps import Decision
from keyturn.rotation.sync import Pushed, failed
from tasks import rotation as tasks


@runbook("rotate-secret", "rotate-{path}")
async def rotate_secret(path: str, trigger: Trigger = Trigger.SCHEDULE) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done."""
    secret = (await workspace()).secret(path)
    decision = await tasks.decide(path, trigger)
    if decision.reason:
        try:
            rotation = await replace_credential(path, trigger, decision)
        except Locked as held:
            return Outcome(path, State.HELD, str(held))
        return await settle(secret, rotation, State.ROTATED)
    if decision.unsettled:
        rotation = await tasks.conclude(path, decision.unsettled, [])
        return await settle(secret, rotation, State.SETTLED)
    return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)


async def replace_credential(path: str, trigger: Trigger, decision: Decision) -> Rotation:
    """From the decision to the promotion, in names."""
    if decision.unsettled:
        await tasks.make_way(path, trigger, decision.unsettled)
    token = await tasks.stage(path, decision)
    await tasks.install(path, token)
    await tasks.verify(path, token)
    return await tasks.promote(path, token)


async def settle(secret: Secret, rotation: Rotation, state: State) -> Outcome:
    """Carry the promoted secret everywhere, then tell consumers. Raises when someone was not reached."""
    path, token = secret.path, rotation.token
    destinations = await asyncio.gather(*(push(path, place) for place in secret.destinations))
    told = await asyncio.gather(*(tell(path, token, consumer) for consumer in secret.consumers))
    outcome = Outcome(path, state, "", rotation.version, rotation.fingerprint, tuple(destinations), tuple(told))
    heard = [t.consumer for t in told if not t.error]
    await asyncio.gather(*([tasks.conclude(path, token, heard)] if heard else []), rotation_table(outcome))
    if error := unsettled(outcome):
        raise error
    return outcome


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
