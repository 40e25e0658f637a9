"""Check once a day that the hub's set-up matches the catalogue."""

from datetime import timedelta

from flows.support.common import flow, well, workspace
from flows.support.report import Row, table
from keyturn.rights.hub_check import HubCheck, insist_on_declared
from tasks import hub_setup as tasks
from tasks.step import look


@flow("check-hub", timeout=timedelta(minutes=10), looks=True)
async def check_hub() -> int:
    """Compare the hub with everything that `keyturn setup hub --apply` makes, without changes; how many entries match.

    A difference, or an entry that can't be checked, fails the run so that people are notified.
    """
    await workspace()
    check = await look(tasks.look_at_setup)
    if check is None:
        return well("the catalogue has nothing set up in the hub", 0)
    await table("check-hub", rows(check), check.words)
    insist_on_declared(check)
    return well(check.words, check.in_place)


def rows(check: HubCheck) -> list[Row]:
    since = f"{check.since:%Y-%m-%d %H:%M} UTC" if check.since else ""
    lines = [*((line, "yes") for line in check.differing), *((line, "no") for line in check.unknown)]
    return [{"in the hub": line, "seen": answer, "since": since} for line, answer in lines]
