"""Revocation drills: which are due, and how long the last one took."""

from datetime import timedelta

import pytest

from keyturn.cli.secrets.dashboard import board_of
from keyturn.core.errors import Invalid
from keyturn.pages.dashboard import Level
from keyturn.revocation.incidents.drills import declared_drills, drill_id, due_drills, insist_on_drill, last_drill
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.run import begin, finish
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Lab


def test_a_drill_is_due_once_in_its_time_and_tells_how_long_the_credential_lived(lab: Lab) -> None:
    tried, other = lab.alternating(folder="drills", drill="30d"), lab.generated()
    opened = lab.open(tried, other)
    workspace, began = opened.workspace, opened.workspace.clock()
    assert dict(declared_drills(workspace)) == {tried.path: timedelta(days=30)}
    assert due_drills(workspace) == [tried.path]
    assert last_drill(workspace, tried.path) is None
    assert shown(workspace) == [(tried.path, Level.SOON, "revocation was never tried on it")]
    selector = Selector((tried.path,))
    incident = begin(
        workspace,
        select_secrets(workspace, selector),
        incident=drill_id(tried.path, began),
        reason="a test",
        mode=Mode.REPLACE,
        selector=selector.words,
        triggered_at=began,
    )
    finish(workspace, incident.id)
    assert due_drills(workspace) == []
    last = last_drill(workspace, tried.path)
    assert last is not None
    assert (last.incident, last.proven) == (incident.id, True)
    assert last.refused is not None
    assert last.words.startswith(f"{incident.id}; proven; the credential was refused after ")
    assert shown(workspace) == [(tried.path, Level.WELL, f"{last.words}, 0 s ago")]
    opened.clock.advance(timedelta(days=30))
    assert due_drills(workspace) == [tried.path]


def shown(workspace: Workspace) -> list[tuple[str, Level, str]]:
    """What the page of everything says of drills."""
    return [(line.name, line.level, line.state) for line in board_of(workspace).others if line.kind == "drill"]


@pytest.mark.attack
def test_no_other_secret_is_drilled(lab: Lab) -> None:
    other = lab.generated()
    with pytest.raises(Invalid, match="does not say that it is there for drills"):
        insist_on_drill(lab.open(other).workspace, other.path)
