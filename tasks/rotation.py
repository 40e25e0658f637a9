"""The protocol's steps as tasks: each finds the rotation again by its token."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Final, TypeVar

from keyturn.core.errors import Superseded, TransientError
from keyturn.core.policy import Trigger
from keyturn.core.record import Rotation
from keyturn.rotation import decide as deciding
from keyturn.rotation import restarts, rollout, run, steps
from keyturn.rotation.context import side_by_side
from keyturn.rotation.decide import Decision, Sighting
from keyturn.rotation.guard import guard_destinations
from keyturn.rotation.missing import lay_ground
from keyturn.rotation.previous import Retirement
from keyturn.rotation.quiet import list_secrets, listed_records
from keyturn.rotation.records import load_record
from keyturn.rotation.renew import renew_credentials
from keyturn.rotation.retire import Waive, in_grace, retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.rollout import Acknowledgement, acknowledge, notify_consumer, pass_canary
from keyturn.rotation.run import Outcome
from keyturn.rotation.sync import Pushed, carry
from tasks.step import step
from tasks.workspace import current_workspace

SIDE_BY_SIDE: Final = 8

T = TypeVar("T")


@step("decide")
def decide(path: str, trigger: Trigger) -> Decision:
    """Whether to rotate now, and why."""
    return deciding.decide(current_workspace(), path, trigger)


@step("decide")
def decide_again(path: str, trigger: Trigger, decision: Decision) -> Decision | None:
    """After a candidate was refused: whether to make another."""
    return deciding.decide_again(current_workspace(), path, trigger, decision)


@step("lay ground")
def ground(path: str, version: int, end_previous: bool) -> None:
    """Let the next candidate be laid over the fields of this version, since CURRENT is missing."""
    lay_ground(current_workspace(), path, version, end_previous=end_previous)


@step("guard")
def guard(path: str, decision: Decision) -> None:
    """Refuse to begin where a destination could not take a copy; nothing is changed."""
    guard_destinations(current_workspace(), path, urgent=decision.urgent, by_hand=decision.by_hand)


@step("stage")
def stage(path: str, decision: Decision) -> str:
    """Save a candidate as PENDING; the rotation's token."""
    return steps.stage(current_workspace(), path, decision).rotation.token


@step("install")
def install(path: str, token: str) -> None:
    """Make the target accept the candidate; one that it refuses is given up."""
    steps.install(current_workspace(), steps.resume(current_workspace(), path, token))


@step("verify")
def verify(path: str, token: str) -> None:
    """Log in with the candidate; one that the target refuses is given up."""
    steps.verify(current_workspace(), steps.resume(current_workspace(), path, token))


@step("promote")
def promote(path: str, token: str) -> Rotation:
    """Make the candidate CURRENT; the rotation as it stands then, in names."""
    return steps.promote(current_workspace(), steps.resume(current_workspace(), path, token)).rotation


@step("push")
def push_to(path: str, store: str, name: str) -> Pushed:
    """Bring one destination to CURRENT. Raises when it can't, so that it is retried and shown as failed."""
    destination = next(d for d in current_workspace().secret(path).destinations if (d.store, d.name) == (store, name))
    return carry(current_workspace(), path, destination)


@step("restart")
def restart(path: str, store: str) -> None:
    """Restart who uses the secret's copies in this store, where that is owed. Returns before their pods have begun."""
    names = [
        destination.name for destination in current_workspace().secret(path).destinations if destination.store == store
    ]
    restarts.restart(current_workspace(), store, names, path)


@step("restart")
def restart_together(paths: list[str]) -> None:
    """The same for several secrets, in every store. Raises the first that is refused."""
    places = [place for path in paths for place in current_workspace().secret(path).destinations]
    for error in restarts.restart_users(current_workspace(), restarts.restarting(current_workspace(), places)).values():
        raise error


@step("look for shared workloads")
def sharing(paths: list[str]) -> list[frozenset[str]]:
    """Which of these secrets are restarted for together."""
    return restarts.restarted_together(current_workspace(), paths)


@step("notify")
def tell(path: str, token: str, consumer: str) -> Acknowledgement:
    """Tell one consumer, until it acknowledges or is out of tries."""
    rotation = load_record(current_workspace(), path).retiring
    if rotation is None or rotation.token != token:
        return Acknowledgement(consumer)
    return notify_consumer(current_workspace(), path, rotation, consumer)


@step("health")
def ask_health(path: str, consumers: list[str]) -> str:
    """What is wrong with these consumers; empty when they are well."""
    return rollout.unwell(current_workspace(), consumers)


@step("pass canary")
def let_rest_follow(path: str, token: str) -> None:
    """Keep in the record that the canary is well."""
    pass_canary(current_workspace(), path, token)


@step("revert")
def take_back(path: str, token: str, why: str) -> Rotation:
    """Put the previous value in force again; the rotation as it stands then, in names."""
    return rollback(current_workspace(), path, token, why)


@step("revert")
def finish_reverting(path: str) -> Rotation | None:
    """Finish what a run died in while it put the previous value back."""
    return run.reverting(current_workspace(), path)


@step("renew")
def renew(paths: list[str]) -> dict[str, str]:
    """Keep alive what would end by itself; what is wrong with which secret."""
    return renew_credentials(current_workspace(), paths)


@step("conclude")
def conclude(path: str, token: str, consumers: list[str], in_step: bool = False) -> Rotation:
    """Keep in the record who acknowledged, and that all copies are ``in_step``.

    The rotation as it stands, in names. Raises Superseded.
    """
    acknowledge(current_workspace(), path, token, consumers, in_step)
    rotation = load_record(current_workspace(), path).retiring
    if rotation is None or rotation.token != token:
        raise Superseded("conclude", path, f"rotation {token} is over", "A newer run is in charge: see its own report")
    return rotation


@step("make way")
def make_way(path: str, trigger: Trigger, token: str, end_previous: bool) -> Retirement:
    """Retire what rotation ``token`` left; with ``end_previous`` whoever uses it."""
    return run.make_way(current_workspace(), path, trigger, token, end_previous=end_previous)


@step("retire")
def retire_one(path: str, waive: Waive) -> Retirement:
    """End the old credential if nothing holds it back."""
    return retire(current_workspace(), path, waive)


@step("rotate")
def rotate_whole(path: str, trigger: Trigger, restart_later: bool = False) -> Outcome:
    """The whole protocol in one task, for fleets. Raises when it has not reached everyone.

    With ``restart_later`` whoever calls it restarts who uses the copies.
    """
    with restarts.restarted_later() if restart_later else nullcontext():
        outcome = run.rotate(current_workspace(), path, trigger)
    if error := run.unsettled(outcome):
        raise error
    return outcome


@step("find due")
def find_due(paths: list[str]) -> list[Sighting]:
    """Which of these secrets are due, left half done, or late, told from metadata alone."""
    with list_secrets(current_workspace(), len(paths)) as listing:
        sightings = looked_at(paths, lambda path: deciding.sight(current_workspace(), path, listing))
    return [
        sighting or Sighting(path, work=True)
        for path, sighting in sightings.items()
        if sighting is None or sighting.work or sighting.alarm
    ]


@step("find unretired")
def find_unretired(paths: list[str]) -> dict[str, bool]:
    """Which of these secrets have an old credential that still lives, and whether nothing but its grace holds it."""
    with listed_records(current_workspace(), len(paths)) as record:
        records = looked_at(paths, record)
    unretired = [path for path, record in records.items() if record is None or record.retiring]
    return {path: in_grace(current_workspace(), path, records[path]) for path in unretired}


def looked_at(paths: list[str], look: Callable[[str], T]) -> dict[str, T | None]:
    """What ``look`` finds; None for one that can't be looked at, whose own task is to say why.

    Raises TransientError, since then none of them may answer.
    """

    def glance(path: str) -> T | None:
        try:
            return look(path)
        except TransientError:
            raise
        except Exception:  # noqa: BLE001  what one secret suffers from stops no other
            return None

    return dict(zip(paths, side_by_side(glance, paths, SIDE_BY_SIDE), strict=True))
