"""Shared parts of the commands that replace keys: the Prefect run, and the result for each key."""

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
"""A step overdue by more than this is late; the schedules try every hour."""

TurnedKeys = list[dict[str, Any]]
"""For each key its ``name``, what was done (``did``), and the ``error`` that prevented it."""


@dataclass(frozen=True)
class KeyTurning:
    """One kind of keys: its deployment, the result's member that lists them, and the words of its messages."""

    deployment: str
    member: str
    doing: str
    keys: str
    column: str
    nothing: str

    def through_prefect(self, name: str | None, now: bool, timeout: float, workspace: str) -> TurnedKeys:
        """Rotate them by the deployment. Raises the run's error if it returned no result."""
        stack_in_use()
        from keyturn.cli.running.watch import run_deployment

        run = run_deployment(self.deployment, {"name": name, "now": now}, timeout, WorkspaceNames(workspace))
        if run.result is None:
            raise run.error(self.doing, name or self.keys)
        rows: TurnedKeys = run.result[self.member]
        return rows

    def tell(self, rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
        """Show the result for each key, and exit with 1 if one of them failed."""
        if as_json:
            write_json({self.member: rows})
        elif rows:
            write_table((self.column, "what became of it"), ((row["name"], row["error"] or row["did"]) for row in rows))
        else:
            note(self.nothing)
        if failed := [row for row in rows if row["error"]]:
            remedy = "Fix what is named, and run it again: it continues where it stopped"
            end_command(TerminalError(self.doing, failed[0]["name"], failed[0]["error"], remedy), FAILED)
