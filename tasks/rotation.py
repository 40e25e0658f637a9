"""The protocol's steps as tasks: each finds the rotation again by its token."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from keyturn.core.errors import Superseded, TransientError
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation
from keyturn.rotation import run, steps
from keyturn.rotation.records import load
from keyturn.rotation.run import Outcome
from keyturn.rotation.settle import Retirement, Told, Waive, acknowledge, notify, retire
from keyturn.rotation.steps import Decision
from keyturn.rotation.sync import Pushed, converge, sync
from tasks.step import step
from tasks.workspace import keyturn

SIDE_BY_SIDE: Final = 8


@step("decide")
def decide(path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now, and why."""
    return steps.decide(keyturn(), path, trigger)


@step("stage")
def stage(path: str, decision: Decision) -> str:
    """Save a candidate as PENDING; the rotation's token."""
    return steps.stage(keyturn(), path, decision).rotation.token


@step("install")
def install(path: str, token: str) -> None:
    """Make the target accept the candidate."""
    steps.install(keyturn(), steps.resume(keyturn(), path, token))


@step("verify")
def verify(path: str, token: str) -> None:
    """Log in with the candidate; one that the target refuses is given up."""
    run.check(keyturn(), steps.resume(keyturn(), path, token))


@step("promote")
def promote(path: str, token: str) -> Rotation:
    """Make the candidate CURRENT; the rotation as it stands then, in names."""
    return steps.promote(keyturn(), steps.resume(keyturn(), path, token)).rotation


@step("push")
def push_to(path: str, store: str, name: str) -> Pushed:
    """Bring one destination to CURRENT. Raises when it can't, so that it is retried and shown as failed."""
    destination = next(d for d in keyturn().secret(path).destinations if (d.store, d.name) == (store, name))
    return converge(keyturn(), path, destination)


@step("sync")
def sync_batch(paths: list[str]) -> dict[str, list[Pushed]]:
    """Bring every destination of several secrets to CURRENT."""
    return {path: sync(keyturn(), path) for path in paths}


@step("notify")
def tell(path: str, token: str, consumer: str) -> Told:
    """Tell one consumer, until it acknowledges or is out of tries."""
    rotation = load(keyturn(), path).retiring
    if rotation is None or rotation.token != token:
        return Told(consumer)
    return notify(keyturn(), path, rotation, consumer)


@step("conclude")
def conclude(path: str, token: str, consumers: list[str]) -> Rotation:
    """Keep in the record who acknowledged; the rotation as it stands, in names. Raises Superseded."""
    acknowledge(keyturn(), path, token, consumers)
    rotation = load(keyturn(), path).retiring
    if rotation is None or rotation.token != token:
        raise Superseded("conclude", path, f"rotation {token} is over", "A newer run is in charge: see its own report")
    return rotation


@step("make way")
def make_way(path: str, trigger: Trigger, token: str) -> None:
    """Retire what rotation ``token`` left."""
    run.make_way(keyturn(), path, trigger, token)


@step("retire")
def retire_one(path: str, waive: Waive) -> Retirement:
    """End the old credential if nothing holds it back."""
    return retire(keyturn(), path, waive)


@step("rotate")
def rotate_whole(path: str, trigger: Trigger) -> Outcome:
    """The whole protocol in one task, for fleets. Raises when it has not reached everyone."""
    outcome = run.rotate(keyturn(), path, trigger)
    if error := run.unsettled(outcome):
        raise error
    return outcome


@step("find due")
def find_due(paths: list[str]) -> list[str]:
    """Which of these secrets are due, or were left half done, told from metadata alone."""
    return found(paths, lambda path: steps.decide(keyturn(), path, Trigger.SCHEDULE).reason)


@step("find unretired")
def find_unretired(paths: list[str]) -> list[str]:
    """Which of these secrets have an old credential that still lives."""
    return found(paths, lambda path: load(keyturn(), path).retiring)


def found(paths: list[str], look: Callable[[str], object]) -> list[str]:
    """The paths where ``look`` finds something. One that can't be looked at is among them: its own task says why.

    Raises TransientError, since then none of them may answer.
    """

    def wanted(path: str) -> bool:
        try:
            return bool(look(path))
        except TransientError:
            raise
        except Exception:  # noqa: BLE001  what one secret suffers from stops no other
            return True

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return [path for path, is_wanted in zip(paths, pool.map(wanted, paths), strict=True) if is_wanted]
