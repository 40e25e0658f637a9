"""A whole emergency of one secret, from the trigger to the proof."""

from dataclasses import replace
from datetime import UTC, datetime

from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.context import Workspace
from tests.contracts.strategy import Case
from tests.support.lab import Lab, fresh


def revoked(workspace: Workspace, path: str, mode: Mode = Mode.REPLACE) -> IncidentStatus:
    """How an incident about this secret stands once every step of it has been tried."""
    incident = run.begin(
        workspace,
        Selection((path,)),
        incident=f"INC-{fresh()}",
        reason="leaked in a log",
        mode=mode,
        selector=path,
        triggered_at=datetime.now(UTC),
        consent=Consent(1),
    )
    return run.finish(workspace, incident.id)


def assert_ended_though_unreadable(lab: Lab, case: Case, mode: Mode, how: str) -> None:
    """A revocation after ``vault kv delete`` or ``destroy`` of the version that leaked is proven, and right."""
    secret = lab.generated()
    # The case's strategy replaces the declared one, which has to find its field; nothing replaces the first value.
    secret.data["rotation"]["field"] = sorted(case.current.reveal())[0]
    secret.data["public_fields"] = ["value"]
    path, hub = secret.path, lab.hub
    hub.write(path, case.current.merged({"host": "db.example.com"}), cas=1)
    getattr(hub, how)(path, [2])
    workspace = replace(lab.open(secret).workspace, open_strategy=lambda path: case.strategy)
    stands = revoked(workspace, path, mode)
    assert (stands.left, stands.open) == ((), False), stands.left
    assert not case.works(case.current)
    hub.undelete(path, [1, 2])
    assert (hub.read(path, 1), hub.read(path, 2)) == (None, None)
    if mode is Mode.REPLACE:
        current = hub.read(path)
        assert current is not None
        assert case.works(case.current.merged(current.fields))
        assert how == "destroy" or current.fields["host"].reveal() == "db.example.com"
