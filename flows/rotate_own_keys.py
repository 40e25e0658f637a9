"""Replace what Keyturn itself works with, step by step: the keys that sign its notices."""

from datetime import timedelta

from flows.common import begins, runbook, well, workspace
from flows.report import Row, table
from flows.result import leave_result
from keyturn.core.errors import KeyturnError, TerminalError
from keyturn.core.own_keys import KeyTurn, turn_data
from tasks import own_keys as tasks
from tasks.step import look


@runbook("rotate-own-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_own_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Take the next step of each key of Keyturn's own that is due; of the one that is named, or of all, ``now``.

    What waits for a person, such as a consumer that does not accept its new key yet, fails no run: it is a row.
    """
    await workspace()
    due = await look(tasks.due_keys, name, now)
    if not due:
        await leave_result({"own_keys": []})
        return well("nothing was due", [])
    begins()
    results = {key: await turned(key, now) for key in due}
    await table("rotate-own-keys", [row(*result) for result in results.items()], "One row for each key that was due.")
    await leave_result({"own_keys": [turn_data(*result) for result in results.items()]})
    if failed := [key for key, result in results.items() if isinstance(result, KeyturnError)]:
        remedy = "See the run's table, mend what is named, and run it again"
        raise TerminalError("replace", ", ".join(failed), str(results[failed[0]]), remedy)
    turns = [result for result in results.values() if isinstance(result, KeyTurn)]
    return well("; ".join(f"{turn.name}: {turn.did}" for turn in turns), turns)


async def turned(name: str, now: bool) -> KeyTurn | KeyturnError:
    """The next step of one; what it raises stops no other."""
    try:
        return await tasks.turn_own_key(name, now)
    except KeyturnError as error:
        return error


def row(name: str, result: KeyTurn | KeyturnError) -> Row:
    """One key."""
    if isinstance(result, KeyturnError):
        return {"key": name, "state": "failed", "what": str(result)}
    state = "replaced" if result.changed else "waits for somebody" if result.blocked else "waits"
    return {"key": name, "state": state, "what": result.did}
