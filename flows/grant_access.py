"""Grant approved access, end expired access, and notify people, as `keyturn serve` does continuously.

Users make and approve requests with their own logins; only the requester can unwrap a grant, once.
"""

from datetime import timedelta
from typing import Final

from flows.support.common import begins, flow, well, workspace
from flows.support.report import Row, table
from keyturn.core.errors import TerminalError
from keyturn.grants.rounds import AccessRound
from keyturn.project.runs.result import leave_result
from tasks import access as tasks
from tasks.step import look

NAME: Final = "grant-access"


@flow(NAME, timeout=timedelta(minutes=30), looks=True)
async def grant_access(request: str | None = None) -> dict[str, int]:
    """Do one round over all requests; for a named one, the run fails with the reason why nothing was granted.

    The failure of one request does not stop others; it is a row, and fails the run at its end.
    """
    await workspace()
    done = await look(tasks.give_access, request)
    if done.given or done.swept.ended:
        begins()
    await table(NAME, rows(done), "One row for each request that waits, was given or not, and each that has ended.")
    counts = {"given": len(done.given), "ended": len(done.swept.ended), "waiting": len(done.waiting)}
    await leave_result({**counts, "held": done.held, "given": [grant.request for grant in done.given]})
    if done.troubles:
        raise TerminalError("give", "access", str(done.troubles[0]), "See the run's table, and run it again")
    if request and request in done.held:
        raise TerminalError("give", request, done.held[request], f"See `keyturn access show {request}`")
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return well(text or "nothing was approved, and nothing has ended", counts)


def rows(done: AccessRound) -> list[Row]:
    """One row for each request, without its purpose, which the requester wrote."""
    listed: list[Row] = [
        {
            "request": request.id,
            "secret": request.path,
            "state": "waits",
            "what": f"asked by {request.asked_by}: keyturn access approve {request.id}",
        }
        for request in done.waiting
    ]
    listed += [
        {"request": grant.request, "secret": grant.path, "state": "given", "what": f"until {grant.ends_at}"}
        for grant in done.given
    ]
    listed += [{"request": name, "secret": "", "state": "not given", "what": why} for name, why in done.held.items()]
    return [*listed, *(ended_row(place, why) for place, why in done.swept.ended.items())]


def ended_row(place: str, why: str) -> Row:
    return {"request": place.rpartition("/")[2], "secret": "", "state": "ended", "what": why}
