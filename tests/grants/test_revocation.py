"""Revoking a secret ends temporary access to it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.core.errors import Conflict, Denied
from keyturn.core.ports.ledger import Outcome
from keyturn.revocation import run
from keyturn.revocation.incidents import recheck
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Result
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.context import Workspace, this_process
from keyturn.rotation.state.grant_store import AccessGrant, GrantStage, read_grant, write_grant
from tests.support.access import recorded
from tests.support.boundaries import Boundaries
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.hooks import Hooked, Replaced
from tests.support.lab import Lab, fresh
from tests.support.people import Person, program

pytestmark = pytest.mark.sampled(3, of="file")

ELSEWHERE = "elsewhere/1/1"
"""A process of which nobody here can tell whether it runs."""


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    rex = program(lab, "rex", policies=["keyturn-worker", "keyturn-revoker"], rules="")
    return {**people_with_least_rights(lab), "rex": rex}


@pytest.fixture(scope="module")
def role(lab: Lab) -> str:
    return reader_role(lab)


@pytest.fixture
def site(lab: Lab, people: dict[str, Person], role: str) -> GivenSite:
    return given_site(lab, people, role)


def revoker(site: GivenSite) -> Workspace:
    """Whoever revokes, with the rights for that alone."""
    return replace(site.at_work("rex"), clock=site.lab.hub.now, sleep=lambda seconds: None)


def begin(workspace: Workspace, path: str, incident: str) -> None:
    run.begin(
        workspace,
        Selection((path,)),
        incident=incident,
        reason="leaked",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )


def revoked(workspace: Workspace, site: GivenSite) -> IncidentStatus:
    """An incident about the site's secret, seen through."""
    incident = fresh()
    begin(workspace, site.access.secret.path, incident)
    return run.finish(workspace, incident)


def grant_now(site: GivenSite, grant: AccessGrant) -> AccessGrant:
    current = read_grant(site.at_work("granter"), grant.place)
    assert current is not None
    return current.grant


@pytest.mark.attack
def test_it_ends_with_its_sessions_before_anything_else_of_the_incident_is_done(site: GivenSite) -> None:
    grant, other = site.given(), given_site(site.lab, site.access.people, reader_role(site.lab)).given()
    opened, workspace, incident = site.open(grant.request), revoker(site), fresh()
    with site.lab.opened(opened.fields) as works:
        begin(workspace, site.access.secret.path, incident)
        ended = grant_now(site, grant)
        assert (ended.stage, ended.because) == (GrantStage.ENDED, f"an incident is about the secret: {incident}")
        status = run.finish(replace(workspace, sleep=time.sleep), incident)
        assert not status.open, status.left
        assert not works()
        assert not site.lab.logs_in(opened.fields)
    assert grant_now(site, other).stage == GrantStage.ACTIVE
    said = [event.said for event in status.incident.events if event.result is Result.DONE]
    assert any(grant.request in words for words in said if "with its accounts" in words)
    assert (Outcome.DONE, f"{grant.request}: {ended.because}") in recorded(workspace, "end access")
    assert grant.place not in site.sweep().ended, "there is nothing left for a sweep"


def test_what_was_given_since_is_not_ended_by_a_later_look_at_the_incident(site: GivenSite) -> None:
    workspace = replace(revoker(site), sleep=time.sleep)
    status = revoked(workspace, site)
    grant = site.given()
    later = replace(workspace, clock=lambda: workspace.hub.now() + timedelta(days=2))
    assert not recheck.recheck_incident(later, status.incident.id).open
    assert grant_now(site, grant).stage == GrantStage.ACTIVE


def test_what_could_not_be_looked_at_keeps_the_incident_open(site: GivenSite) -> None:
    grant, workspace = site.given(), replace(revoker(site), sleep=time.sleep)
    stored = site.lab.hub.read_state(grant.place)
    assert stored is not None
    site.lab.keep(grant.place, {"grant": "{}"})
    try:
        status = revoked(workspace, site)
        assert status.open
        assert any(grant.place in words and "not a grant" in words for words in status.incident.left)
    finally:
        site.lab.keep(grant.place, stored.data)
    status = run.finish(workspace, status.incident.id)
    assert not status.open, status.left
    assert grant_now(site, grant).stage == GrantStage.ENDED


@pytest.mark.attack
def test_accounts_that_the_hub_has_not_ended_yet_are_no_proof(site: GivenSite) -> None:
    grant, workspace = site.given(), revoker(site)
    leases = [f"{grant.credential}/abc"]
    hub = workspace.hub.grants()
    waiting = Replaced(hub, unfinished=lambda credential: leases if credential == grant.credential else [])
    status = revoked(replace(workspace, hub=Replaced(workspace.hub, grants=lambda: waiting)), site)
    assert status.open
    assert any("the hub has not ended 1 accounts yet" in words for words in status.incident.left)
    leases.clear()
    status = run.finish(replace(workspace, sleep=time.sleep), status.incident.id)
    assert not status.open, status.left


@pytest.mark.attack
def test_access_being_delivered_during_a_revocation_ends(site: GivenSite) -> None:
    request, workspace = site.approved(), revoker(site)
    granter = replace(site.at_work("granter"), holder=ELSEWHERE)
    begun = list[IncidentStatus]()
    port = Hooked(granter.hub.grants(), issue_wrapped=lambda *_: begun.append(revoked(workspace, site)))
    with pytest.raises(Conflict):
        deliver_access(replace(granter, hub=Replaced(granter.hub, grants=lambda: port)), request.id)
    (status,) = begun
    assert status.open
    assert any("may be giving it" in words for words in status.incident.left)
    grant = site.grant_of(request)
    assert grant is not None
    assert grant.stage == GrantStage.ENDING
    assert site.lab.hub.grants().tokens(grant.place) == []
    # Nobody hears of that granter any more.
    stored = site.lab.hub.read_state(grant.place)
    assert stored is not None
    write_grant(replace(granter, hub=site.lab.hub), replace(grant, holder=dead_process()), stored.version)
    status = run.finish(replace(workspace, sleep=time.sleep), status.incident.id)
    assert not status.open, status.left
    with pytest.raises(Denied, match="it has ended: an incident"):
        site.open(request.id)


def dead_process() -> str:
    """One of this machine that has ended."""
    host, pid, _ = this_process().split("/")
    return f"{host}/{pid}/1"


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
def test_a_revocation_that_is_killed_goes_on_with_it(site: GivenSite, part: float) -> None:
    def work(path: str, incident: str) -> Callable[[Workspace], None]:
        return lambda workspace: begin(workspace, path, incident)

    grant, path, incident = site.given(), site.access.secret.path, fresh()
    places = counted(site, work(given_site(site.lab, site.access.people, "none").access.secret.path, fresh()))
    killed_at = int(places * part)
    in_a_process(site, work(path, incident), killed_at)
    workspace = replace(revoker(site), sleep=time.sleep)
    begin(workspace, path, incident)
    status = run.finish(workspace, incident)
    assert not status.open, status.left
    assert grant_now(site, grant).stage == GrantStage.ENDED
    assert site.lab.hub.grants().login_of(grant.accessor) is None


def counted(site: GivenSite, work: Callable[[Workspace], object]) -> int:
    """How many requests it makes."""
    reading, writing = os.pipe()
    in_a_process(site, work, None, lambda passed: os.write(writing, bytes([min(255, len(passed.names))])))
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        return told.read()[0]


def in_a_process(
    site: GivenSite,
    work: Callable[[Workspace], object],
    number: int | None,
    done: Callable[[Boundaries], object] = lambda _: None,
) -> None:
    """Do it in a process of its own, which dies before its request of that number, where there is one."""
    workspace = revoker(site)
    site.lab.hub.close()
    if not (pid := os.fork()):
        ending = 1
        try:
            with Boundaries(number) as passed:
                work(replace(workspace, holder=this_process()))
            done(passed)
            ending = 0
        finally:
            os._exit(ending)
    status = os.waitpid(pid, 0)[1]
    assert (os.WTERMSIG(status) == signal.SIGKILL) if number is not None else status == 0
