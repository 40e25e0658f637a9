"""Go on with every incident that is open, remind people of it, and tell what could not be told before."""

from dataclasses import replace
from datetime import timedelta

from flows.common import runbook, well
from flows.incidents import STAYS_OPEN, see_through, still_open, tell
from keyturn.core.errors import KeyturnError
from keyturn.revocation.incident import Incident, Standing
from keyturn.revocation.news import in_short
from tasks import revocation as tasks


@runbook("finish-incidents", timeout=timedelta(minutes=30), opens=tasks.keyturn)
async def finish_incidents() -> int:
    """How many incidents stay open. Once an hour people are reminded of those; where they can't be, the run fails."""
    standings = [await gone_on_with(incident) for incident in await tasks.find_open()]
    still = [one for one in standings if one.open]
    unheard = [one for one in still if await tasks.remind(one.incident.id) and not await reminded(one)]
    for incident in await tasks.find_untold():
        await tasks.tell_people(incident)
    if unheard:
        raise still_open(unheard)
    return well("; ".join(map(in_short, standings)) or "no incident is open", len(still))


async def reminded(standing: Standing) -> bool:
    """Tell that an incident stays open; whether somebody has heard it."""
    tell(STAYS_OPEN, standing.incident, in_short(standing))
    return not await tasks.tell_people(standing.incident.id)


async def gone_on_with(incident: Incident) -> Standing:
    """One incident after one more try; what stops it is no obstacle to the next."""
    try:
        return await see_through(incident, pauses=())
    except KeyturnError as error:
        return Standing(replace(incident, left=(*incident.left, str(error))), ())
