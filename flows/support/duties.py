"""The keeper's duties: each checks something without a task, and returns the runs that are needed.

Work that a flow does during a mere check, such as testing logins, runs here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.check_logins import try_logins
from flows.doctor import show_diagnosis
from flows.rehearse import sound_alarms as sound_objectives
from flows.retire import looked_at
from flows.rotate_due import ask_for_renewals, renewed, sound_alarms
from flows.support.common import chosen
from flows.support.starting import APART, FINISHER, LEDGER_KEEPER, Wanted
from flows.sync import has_work
from keyturn.core.errors import KeyturnError
from keyturn.core.marks import mark_at_least
from keyturn.core.overrides import Waive
from keyturn.rights.hub_check import insist_on_declared
from keyturn.rotation.heartbeat import ROUND, leave_heartbeat
from keyturn.rotation.state.context import Workspace
from tasks import authorities, backups, doctor, hub_setup, ledger, managed_keys, own_keys, revocation, rotation
from tasks.step import look

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LEASES_ASKED_FOR: Final = timedelta(hours=3)
"""A run that requests leases ends within this time or is dead."""


@dataclass(frozen=True)
class Duty:
    """One duty: checked in each round, or once per ``every``, ``offset`` after its full multiple."""

    name: str
    look: Callable[[Workspace], Awaitable[list[Wanted]]]
    every: timedelta = timedelta(0)
    offset: timedelta = timedelta(0)


async def rotations(opened: Workspace) -> list[Wanted]:
    paths = chosen(opened, None)
    await ask_for_renewals(opened, paths)
    sightings = await look(rotation.find_due, paths)
    # Even if a run is requested, because an active one may hang.
    sound_alarms(sightings)
    faults = await renewed(opened, paths)
    if faults or any(sighting.work for sighting in sightings):
        return [Wanted("rotate-due")]
    return []


async def retirements(opened: Workspace) -> list[Wanted]:
    """Old credentials; a run starts when their grace ends before the next round."""
    unretired = await look(rotation.find_unretired, chosen(opened, None))
    quiet = Wanted("retire", {"quiet": True})
    if not all(unretired.values()):
        return [quiet]
    paths = sorted(unretired)
    if any(isinstance(result, KeyturnError) for result in (await looked_at(paths, Waive.NOTHING)).values()):
        return [quiet]
    ends = await look(rotation.find_grace_ends, paths)
    return [Wanted(quiet.flow, quiet.parameters, at) for at in marks_before(opened.clock() + ROUND, ends)]


def marks_before(end: datetime, moments: Sequence[datetime]) -> list[datetime]:
    """The marks at which to handle the ``moments`` that are before ``end``."""
    return sorted({mark_at_least(moment, APART) for moment in moments if moment < end})


async def incidents(opened: Workspace) -> list[Wanted]:
    return [Wanted(FINISHER)] if await look(revocation.list_awaiting) else []


async def drills(opened: Workspace) -> list[Wanted]:
    return [Wanted("drill", {"path": path}) for path in await look(revocation.list_due_drills)]


async def rehearsals(opened: Workspace) -> list[Wanted]:
    """Rehearsals that are due; a missed objective or an overdue rehearsal is reported here too."""
    if not any(secret.dead_within for secret in opened.catalogue.secrets.values()):
        return []
    await sound_objectives()
    return [Wanted("rehearse")] if await look(revocation.list_due_rehearsals) else []


async def lease_tokens(opened: Workspace) -> list[Wanted]:
    """Tokens left by runs that died; only the revoker's login may look for them."""
    since = opened.clock() - LEASES_ASKED_FOR
    return [Wanted(FINISHER)] if await look(own_keys.may_leave_tokens, since) else []


async def late_lease_tokens(opened: Workspace) -> list[Wanted]:
    """The same once a day: a suspended worker may request a lease days later."""
    asking = any(secret.rotation.leaves_tokens for secret in opened.catalogue.secrets.values())
    return [Wanted(FINISHER)] if asking else []


async def copies(opened: Workspace) -> list[Wanted]:
    return [Wanted("sync")] if await has_work() else []


async def logins(opened: Workspace) -> list[Wanted]:
    """Test an hour's share of all logins."""
    await try_logins(opened, chosen(opened, None), whose_turn=True)
    return []


async def keyturns_own_keys(opened: Workspace) -> list[Wanted]:
    return [Wanted("rotate-own-keys")] if await look(own_keys.due_keys, None, False) else []


async def keys_of_engines(opened: Workspace) -> list[Wanted]:
    return [Wanted("rotate-keys")] if await look(managed_keys.due_keys, None, False) else []


async def signing_authorities(opened: Workspace) -> list[Wanted]:
    return [Wanted("renew-authorities")] if await look(authorities.due_authorities, None, False) else []


async def hub(opened: Workspace) -> list[Wanted]:
    check = await look(hub_setup.look_at_setup)
    try:
        if check:
            insist_on_declared(check)
    except KeyturnError:
        return [Wanted("check-hub")]
    return []


async def heartbeat(opened: Workspace) -> list[Wanted]:
    await asyncio.to_thread(leave_heartbeat, opened)
    return []


async def readiness(opened: Workspace) -> list[Wanted]:
    """Check this worker; only a problem needs a run of the flow."""
    if await look(doctor.was_examined_lately):
        return []
    diagnosis = await look(doctor.examine_worker)
    if not diagnosis.ready:
        return [Wanted("doctor")]
    await show_diagnosis(diagnosis)
    return []


async def restoring(opened: Workspace) -> list[Wanted]:
    """Test each night that a backup restores the hub, if a scratch hub is declared."""
    return [Wanted("restore-drill")] if await look(backups.is_drill_declared) else []


async def records(opened: Workspace) -> list[Wanted]:
    return [Wanted(LEDGER_KEEPER)] if await look(ledger.needs_upkeep, ledger.ledger_name()) else []


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


IN_TURN: Final = (Duty("rotations", rotations), Duty("retirements", retirements))
"""Run one after the other: the first remembers which records are quiet, and the second does not read those again."""

DUTIES: Final = (
    *IN_TURN,
    Duty("heartbeat", heartbeat),
    Duty("incidents", incidents),
    Duty("lease tokens", lease_tokens, HOUR),
    Duty("late lease tokens", late_lease_tokens, DAY, minutes(3 * 60 + 13)),
    Duty("drills", drills, HOUR, minutes(35)),
    Duty("rehearsals", rehearsals, HOUR, minutes(17)),
    Duty("copies", copies, HOUR, minutes(7)),
    Duty("logins", logins, HOUR, minutes(23)),
    Duty("own keys", keyturns_own_keys, HOUR, minutes(41)),
    Duty("managed keys", keys_of_engines, HOUR, minutes(53)),
    Duty("authorities", signing_authorities, HOUR, minutes(29)),
    Duty("hub", hub, DAY, minutes(4 * 60 + 47)),
    Duty("restoring", restoring, DAY, minutes(2 * 60 + 17)),
    Duty("readiness", readiness, DAY, minutes(5 * 60 + 11)),
)
LAST: Final = Duty("ledger", records)
"""After all others, because some leave an entry."""


async def all_duties(see_to: Callable[[Duty], Awaitable[None]]) -> None:
    """Call ``see_to`` with each duty, in parallel where they share no reads."""

    async def in_turn() -> None:
        for duty in IN_TURN:
            await see_to(duty)

    await asyncio.gather(in_turn(), *(see_to(duty) for duty in DUTIES if duty not in IN_TURN))
    await see_to(LAST)
