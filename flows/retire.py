"""End old credentials after their grace period, on evidence that nothing needs them."""

from datetime import timedelta

from flows.support.common import begins, chosen, each, flow, raise_failures, well, workspace
from flows.support.pictures import draw
from flows.support.report import retirement_row, table
from keyturn.core.errors import KeyturnError
from keyturn.core.overrides import Waive
from keyturn.project.runs.result import leave_result
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.report import OldCredential
from tasks import rotation as tasks
from tasks.step import look
from tasks.sync import counted


@flow("retire", timeout=timedelta(hours=1), looks=True)
async def retire(path: str | None = None, waive: Waive = Waive.NOTHING, quiet: bool = False) -> list[Retirement]:
    """Retire old credentials where possible, and show what holds the rest. Waiving the grace still requires the
    evidence.

    With ``quiet``, as on schedule, those that only their grace holds are checked without a task.
    """
    opened = await workspace()
    unretired = await look(tasks.find_unretired, chosen(opened, path))
    shown = [secret for secret, waits in unretired.items() if not (quiet and waits)]
    if shown:
        begins()
    results = await each(shown, lambda secret: tasks.retire(secret, waive))
    results |= await looked_at([secret for secret in unretired if secret not in results], waive)
    text = summary(results)
    await table("retire", [retirement_row(*row) for row in results.items()], text)
    ended = {
        path: result.message for path, result in results.items() if isinstance(result, Retirement) and result.retired
    }
    await draw(dict.fromkeys(ended), ended)
    await leave_result({"secrets": [vars(OldCredential.of(*row)) for row in results.items()]})
    raise_failures("retire", results)
    return well(text, [result for result in results.values() if isinstance(result, Retirement)])


def summary(results: dict[str, Retirement | KeyturnError]) -> str:
    if not results:
        return "no old credential was due for its end"
    rows = [retirement_row(*row) for row in results.items()]
    if len(rows) == 1:
        return "{secret}: {state}; {held by}".format(**rows[0])
    return f"{len(rows)} old credentials: {counted(str(row['state']) for row in rows)}"


async def looked_at(secrets: list[str], waive: Waive) -> dict[str, Retirement | KeyturnError]:
    """Retire these without a task each; only errors and completed retirements are returned."""
    results = await each(secrets, lambda secret: look(tasks.retire, secret, waive))
    return {
        secret: result for secret, result in results.items() if not isinstance(result, Retirement) or result.retired
    }
