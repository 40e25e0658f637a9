"""The worker's checks, as tasks."""

from keyturn.cli.running.doctor import diagnose
from keyturn.doctor import nightly
from keyturn.doctor.results import Diagnosis
from tasks.step import task
from tasks.workspace import current_workspace, names


@task("look whether all is ready")
def examine_worker() -> Diagnosis:
    """Run every check of `keyturn doctor` with the worker's login, and store the result."""
    workspace = current_workspace()
    diagnosis = diagnose(workspace, names(), "worker")
    nightly.keep_diagnosis(workspace, diagnosis)
    return diagnosis


@task("look for a recent diagnosis")
def was_examined_lately() -> bool:
    """Whether a check ran within half a day."""
    return nightly.was_made_lately(current_workspace())
