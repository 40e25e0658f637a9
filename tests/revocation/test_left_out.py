"""A secret that was meant, and whose entry did not load, keeps the incident open until it is revoked, too."""

from dataclasses import replace

import pytest

from keyturn.catalogue import Problem
from keyturn.core.errors import NotFound
from keyturn.core.sensitive import Sensitive
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.revocation.whois import whois_value
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Declared, Lab, fresh

WHY = "is missing"


def without_entry(workspace: Workspace, path: str) -> Workspace:
    """The same with a catalogue in which this secret's entry did not load."""
    problem = Problem("all.yaml", 7, f"secrets.{path}.rotation.grace", WHY, "Add it.", ("secrets", path, "rotation"))
    secrets = {name: secret for name, secret in workspace.catalogue.secrets.items() if name != path}
    catalogue = workspace.catalogue.model_copy(update={"secrets": secrets, "left_out": (problem,)})
    return replace(workspace, catalogue=catalogue)


def revoke(workspace: Workspace, *paths: str) -> IncidentStatus:
    """All of it, for what these names and patterns mean."""
    selector = Selector(paths)
    selection = select_secrets(workspace, selector)
    begun = run.begin(
        workspace,
        selection,
        incident=f"INC-{fresh()}",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=selector.words,
        triggered_at=workspace.clock(),
        consent=Consent(selection.size),
    )
    return run.finish(workspace, begun.id)


@pytest.fixture
def two(lab: Lab) -> tuple[Workspace, Declared, Declared]:
    first, second = lab.generated(), lab.generated()
    return replace(lab.open(first, second).workspace, sleep=lambda seconds: None), first, second


@pytest.mark.parametrize("chosen", ["pattern", "names"])
def test_the_others_are_revoked_and_the_incident_waits_for_the_one_that_did_not_load(
    two: tuple[Workspace, Declared, Declared], lab: Lab, chosen: str
) -> None:
    workspace, first, second = two
    paths = ("tests/*",) if chosen == "pattern" else (first.path, second.path)
    status = revoke(without_entry(workspace, second.path), *paths)
    assert status.incident.paths == (first.path,)
    assert (status.open, status.incident.missed) == (True, (second.path,))
    assert WHY in status.incident.left_out[0]
    assert [(check.subject, check.answer) for check in status.incident.checks if check.place == second.path] == [
        (CheckSubject.LEFT_OUT, CheckAnswer.REMAINING)
    ]
    assert lab.current(first) != first.first
    assert run.finish(workspace, status.incident.id).open, "its entry loads now, and it is not revoked yet"
    assert not revoke(workspace, second.path).open
    assert not run.finish(workspace, status.incident.id).open


def test_one_that_did_not_load_is_refused_with_the_reason_where_it_alone_is_meant(
    two: tuple[Workspace, Declared, Declared],
) -> None:
    workspace, _, second = two
    with pytest.raises(NotFound, match=f"its entry was left out: all.yaml:7: .*{WHY}"):
        revoke(without_entry(workspace, second.path), second.path)


def test_a_leaked_value_may_be_of_a_secret_that_did_not_load(two: tuple[Workspace, Declared, Declared]) -> None:
    workspace, _, second = two
    matches = whois_value(without_entry(workspace, second.path), Sensitive(second.first["value"]))
    (unseen,) = [match for match in matches if match.unseen]
    assert unseen.path == second.path
    assert WHY in unseen.unseen
