"""Shared by the flows that replace keys."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flows.support.common import begins, well
from flows.support.report import Row, table
from keyturn.core.errors import KeyturnError, TerminalError
from keyturn.core.own_keys import KeyTurn, turn_data
from keyturn.project.runs.result import leave_result


@dataclass(frozen=True)
class KeyTurning:
    """One kind of key; ``turn`` does the next steps of a named key, ``state`` is a word for a table."""

    deployment: str
    member: str
    doing: str
    turn: Callable[[str, bool], Awaitable[KeyTurn]]
    state: Callable[[KeyTurn], str]

    async def turn_all(self, due: list[str], now: bool) -> list[KeyTurn]:
        """Replace the due keys; a failure does not stop the others, and fails the run at its end."""
        if not due:
            await leave_result({self.member: []})
            return well("nothing was due", [])
        begins()
        results = {key: await self._turned(key, now) for key in due}
        rows = [self._row(*result) for result in results.items()]
        await table(self.deployment, rows, "One row for each key that was due.")
        await leave_result({self.member: [turn_data(*result) for result in results.items()]})
        if failed := [key for key, result in results.items() if isinstance(result, KeyturnError)]:
            remedy = "See the run's table, fix what is named, and run it again"
            raise TerminalError(self.doing, ", ".join(failed), str(results[failed[0]]), remedy)
        turns = [result for result in results.values() if isinstance(result, KeyTurn)]
        return well("; ".join(f"{turn.name}: {turn.did}" for turn in turns), turns)

    async def _turned(self, name: str, now: bool) -> KeyTurn | KeyturnError:
        try:
            return await self.turn(name, now)
        except KeyturnError as error:
            return error

    def _row(self, name: str, result: KeyTurn | KeyturnError) -> Row:
        if isinstance(result, KeyturnError):
            return {"key": name, "state": "failed", "what": str(result)}
        return {"key": name, "state": self.state(result), "what": result.did}
