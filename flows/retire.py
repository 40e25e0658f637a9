"""End old credentials whose grace is over, on evidence that nobody needs them."""

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
    """Retire what can be; what holds the rest is shown. Waiving the grace still asks for the evidence.

    With ``quiet``, as on schedule, those that nothing but their grace holds are looked at, and not shown.
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
    """What the run has come to: in full of one, in numbers of several."""
    if not results:
        return "no old credential was due for its end"
    rows = [retirement_row(*row) for row in results.items()]
    if len(rows) == 1:
        return "{secret}: {state}; {held by}".format(**rows[0])
    return f"{len(rows)} old credentials: {counted(str(row['state']) for row in rows)}"


async def looked_at(secrets: list[str], waive: Waive) -> dict[str, Retirement | KeyturnError]:
    """Look at these without a task each; those that are kept still, by their grace or what else, are no news."""
    results = await each(secrets, lambda secret: look(tasks.retire, secret, waive))
    return {
        secret: result for secret, result in results.items() if not isinstance(result, Retirement) or result.retired
    }
