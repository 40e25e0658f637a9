"""The steps of a rotation as tasks, which other flows may chain.

Each finds the rotation by its token, and skips completed work.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar

from keyturn.core.errors import TransientError
from keyturn.core.overrides import Waive
from keyturn.core.ports.conductor import Conductor, Step, Verb
from keyturn.core.rotation_record import Rotation
from keyturn.core.schedule.due import Trigger
from keyturn.rotation import decide as deciding
from keyturn.rotation import renewal_info, run
from keyturn.rotation import strategy_verbs as verbs
from keyturn.rotation.copies import restarts
from keyturn.rotation.copies.push import Pushed, known_places
from keyturn.rotation.decide import Decision, Sighting
from keyturn.rotation.grace import by_this_clock, grace_over
from keyturn.rotation.outcome import Outcome, unsettled
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.renew import renew_credentials
from keyturn.rotation.retire import in_grace
from keyturn.rotation.rollout import Acknowledgement
from keyturn.rotation.state.context import side_by_side
from keyturn.rotation.state.quiet_period import list_secrets, listed_records
from keyturn.rotation.state.record_store import load_record
from keyturn.rotation.strategy_verbs import Work
from tasks import step_names
from tasks.runner import conduct, insist_on_all
from tasks.step import ToldTask, look, task, tell
from tasks.workspace import current_workspace

SIDE_BY_SIDE: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


def carry_out(verb: Verb[P, T], path: str, *arguments: P.args, **options: P.kwargs) -> T:
    work = Work(current_workspace(), path)
    result = verb.body(work, *arguments, **options)
    tell(step_names.told_of_step(verb, work, arguments, result))
    return result


# --- is it due, and may it begin


@task("decide")
def decide(path: str, trigger: Trigger) -> Decision:
    """Whether the secret is rotated now, and why."""
    return carry_out(verbs.DECIDE, path, trigger)


@task("decide")
def decide_again(path: str, trigger: Trigger, decision: Decision) -> Decision | None:
    """Whether to make another candidate after the target refused one."""
    return carry_out(verbs.DECIDE_AGAIN, path, trigger, decision)


@task("guard")
def guard(path: str, decision: Decision) -> None:
    """Refuse to start if a destination could not take a copy. Changes nothing."""
    carry_out(verbs.GUARD, path, decision)


@task("lay ground", called=step_names.called(verbs.LAY_GROUND))
def lay_ground(path: str, version: int, end_previous: bool) -> None:
    """Select the version whose fields the next candidate extends, if CURRENT is missing."""
    carry_out(verbs.LAY_GROUND, path, version, end_previous)


@task("make way")
def make_way(path: str, trigger: Trigger, token: str, end_previous: bool) -> Retirement:
    """Retire the credential from before the last rotation."""
    return carry_out(verbs.MAKE_WAY, path, trigger, token, end_previous)


# --- a new credential


@task("stage")
def stage(path: str, decision: Decision) -> str:
    """Generate a candidate, and save it as PENDING in the hub. Returns the rotation's token."""
    return carry_out(verbs.STAGE, path, decision)


@task("install", called=step_names.called(verbs.INSTALL))
def install(path: str, token: str) -> None:
    """Make the target accept the candidate."""
    carry_out(verbs.INSTALL, path, token)


@task("verify", called=step_names.called(verbs.VERIFY))
def verify(path: str, token: str) -> None:
    """Log in at the target with the candidate, over a new connection."""
    carry_out(verbs.VERIFY, path, token)


@task("promote")
def promote(path: str, token: str) -> Rotation:
    """Write the candidate to the secret's path in the hub as CURRENT: the only point of no return."""
    return carry_out(verbs.PROMOTE, path, token)


# --- every copy, every application


@task("find places")
def find_places(path: str) -> tuple[list[tuple[str, str]], list[Pushed]]:
    """The store and name of each destination, and those that can't be determined."""
    return carry_out(verbs.FIND_PLACES, path)


@task("push", called=step_names.called(verbs.PUSH))
def push(path: str, store: str, name: str) -> Pushed:
    """Bring one destination in sync with CURRENT."""
    return carry_out(verbs.PUSH, path, store, name)


@task("restart", called=step_names.called(verbs.RESTART))
def restart(path: str, store: str) -> None:
    """Restart the workloads that use the copies in this store."""
    carry_out(verbs.RESTART, path, store)


@task("notify", called=step_names.called(verbs.NOTIFY))
def notify(path: str, token: str, consumer: str) -> Acknowledgement:
    """Notify one consumer until it acknowledges or has no tries left."""
    return carry_out(verbs.NOTIFY, path, token, consumer)


@task("health", called=step_names.called(verbs.HEALTH))
def health(path: str, consumers: Collection[str]) -> str:
    """The problem of the canary consumers; empty if they are healthy."""
    return carry_out(verbs.HEALTH, path, consumers)


@task("pass canary")
def pass_canary(path: str, token: str) -> None:
    """Record that the canary is healthy."""
    carry_out(verbs.PASS_CANARY, path, token)


@task("conclude")
def conclude(path: str, token: str, consumers: Collection[str], in_step: bool) -> None:
    """Record the acknowledgements, and whether every copy is in sync."""
    carry_out(verbs.CONCLUDE, path, token, consumers, in_step)


# --- the old credential


@task("retire")
def retire(path: str, waive: Waive = Waive.NOTHING) -> Retirement:
    """End the old credential at the target, unless something still needs it."""
    return carry_out(verbs.RETIRE, path, waive)


@task("look")
def describe_previous(
    path: str, rotation: Rotation, retirement: Retirement | None = None, *, in_step: bool = False
) -> str:
    """What happened to the credential before this rotation, for people."""
    return carry_out(verbs.DESCRIBE_PREVIOUS, path, rotation, retirement, in_step=in_step)


@task("conclude")
def find_promoted(path: str, token: str) -> Rotation | None:
    """The rotation of this token, if it may not have reached everyone."""
    return carry_out(verbs.FIND_PROMOTED, path, token)


@task("look")
def find_revertible(path: str) -> str:
    """The token of the last rotation, if it can be reverted."""
    return carry_out(verbs.FIND_REVERTIBLE, path)


@task("verify")
def try_restored(path: str) -> None:
    """Log in with the restored value."""
    carry_out(verbs.TRY_RESTORED, path)


@task("revert")
def take_back(path: str, token: str, why: str, by_hand: bool = False) -> Rotation:
    """Put the previous value back in force."""
    return carry_out(verbs.TAKE_BACK, path, token, why, by_hand)


@task("revert")
def finish_taking_back(path: str) -> Rotation | None:
    """Complete a revert that another run started."""
    return carry_out(verbs.FINISH_TAKING_BACK, path)


STEPS: Final[Mapping[Verb[..., Any], ToldTask[..., Any]]] = {
    verbs.DECIDE: decide,
    verbs.DECIDE_AGAIN: decide_again,
    verbs.GUARD: guard,
    verbs.LAY_GROUND: lay_ground,
    verbs.MAKE_WAY: make_way,
    verbs.STAGE: stage,
    verbs.INSTALL: install,
    verbs.VERIFY: verify,
    verbs.PROMOTE: promote,
    verbs.FIND_PLACES: find_places,
    verbs.PUSH: push,
    verbs.RESTART: restart,
    verbs.NOTIFY: notify,
    verbs.HEALTH: health,
    verbs.PASS_CANARY: pass_canary,
    verbs.CONCLUDE: conclude,
    verbs.RETIRE: retire,
    verbs.DESCRIBE_PREVIOUS: describe_previous,
    verbs.FIND_PROMOTED: find_promoted,
    verbs.FIND_REVERTIBLE: find_revertible,
    verbs.TRY_RESTORED: try_restored,
    verbs.TAKE_BACK: take_back,
    verbs.FINISH_TAKING_BACK: finish_taking_back,
}

BY_HAND: Final = frozenset({verbs.FIND_REVERTIBLE, verbs.TRY_RESTORED})

UNSHOWN: Final = frozenset({verbs.DESCRIBE_PREVIOUS, verbs.FIND_PLACES})
"""Steps without a task run, because the outcome states what they found."""


async def run_steps(rotation: Conductor[T], path: str, *chain: ToldTask[..., Any]) -> T:
    """Run a rotation with these tasks.

    Raises the protocol's final error, and Missing for a step that ``chain`` lacks.
    """
    insist_on_all((step for verb, step in STEPS.items() if verb not in BY_HAND), chain)

    async def take(wanted: Step) -> Any:
        if wanted.verb is verbs.PAUSE:
            return await asyncio.sleep(*wanted.arguments)  # holds no thread
        if wanted.verb in UNSHOWN:
            return await look(STEPS[wanted.verb], path, *wanted.arguments, **wanted.options)
        return await STEPS[wanted.verb](path, *wanted.arguments, **wanted.options)

    return await conduct(rotation, take)


@task("restart", called=lambda parameters: f"restart who uses {', '.join(parameters['paths'])}")
def restart_together(paths: list[str]) -> None:
    """Restart the workloads of several secrets in every store. Raises the first failure."""
    places = [place for path in paths for place in known_places(current_workspace(), path)[0]]
    for error in restarts.restart_users(current_workspace(), restarts.restarting(current_workspace(), places)).values():
        raise error
    tell(f"who uses the copies of {', '.join(paths)} was restarted where that was owed")


@task("look for shared workloads")
def sharing(paths: list[str]) -> list[frozenset[str]]:
    """The groups of secrets with common restarts."""
    return restarts.restarted_together(current_workspace(), paths)


@task("renew")
def renew(paths: list[str]) -> dict[str, str]:
    """Renew expiring credentials; the problems by secret."""
    return renew_credentials(current_workspace(), paths)


@task("ask for renewals")
def ask_for_renewals(paths: list[str]) -> dict[str, str]:
    """Ask when to renew certificates; the problems by secret."""
    return renewal_info.ask_for_renewals(current_workspace(), paths)


@task("rotate")
def rotate_whole(path: str, trigger: Trigger, restart_later: bool = False) -> Outcome:
    """Do the whole protocol in one task, for fleets. Raises an error if it did not reach everyone.

    With ``restart_later`` the caller restarts the workloads.
    """
    with restarts.restarted_later() if restart_later else nullcontext():
        outcome = run.rotate(current_workspace(), path, trigger)
    tell(outcome.headline)
    if error := unsettled(outcome):
        raise error
    return outcome


@task("find due")
def find_due(paths: list[str]) -> list[Sighting]:
    """The secrets that are due, incomplete or late, from metadata only."""
    with list_secrets(current_workspace(), len(paths)) as listing:
        sightings = looked_at(paths, lambda path: deciding.sight(current_workspace(), path, listing))
    return [
        sighting or Sighting(path, work=True)
        for path, sighting in sightings.items()
        if sighting is None or sighting.work or sighting.alarm
    ]


@task("find unretired")
def find_unretired(paths: list[str]) -> dict[str, bool]:
    """The secrets whose old credential still works, and whether only its grace holds it."""
    with listed_records(current_workspace(), len(paths)) as record:
        records = looked_at(paths, record)
    unretired = [path for path, record in records.items() if record is None or record.retiring]
    return {path: in_grace(current_workspace(), path, records[path]) for path in unretired}


@task("find grace ends")
def find_grace_ends(paths: list[str]) -> list[datetime]:
    """The end of each grace that alone holds a credential, by this machine's clock."""
    workspace = current_workspace()

    def grace_end(path: str) -> datetime | None:
        record = load_record(workspace, path)
        over = grace_over(workspace, path, record.retiring) if record.retiring else None
        return by_this_clock(workspace, over) if over and in_grace(workspace, path, record) else None

    return sorted(filter(None, looked_at(paths, grace_end).values()))


def looked_at(paths: list[str], sight: Callable[[str], T]) -> dict[str, T | None]:
    """The results of ``sight``; None after an error, which the secret's own task reports.

    Raises TransientError, because then all may fail.
    """

    def glance(path: str) -> T | None:
        try:
            return sight(path)
        except TransientError:
            raise
        except Exception:  # noqa: BLE001  what one secret suffers from stops no other
            return None

    return dict(zip(paths, side_by_side(glance, paths, SIDE_BY_SIDE), strict=True))
