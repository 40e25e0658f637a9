"""What the commands that replace keys share: the run by Prefect, and what became of each key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from keyturn.cli.environment import stack_in_use
from keyturn.cli.failures import FAILED, end_command
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import TerminalError
from keyturn.core.workspaces import WorkspaceNames

TIMEOUT: Final = 600
LATE: Final = timedelta(days=1)
"""How long a step may be overdue before it is late: the schedules try them every hour."""

TurnedKeys = list[dict[str, Any]]
"""For each key its ``name``, what was done (``did``), and the ``error`` that kept it from that."""


@dataclass(frozen=True)
class KeyTurning:
    """One kind of keys: its deployment, the member of the result that lists them, and the words for people."""

    deployment: str
    member: str
    doing: str
    keys: str
    column: str
    nothing: str

    def through_prefect(self, name: str | None, now: bool, timeout: float, workspace: str) -> TurnedKeys:
        """Turn them by the deployment. Raises what kept it from coming to anything."""
        stack_in_use()
        from keyturn.cli.running.watch import run_deployment

        run = run_deployment(self.deployment, {"name": name, "now": now}, timeout, WorkspaceNames(workspace))
        if run.result is None:
            raise run.error(self.doing, name or self.keys)
        rows: TurnedKeys = run.result[self.member]
        return rows

    def tell(self, rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
        """Show what became of them, and end with 1 where one of them failed."""
        if as_json:
            write_json({self.member: rows})
        elif rows:
            write_table((self.column, "what became of it"), ((row["name"], row["error"] or row["did"]) for row in rows))
        else:
            note(self.nothing)
        if failed := [row for row in rows if row["error"]]:
            remedy = "Mend what is named, and run it again: it goes on where it was"
            end_command(TerminalError(self.doing, failed[0]["name"], failed[0]["error"], remedy), FAILED)
