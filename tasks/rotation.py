"""The protocol's steps as tasks: each finds the rotation again by its token."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from keyturn.core.errors import TransientError
from keyturn.core.ports.conductor import Step, Verb
from keyturn.core.schedule.policy import Trigger
from keyturn.rotation import decide as deciding
from keyturn.rotation import renewal_info, run
from keyturn.rotation import strategy_verbs as verbs
from keyturn.rotation.copies import restarts
from keyturn.rotation.copies.push import known_places
from keyturn.rotation.decide import Sighting
from keyturn.rotation.grace import by_this_clock, grace_over
from keyturn.rotation.outcome import Outcome, unsettled
from keyturn.rotation.renew import renew_credentials
from keyturn.rotation.retire import in_grace
from keyturn.rotation.state.context import side_by_side
from keyturn.rotation.state.quiet_period import list_secrets, listed_records
from keyturn.rotation.state.records import load_record
from keyturn.rotation.strategy_verbs import Work
from tasks import story
from tasks.step import ToldTask, look, step, tell
from tasks.workspace import current_workspace

SIDE_BY_SIDE: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


def as_task(verb: Verb[P, T]) -> ToldTask[Concatenate[str, P], T]:
    """A step of a rotation as a task: it is given the secret's path, and goes on from what the hub knows."""

    def take_step(path: str, *arguments: P.args, **options: P.kwargs) -> T:
        work = Work(current_workspace(), path)
        result = verb.body(work, *arguments, **options)
        tell(story.told_of_step(verb, work, arguments, result))
        return result

    take_step.__qualname__, take_step.__doc__ = verb.body.__qualname__, verb.body.__doc__
    return step(verb.name, called=story.called(verb))(take_step)


STEPS: Final[Mapping[Verb[..., Any], ToldTask[..., Any]]] = {
    verb: as_task(verb) for verb in vars(verbs).values() if isinstance(verb, Verb) and verb is not verbs.PAUSE
}
"""Each step of :mod:`keyturn.rotation.strategy_verbs`."""

UNSHOWN: Final = frozenset({verbs.DESCRIBE_PREVIOUS, verbs.FIND_PLACES})
"""What leaves no task run: it looks, and the outcome tells what it has seen."""

retire_one = as_task(verbs.RETIRE)


async def take(path: str, wanted: Step) -> Any:
    """Take one step of a secret's rotation as a task. A pause holds no thread."""
    if wanted.verb is verbs.PAUSE:
        return await asyncio.sleep(*wanted.arguments)
    task = STEPS[wanted.verb]
    if wanted.verb in UNSHOWN:
        return await look(task, path, *wanted.arguments, **wanted.options)
    return await task(path, *wanted.arguments, **wanted.options)


@step("restart", called=lambda parameters: f"restart who uses {', '.join(parameters['paths'])}")
def restart_together(paths: list[str]) -> None:
    """The same for several secrets, in every store. Raises the first that is refused."""
    places = [place for path in paths for place in known_places(current_workspace(), path)[0]]
    for error in restarts.restart_users(current_workspace(), restarts.restarting(current_workspace(), places)).values():
        raise error
    tell(f"who uses the copies of {', '.join(paths)} was restarted where that was owed")


@step("look for shared workloads")
def sharing(paths: list[str]) -> list[frozenset[str]]:
    """Which of these secrets are restarted for together."""
    return restarts.restarted_together(current_workspace(), paths)


@step("renew")
def renew(paths: list[str]) -> dict[str, str]:
    """Keep alive what would end by itself; what is wrong with which secret."""
    return renew_credentials(current_workspace(), paths)


@step("ask for renewals")
def ask_for_renewals(paths: list[str]) -> dict[str, str]:
    """Ask when certificates had best be renewed; what is in the way, by the secret."""
    return renewal_info.ask_for_renewals(current_workspace(), paths)


@step("rotate")
def rotate_whole(path: str, trigger: Trigger, restart_later: bool = False) -> Outcome:
    """The whole protocol in one task, for fleets. Raises when it has not reached everyone.

    With ``restart_later`` whoever calls it restarts who uses the copies.
    """
    with restarts.restarted_later() if restart_later else nullcontext():
        outcome = run.rotate(current_workspace(), path, trigger)
    tell(outcome.headline)
    if error := unsettled(outcome):
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


@step("find grace ends")
def find_grace_ends(paths: list[str]) -> list[datetime]:
    """When nothing holds these any more that only their grace holds, by this machine's clock; of the others nothing."""
    workspace = current_workspace()

    def grace_end(path: str) -> datetime | None:
        record = load_record(workspace, path)
        over = grace_over(workspace, path, record.retiring) if record.retiring else None
        return by_this_clock(workspace, over) if over and in_grace(workspace, path, record) else None

    return sorted(filter(None, looked_at(paths, grace_end).values()))


def looked_at(paths: list[str], sight: Callable[[str], T]) -> dict[str, T | None]:
    """What ``sight`` finds; None for one that can't be looked at, whose own task is to say why.

    Raises TransientError, since then none of them may answer.
    """

    def glance(path: str) -> T | None:
        try:
            return sight(path)
        except TransientError:
            raise
        except Exception:  # noqa: BLE001  what one secret suffers from stops no other
            return None

    return dict(zip(paths, side_by_side(glance, paths, SIDE_BY_SIDE), strict=True))
