"""Go on with every incident that is open, and remind people of it."""

from dataclasses import replace

from flows.common import runbook, well
from flows.incidents import STAYS_OPEN, in_short, see_through, still_open, tell
from keyturn.core.errors import KeyturnError
from keyturn.revocation.incident import Incident, Standing
from tasks import revocation as tasks


@runbook("finish-incidents", opens=tasks.keyturn)
async def finish_incidents() -> int:
    """How many incidents stay open. Once an hour the run fails for those, so that people are told."""
    standings = [await gone_on_with(incident) for incident in await tasks.find_open()]
    still = [one for one in standings if one.open]
    due = [one for one in still if await tasks.remind(one.incident.id)]
    for one in due:
        tell(STAYS_OPEN, one.incident, in_short(one))
    if due:
        raise still_open(due)
    return well("; ".join(map(in_short, standings)) or "no incident is open", len(still))


async def gone_on_with(incident: Incident) -> Standing:
    """One incident after one more try; what stops it is no obstacle to the next."""
    try:
        return await see_through(incident, pauses=())
    except KeyturnError as error:
        return Standing(replace(incident, left=(*incident.left, str(error))), ())
