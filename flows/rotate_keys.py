"""Rotate the keys that lie in other engines, and do what follows on that."""

from datetime import timedelta

from flows.common import begins, runbook, well, workspace
from flows.report import Row, table
from flows.result import leave_result
from keyturn.core.errors import KeyturnError, TerminalError
from keyturn.core.own_keys import KeyTurn, turn_data
from tasks import managed_keys as tasks
from tasks.step import look


@runbook("rotate-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Rotate each managed key that is due, or the one that is named, or all, ``now``; and bring it to what is declared.

    What one key raises stops no other: it is a row, and fails the run at its end.
    """
    await workspace()
    due = await look(tasks.due_keys, name, now)
    if not due:
        await leave_result({"keys": []})
        return well("nothing was due", [])
    begins()
    results = {key: await turned(key, now) for key in due}
    await table("rotate-keys", [row(*result) for result in results.items()], "One row for each key that was due.")
    await leave_result({"keys": [turn_data(*result) for result in results.items()]})
    if failed := [key for key, result in results.items() if isinstance(result, KeyturnError)]:
        remedy = "See the run's table, mend what is named, and run it again"
        raise TerminalError("rotate", ", ".join(failed), str(results[failed[0]]), remedy)
    turns = [result for result in results.values() if isinstance(result, KeyTurn)]
    return well("; ".join(f"{turn.name}: {turn.did}" for turn in turns), turns)


async def turned(name: str, now: bool) -> KeyTurn | KeyturnError:
    """The next steps of one; what it raises stops no other."""
    try:
        return await tasks.rotate_key(name, now)
    except KeyturnError as error:
        return error


def row(name: str, result: KeyTurn | KeyturnError) -> Row:
    """One key."""
    if isinstance(result, KeyturnError):
        return {"key": name, "state": "failed", "what": str(result)}
    return {"key": name, "state": "done" if result.changed else "in use", "what": result.did}
