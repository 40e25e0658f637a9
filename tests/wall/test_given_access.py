"""Approved access reaches the requester only, and ends when its conditions no longer hold."""

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keyturn.catalogue.operator.approvals import ApprovalSettings
from keyturn.core.errors import Denied, Invalid, Rewritten
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.grants import read_delivery
from keyturn.grants.opening import open_access, return_access
from keyturn.grants.sweep import Sweeper
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation import run as incidents
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.rotation.state.grant_store import ALARM, AccessGrant, GrantStage, Receipt, receipt_place
from tests.support.access import recorded
from tests.support.given import (
    GivenSite,
    deliver_access,
    forget_grants,
    given_site,
    people_with_least_rights,
    reader_role,
)
from tests.support.hooks import Hooked, Replaced, eventually
from tests.support.lab import Lab, fresh
from tests.support.people import Person, person

pytestmark = pytest.mark.sampled(5, of="file")


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    return people_with_least_rights(lab)


@pytest.fixture(scope="module")
def role(lab: Lab) -> str:
    return reader_role(lab)


@pytest.fixture
def site(lab: Lab, people: dict[str, Person], role: str) -> GivenSite:
    return given_site(lab, people, role)


def thief(site: GivenSite, grant: AccessGrant) -> str:
    """The password that somebody finds who has read the hub's storage."""
    workspace = replace(site.at_work("granter"), hub=site.lab.hub)
    delivery = read_delivery(workspace, grant)
    assert delivery is not None
    opened = site.lab.hub.grants().open_wrapped(delivery.token, grant.request)
    assert opened is not None
    assert site.lab.logs_in(opened.fields)
    return str(opened.fields["username"].reveal())


def lives(site: GivenSite, account: str) -> bool:
    return bool(site.lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", account))


# --- in other hands


def test_a_wrapping_opened_by_another_raises_an_alarm_and_ends_the_access(
    site: GivenSite,
) -> None:
    told = list[Announcement]()
    channel = type("Pager", (), {"send": staticmethod(told.append)})()
    grant = site.given()
    account = thief(site, grant)
    workspace = replace(site.at_work("granter"), channel=channel)
    result = site.sweeper.sweep(workspace)
    assert result.ended[grant.place] == "it was opened, but not by the requester"
    assert eventually(lambda: not lives(site, account))
    assert any(grant.request in note for _, note in recorded(workspace, ALARM))
    assert any(grant.request in each.body for each in told)
    with pytest.raises(Denied, match="it has ended: it was opened"):
        site.open(grant.request)


def test_a_requester_who_finds_it_opened_learns_of_the_theft_and_it_ends(site: GivenSite) -> None:
    grant = site.given()
    account = thief(site, grant)
    with pytest.raises(Rewritten, match="someone else opened it before you"):
        site.open(grant.request)
    assert (Outcome.FAILED in dict(recorded(site.at_work("ana"), "open access"))) is True
    assert site.sweep().ended[grant.place] == "the requester reports that someone else opened it"
    assert eventually(lambda: not lives(site, account))


def test_a_thief_who_comes_between_two_calls_is_seen(site: GivenSite) -> None:
    grant = site.given()
    workspace = site.at_work("ana")
    port = Hooked(workspace.hub.grants(), open_wrapped=lambda token, name: thief(site, grant))
    between: Any = Replaced(workspace.hub, grants=lambda: port)
    with pytest.raises(Rewritten, match="a moment before you"):
        open_access(replace(workspace, hub=between), grant.request)
    assert site.sweep().ended[grant.place].startswith("the requester reports")


def test_a_replaced_wrapping_is_not_opened(site: GivenSite) -> None:
    grant = site.given()
    root = site.lab.root
    made = root.adapter.post(
        "/v1/sys/wrapping/wrap", json={"username": "x", "password": "y"}, headers={"X-Vault-Wrap-TTL": "600s"}
    )
    place = grant.delivery_place
    state = site.lab.hub.read_state(place)
    assert state is not None
    site.lab.keep(place, {**state.data, "token": made["wrap_info"]["token"]})
    with pytest.raises(Rewritten, match="was wrapped by someone else, at sys/wrapping/wrap"):
        site.open(grant.request)
    assert grant.place in site.sweep().ended


def test_only_the_requester_may_read_its_wrapping_token_and_write_its_receipt(site: GivenSite) -> None:
    grant = site.given()
    dora = person(site.lab, "dora", policies=["keyturn-requester", "keyturn-approver"], rules="").hub()
    for hub in (dora, site.at_work("bea").hub):
        with pytest.raises(Denied):
            hub.read_state(grant.delivery_place)
        with pytest.raises(Denied):
            hub.claim_state(receipt_place(grant.entity, grant.request, Receipt.RETURNED), {})
    own = site.at_work("ana").hub
    for place in (grant.place, grant.delivery_place):
        state = own.read_state(place)
        assert state is not None
        with pytest.raises(Denied):
            own.write_state(place, state.data, cas=state.version)
    with pytest.raises(Denied):
        own.issue_lease(grant.credential)


def test_the_granter_reads_no_secret_and_asks_for_no_credential_itself(site: GivenSite, role: str) -> None:
    hub = site.at_work("granter").hub
    assert isinstance(hub, VaultHub)
    for path in (f"secret/data/{site.access.secret.path}", f"database/creds/{role}", "keyturn/data/rotations/x"):
        with pytest.raises(Denied):
            hub._calls.get("try", path, path)
    with pytest.raises(Denied):
        hub.claim_state(f"grants/{site.access.people['ana'].entity}/AR-1", {"request": "{}"})


# --- not for longer than it holds


def ended_by(site: GivenSite, grant: AccessGrant, **changes: object) -> str:
    return site.sweep(**changes).ended.get(grant.place, "")


def test_a_policy_that_has_changed_or_an_approver_who_was_removed_ends_what_they_allowed(site: GivenSite) -> None:
    grant, other = site.given(), site.given()
    workspace = replace(site.at_work("granter"), approvals=ApprovalSettings(approvers={}))
    ended = Sweeper().sweep(workspace).ended
    assert ended[grant.place] == "it is approved no more; 'bea' is not among the approvers of the operator's file"
    changed = site.given()
    assert ended_by(site, changed, maximum="59m") == "the policy readers has changed since"
    assert other.place in ended


def test_a_person_who_left_the_group_or_is_disabled_loses_access(site: GivenSite, lab: Lab) -> None:
    identity, ana = lab.root.secrets.identity, site.access.people["ana"].entity
    group = identity.create_or_update_group(name=fresh(), member_entity_ids=[ana])["data"]["id"]
    changes: Any = {"subjects": {"groups": [group]}}
    grant = site.given(**changes)
    assert ended_by(site, grant, **changes) == ""
    lab.root.write_data(f"identity/group/id/{group}", data={"member_entity_ids": []})
    assert ended_by(site, grant, **changes) == "no policy covers this secret and requester"


def test_an_expired_login_ends_no_access_and_expired_hours_do(site: GivenSite) -> None:
    login, hours = {"login_within": "1h"}, {"hours": {"from": "00:00", "to": "00:01"}}
    grant = site.given(conditions=login)
    request = requests.find_request(site.at_work("bea"), grant.request)
    site.lab.root.auth.token.revoke_accessor(request.login)
    assert ended_by(site, grant, conditions=login) == ""
    policy = site.at_work("granter", conditions=hours).catalogue.access_policies["readers"]
    forged = replace(request, policy_digest=policy.digest)
    signed = replace(forged, approvals=(site.access.approval("bea", forged.message),))
    site.lab.keep(request.place, {"request": json.dumps(asdict(signed))})
    site.lab.keep(grant.place, {"grant": json.dumps(asdict(replace(grant, digest=signed.digest)))})
    late = replace(site.at_work("granter", conditions=hours), hub_clock=lambda: noon(grant))
    assert (
        Sweeper().sweep(late).ended[grant.place]
        == "the policy readers does not apply: it is not between 00:00 and 00:01 UTC"
    )


def noon(grant: AccessGrant) -> datetime:
    """A moment before it ends that is not just behind midnight."""
    issued_at = datetime.fromisoformat(grant.issued_at)
    return issued_at if issued_at.minute or issued_at.hour else issued_at + timedelta(minutes=2)


def test_an_incident_about_the_secret_ends_it_although_its_process_died(site: GivenSite) -> None:
    grant = site.given()
    workspace = replace(site.lab.open(site.access.secret).workspace, clock=site.lab.hub.now)
    path, incident, now = site.access.secret.path, fresh(), workspace.clock()
    incidents.create_or_find(workspace, Incident(incident, "leaked", Mode.REPLACE, path, "somebody", now, now, (path,)))
    assert ended_by(site, grant) == f"an incident is about the secret: {incident}"
    assert ended_by(site, site.given()) == "", "one that was given since is not about it"


def test_an_alert_about_its_holder_ends_it(site: GivenSite) -> None:
    grant = site.given()
    assert site.access.people["ana"].name in grant.principal
    asked = list[tuple[str, datetime]]()

    def find(principal: str, since: datetime) -> str:
        asked.append((principal, since))
        return "A-1, read at night" if principal == grant.principal else ""

    ended = Sweeper(find).sweep(site.at_work("granter")).ended
    assert ended[grant.place] == "an alert is about its holder: A-1, read at night"
    assert (grant.principal, datetime.fromisoformat(grant.issued_at)) in asked


def test_returned_access_ends_and_a_pending_delivery_is_cancelled(site: GivenSite) -> None:
    grant = site.given()
    opened = site.open(grant.request)
    return_access(site.at_work("ana"), grant.request)
    assert ended_by(site, grant) == "it was given back"
    assert eventually(lambda: not site.lab.logs_in(opened.fields))
    waiting = site.approved()
    return_access(site.at_work("ana"), waiting.id)
    with pytest.raises(Invalid, match="the requester no longer needs it"):
        deliver_access(site.at_work("granter"), waiting.id)


@pytest.mark.parametrize("change", [{"purpose": "other"}, {"closed": "denied", "closed_by": "bea"}])
def test_a_changed_or_denied_request_ends_it(site: GivenSite, change: dict[str, str]) -> None:
    grant = site.given()
    request = requests.find_request(site.at_work("bea"), grant.request)
    site.access.forge(request, **change)
    assert ended_by(site, grant) in ("the request was changed", "denied by bea")


def test_an_unreadable_request_ends_nothing_and_stops_no_other(site: GivenSite) -> None:
    grant, other = site.given(), site.given()
    site.lab.keep(grant.place, {"grant": "{}"})
    return_access(site.at_work("ana"), other.request)
    result = site.sweep()
    assert grant.place in result.troubles
    assert other.place in result.ended
    # It may be about anything: no incident of another test could be proven.
    forget_grants(site.lab)


# --- by itself


def test_it_ends_by_itself_although_keyturn_does_not_run(site: GivenSite) -> None:
    grant = site.given(timedelta(seconds=2))
    opened = open_access(site.at_work("ana"), grant.request)
    with site.lab.opened(opened.fields) as works:
        assert eventually(lambda: not works() and not site.lab.logs_in(opened.fields), seconds=60)
    assert ended_by(site, grant) == "its time is up"
    assert site.grant_of(requests.find_request(site.at_work("bea"), grant.request)).stage == GrantStage.ENDED  # type: ignore[union-attr]
