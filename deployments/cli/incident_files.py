"""The report of an incident as files that only their owner reads."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.local.files import private_directory

if TYPE_CHECKING:
    from keyturn.revocation.incident import Standing
    from keyturn.rotation.context import Keyturn


def written(keyturn: "Keyturn", standing: "Standing", directory: Path | None) -> list[Path]:
    """The report as it is now, in every form; the files of an earlier one are replaced. Raises Unavailable, OSError."""
    from keyturn.revocation.report import write_report
    from tasks.reports import ledger_facts, readers_of

    place = directory or reports_directory(os.environ)
    if directory is None:
        private_directory(place)
    return write_report(standing, readers_of(keyturn, standing), place, ledger_facts(standing))


def reports_directory(env: Mapping[str, str]) -> Path:
    """``keyturn/incidents`` in the user's state directory (XDG's XDG_STATE_HOME)."""
    state = Path(env.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return state / "keyturn" / "incidents"
