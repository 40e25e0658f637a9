"""Waking the keeper early, instead of waiting for its next round."""

import os
from importlib.util import find_spec
from typing import Final

from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import WorkspaceNames

ANSWERS: Final = 3.0
"""Seconds to wait for a Prefect server's answer."""


def has_prefect() -> bool:
    """Whether a Prefect server is configured and the package is installed."""
    return bool(os.environ.get("PREFECT_API_URL")) and find_spec("prefect") is not None


def wake_keeper(workspace: str) -> None:
    """Ask for a run of the keeper, without waiting for it.

    Best effort: the keeper runs every 15 minutes anyway, so a Prefect failure is only noted.
    """
    if not has_prefect():
        return
    from keyturn.cli.running.watch import StillRuns, run_deployment

    try:
        run_deployment("keeper", {}, 0, WorkspaceNames(workspace), answered_within=ANSWERS)
    except StillRuns:
        note("the keeper was asked to look at once")
    except KeyturnError as error:
        note(f"the keeper looks within 15 minutes: it could not be asked to look now ({error.problem})")
