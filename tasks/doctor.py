"""Whether this worker can do its work, as a step."""

from keyturn.cli.running.doctor import diagnose
from keyturn.doctor import nightly
from keyturn.doctor.results import Diagnosis
from tasks.step import task
from tasks.workspace import current_workspace, names


@task("look whether all is ready")
def examine_worker() -> Diagnosis:
    """Every check of `keyturn doctor` for the worker's login, with that login; what it has come to is kept."""
    workspace = current_workspace()
    diagnosis = diagnose(workspace, names(), "worker")
    nightly.keep_diagnosis(workspace, diagnosis)
    return diagnosis


@task("look for a recent diagnosis")
def was_examined_lately() -> bool:
    """Whether somebody has looked within half a day."""
    return nightly.was_made_lately(current_workspace())
