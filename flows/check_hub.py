"""See once a day whether the hub is still set up as the catalogue says."""

from datetime import timedelta

from flows.support.common import flow, well, workspace
from flows.support.report import Row, table
from keyturn.rights.hub_check import HubCheck, insist_on_declared
from tasks import hub_setup as tasks
from tasks.step import look


@flow("check-hub", timeout=timedelta(minutes=10), looks=True)
async def check_hub() -> int:
    """Look at everything that `keyturn setup hub --apply` makes, and change nothing; how much is as declared.

    What somebody has changed, and what nobody could look at, fails the run: so people are told of it.
    """
    await workspace()
    check = await look(tasks.look_at_setup)
    if check is None:
        return well("the catalogue has nothing set up in the hub", 0)
    await table("check-hub", rows(check), check.words)
    insist_on_declared(check)
    return well(check.words, check.in_place)


def rows(check: HubCheck) -> list[Row]:
    """What somebody should look at."""
    since = f"{check.since:%Y-%m-%d %H:%M} UTC" if check.since else ""
    lines = [*((line, "yes") for line in check.differing), *((line, "no") for line in check.unknown)]
    return [{"in the hub": line, "seen": answer, "since": since} for line, answer in lines]
