"""Having the keeper look now, where what a command leaves would wait for its next round."""

import os
from importlib.util import find_spec
from typing import Final

from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import WorkspaceNames

KEEPER: Final = "keeper"

ANSWERS: Final = 3.0
"""Seconds within which a Prefect server answers, or is not waited for."""


def has_prefect() -> bool:
    """Whether a Prefect server is named here, and there is what speaks to it."""
    return bool(os.environ.get("PREFECT_API_URL")) and find_spec("prefect") is not None


def wake_keeper(workspace: str) -> None:
    """Ask for a run of the keeper, which starts what there is to do; it is not waited for.

    Best effort: the keeper comes round by itself within 15 minutes, so whatever keeps Prefect from it is no error.
    """
    if not has_prefect():
        return
    from keyturn.cli.running.watch import StillRuns, run_deployment

    try:
        run_deployment(KEEPER, {}, 0, WorkspaceNames(workspace), answered_within=ANSWERS)
    except StillRuns:
        note("the keeper was asked to look at once")
    except KeyturnError as error:
        note(f"the keeper looks within 15 minutes: it could not be asked to look now ({error.problem})")
