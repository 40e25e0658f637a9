"""What keeps an incident from being called proven: fields that a rotation keeps, and what another checkout knows."""

from dataclasses import replace
from secrets import token_urlsafe

from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.selector import Selection
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from tests.crash.site import Site
from tests.faults.doings import doing, situation
from tests.faults.operators import Case
from tests.support.lab import fresh


def answers(status: IncidentStatus, subject: CheckSubject) -> set[CheckAnswer]:
    return {check.answer for _, check in status.checks if check.subject is subject}


def revoked(workspace: Workspace, path: str) -> IncidentStatus:
    """One secret, revoked from a catalogue at hand."""
    patient = replace(workspace, sleep=lambda seconds: None)
    begun = run.begin(
        patient,
        Selection((path,)),
        incident=f"INC-{fresh()}",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=patient.clock(),
        consent=Consent(1),
    )
    return run.finish(patient, begun.id)


@doing("write a second secret into another field, then revoke")
def second_secret_revoked(case: Case) -> None:
    leaked = token_urlsafe(24)
    case.put(case.secret_with(SecretFields({"admin_token": leaked})))
    case.sync()
    status = case.revoke()
    assert status.open
    assert CheckAnswer.REMAINING in answers(status, CheckSubject.KEPT_FIELDS)
    current = case.current()
    assert current is not None
    case.put(current.merged(SecretFields({"admin_token": token_urlsafe(24)})))
    status = run.finish(replace(case.workspace, sleep=lambda seconds: None), status.incident.id)
    assert not status.open, status.left
    copy = case.copy()
    assert copy is not None
    assert copy["admin_token"].reveal() != leaked
    case.insist_on_clean_hub([])


@doing("revoke from an older checkout that lacks its copy's store")
def older_checkout_revoked(case: Case) -> None:
    case.rotate()
    before = case.copy()
    catalogue = case.workspace.catalogue
    undeclared = catalogue.secret(case.path).model_copy(update={"pushed_to": ()})
    older = catalogue.model_copy(update={"stores": {}, "secrets": {case.path: undeclared}})
    status = revoked(replace(case.workspace, catalogue=older), case.path)
    assert status.open
    assert CheckAnswer.REMAINING in answers(status, CheckSubject.ELSEWHERE)
    assert case.copy() == before
    status = run.finish(replace(case.workspace, sleep=lambda seconds: None), status.incident.id)
    assert not status.open, status.left
    assert case.copy() != before


@situation("revoke a password from a catalogue with another strategy than its last rotation")
def other_strategy_revoked(site: Site) -> None:
    lab = site.lab
    secret = lab.single()
    right = lab.open(secret).workspace
    rotate(right, secret.path, Trigger.FORCE)
    leaked = lab.current(secret)
    rotation = {"strategy": "generated", "field": "password", "interval": "30d", "grace": "1h"}
    other = lab.open(replace(secret, data={**secret.data, "rotation": rotation})).workspace
    status = revoked(other, secret.path)
    assert status.open
    assert lab.current(secret) == leaked
    assert not run.finish(replace(right, sleep=lambda seconds: None), status.incident.id).open
    assert not lab.logs_in(leaked)
    assert lab.logs_in(lab.current(secret))
