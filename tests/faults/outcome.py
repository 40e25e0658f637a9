"""What is true once a fault is over and a plain run has healed what it left."""

from keyturn.core.rotation_record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.support.application import Application
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab, load_whole


def candidate(workspace: Workspace, path: str) -> SecretFields:
    """What waits in the record: nothing is lost."""
    found = load_whole(workspace, path).candidate
    assert found is not None
    return found


def assert_untouched(lab: Lab, workspace: Workspace, secret: Declared) -> None:
    """Neither the hub, nor the record, nor the accounts have moved."""
    assert load_record(workspace, secret.path) == Record()
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)
    if secret.users[1]:
        assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", secret.users[1]) == []


def assert_healed(lab: Lab, workspace: Workspace, secret: Declared, wanted: SecretFields | None = None) -> None:
    """A plain run ends the rotation, with the candidate that was ``wanted``, and retiring ends the old credential."""
    outcome = rotate(workspace, secret.path)
    assert outcome.state in (RunState.ROTATED, RunState.SETTLED)
    assert unsettled(outcome) is None
    assert outcome.version == 2
    assert wanted is None or SecretFields(lab.current(secret)).holds(wanted)
    # A session of the application may be open for a moment.
    assert eventually(lambda: not retire(workspace, secret.path).held_by)
    record = load_record(workspace, secret.path)
    assert (record.rotation, record.candidate) == (None, None)
    assert [past.stage for past in record.history] == [Stage.RETIRED]
    assert lab.logs_in(lab.current(secret))
    assert not lab.logs_in(secret.first)


def assert_never_refused(client: Application) -> None:
    """The application went on all the while."""
    assert (client.failures, client.error) == ([], None)
    assert client.logins > 0
