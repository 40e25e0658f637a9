"""The part of `keyturn serve` that gives and ends access: what is approved is there at once, and an alert ends it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.client.clock import elapsed
from keyturn.core.notifications.alerts import ALERT, AlertNote
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.opening import open_access
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down
from keyturn.serving.grants_part import GrantsPart
from keyturn.serving.parts import GRANTING, Tenure
from keyturn.serving.registry import make_parts
from keyturn.serving.site import Site
from tests.support.access import recorded
from tests.support.given import GivenSite, forget_grants, given_site, people_with_least_rights, reader_role
from tests.support.hooks import eventually
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(2, of="file")


@pytest.fixture(scope="module")
def given(lab: Lab) -> GivenSite:
    forget_grants(lab)
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


@contextmanager
def serving(workspace: Workspace) -> Iterator[list[str]]:
    """The part at work; what it says."""
    lines: list[str] = []
    nothing: Any = None
    site = Site(lambda: workspace, nothing, lines.append, nothing, Path())
    tenure = Tenure(GRANTING, 1, elapsed, lambda: None)
    thread = threading.Thread(target=GrantsPart(site, pause=0.5).run, args=(tenure,))
    thread.start()
    try:
        yield lines
        assert tenure.measure().trouble == ""
    finally:
        tenure.ended.set()
        thread.join(20)


def alert_about(principal: str, workspace: Workspace) -> AlertNote:
    now = workspace.hub_now()
    return AlertNote("A-1", "new", "high", 900, "hub", principal, 1, "192.0.2.7", now, now, 3, ("hours",), "at night")


def test_what_is_approved_is_there_at_once_and_an_alert_about_whoever_has_it_ends_it(given: GivenSite) -> None:
    workspace = given.at_work("granter")
    with serving(workspace) as lines:
        request = given.approved()
        opened = open_access(given.at_work("ana"), request.id)
        assert given.lab.logs_in(opened.fields)
        assert any(f"{request.id}: given" in line for line in lines)
        given_at = datetime.fromisoformat(opened.grant.issued_at)
        assert eventually(lambda: workspace.hub_now() > given_at)
        note = alert_about(opened.grant.principal, workspace)
        note_down(workspace, [entry(workspace, ALERT, Outcome.DONE, note=note.to_text())])
        assert eventually(lambda: given.why(opened.grant).startswith("an alert is about its holder: A-1"), 30)
        assert eventually(lambda: not given.lab.logs_in(opened.fields))


def test_what_may_not_be_given_is_said_and_recorded_once(given: GivenSite) -> None:
    held: Any = {"conditions": {"login_within": "1h"}}
    request = given.approved(**held)
    given.lab.root.auth.token.revoke_accessor(request.login)
    workspace = given.at_work("granter", **held)
    with serving(workspace) as lines:
        assert eventually(lambda: any(request.id in line for line in lines))
        requests.deny_access(given.at_work("bea", **held), request.id, "not now")
        other = given.approved(**held)
        assert eventually(lambda: any(other.id in line for line in lines))
    refused = [note for outcome, note in recorded(workspace, "give access") if outcome is Outcome.DENIED]
    assert len([note for note in refused if request.id in note]) == 1


def test_there_is_a_part_where_there_are_policies(given: GivenSite) -> None:
    nothing: Any = None
    workspace = given.at_work("granter")
    bare = replace(workspace, catalogue=workspace.catalogue.model_copy(update={"access_policies": {}}))
    names = [
        [part.name for part in make_parts(Site(lambda: each, nothing, nothing, nothing, Path()))]  # noqa: B023
        for each in (workspace, bare)
    ]
    assert [GRANTING in name for name in names] == [True, False]
