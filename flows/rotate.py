"""Replace one secret: decide, stage, install, verify, promote, push to every destination, tell consumers."""

import asyncio

from prefect import flow

from flows.common import workspace
from flows.report import rotation_table
from keyturn.catalogue.models import Destination, Secret
from keyturn.core.errors import KeyturnError, Locked
from keyturn.core.policy import Trigger
from keyturn.rotation.run import Outcome, State, unsettled
from keyturn.rotation.settle import Told
from keyturn.rotation.steps import Decision
from keyturn.rotation.sync import Pushed, failed
from tasks import rotation as tasks


@flow(name="rotate-secret", flow_run_name="rotate-{path}", persist_result=False, log_prints=False)
async def rotate_secret(path: str, trigger: Trigger = Trigger.SCHEDULE) -> Outcome:
    """Replace one secret. Safe to run again: every step first asks whether it is done."""
    secret = (await workspace()).secret(path)
    decision = await tasks.decide(path, trigger)
    token = decision.unsettled
    if decision.reason:
        try:
            token = await replace_credential(path, trigger, decision)
        except Locked as held:
            return Outcome(path, State.HELD, str(held))
    if token is None:
        return Outcome(path, State.NOT_DUE, "nothing to do", decision.seen)
    return await settle(secret, token, State.ROTATED if decision.reason else State.SETTLED)


async def replace_credential(path: str, trigger: Trigger, decision: Decision) -> str:
    """From the decision to the promotion; the rotation's token."""
    if decision.unsettled:
        await tasks.make_way(path, trigger, decision.unsettled)
    token = await tasks.stage(path, decision)
    await tasks.install(path, token)
    await tasks.verify(path, token)
    await tasks.promote(path, token)
    return token


async def settle(secret: Secret, token: str, state: State) -> Outcome:
    """Carry the promoted secret everywhere, then tell consumers. Raises when someone was not reached."""
    destinations = await asyncio.gather(*(push(secret.path, place) for place in secret.destinations))
    told = await asyncio.gather(*(tell(secret.path, token, consumer) for consumer in secret.consumers))
    rotation = await tasks.conclude(secret.path, token, [t.consumer for t in told if not t.error])
    outcome = Outcome(secret.path, state, "", rotation.version, rotation.fingerprint, tuple(destinations), tuple(told))
    await rotation_table(outcome)
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
