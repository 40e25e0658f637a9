"""Access without approval is reported at once and needs another person's signed review."""

import json
import secrets
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.requests import RequestState
from keyturn.grants.reviews import REVIEW_WITHIN, list_broken_access, review_access, review_message, review_status
from keyturn.rotation.signers import Review
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GrantStage
from tests.support.access import HOUR, AccessSite, Chat, approver_of, entries_of, people_of, recorded, shell, site_of
from tests.support.given import deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.lab import Lab
from tests.support.people import Person

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    return people_of(lab)


@pytest.fixture(scope="module")
def approvers(lab: Lab, people: dict[str, Person]) -> dict[str, ApproverSettings]:
    return {name: approver_of(lab, people[name]) for name in ("ana", "bea", "cleo")}


@pytest.fixture
def site(lab: Lab, people: dict[str, Person], approvers: dict[str, ApproverSettings]) -> AccessSite:
    """Ana may break the glass."""
    return site_of(lab, people, approvers, break_glass=True)


@pytest.fixture
def broken(site: AccessSite) -> AccessRequest:
    """Ana has broken it, and the access is over."""
    request = site.break_glass()
    requests.end_access(site.as_person("cleo"), request.id)
    return request


def state_of(site: AccessSite, request: AccessRequest, workspace: Workspace | None = None) -> str:
    """How its review stands, in words."""
    looking = workspace or site.as_person("cleo")
    status = review_status(looking, requests.find_request(looking, request.id))
    return status.words if status else ""


def test_it_is_granted_at_once_after_a_report_and_a_ledger_entry(site: AccessSite) -> None:
    chat = Chat(down=True)
    workspace = replace(site.as_person("ana"), channel=chat)
    path, why = site.secret.path, "it is on fire"
    request = requests.ask_for_access(workspace, path, HOUR, why, break_glass=True)
    assert site.state(request) is RequestState.APPROVED
    (announcement,) = chat.heard
    assert f"keyturn access review {request.id}" in announcement.body
    assert announcement.id == f"msg_{request.nonce}"
    actions = [entry.action for entry in entries_of(workspace) if request.id in entry.note]
    assert actions == ["break glass", "ask for access", "ask for access"]
    assert request.digest in recorded(workspace, "break glass")[-1][1]


def test_access_without_approval_needs_a_policy_that_allows_it(site: AccessSite) -> None:
    plain = replace(site, policy={**site.policy, "break_glass": False})
    with pytest.raises(Denied, match="it allows no break-glass"):
        plain.break_glass()
    assert recorded(plain.as_person("ana"), "ask for access")[-1][0] is Outcome.DENIED
    asked = plain.ask()
    plain.forge(asked, break_glass=True, needed=0)
    assert plain.state(asked) is RequestState.VOID


def test_denials_and_conditions_also_apply_to_access_without_approval(site: AccessSite) -> None:
    workspace = replace(site, policy={**site.policy, "conditions": {"logins": ["oidc"]}}).as_person("ana")
    with pytest.raises(Denied, match="not at oidc"):
        requests.ask_for_access(workspace, site.secret.path, HOUR, "it is on fire", break_glass=True)


def test_access_without_approval_needs_another_person_who_could_review_it(site: AccessSite) -> None:
    alone = replace(site, settings=ApprovalSettings(approvers={"ana": site.settings.approvers["ana"]}))
    with pytest.raises(Denied, match="no one could review it"):
        alone.break_glass()


def test_the_review_stays_open_and_is_overdue_after_a_day(site: AccessSite, broken: AccessRequest) -> None:
    workspace = site.as_person("cleo")
    assert state_of(site, broken).startswith("due until ")
    late = replace(workspace, hub_clock=lambda: datetime.fromisoformat(broken.asked_at) + REVIEW_WITHIN)
    assert state_of(site, broken, late).startswith("OVERDUE since ")
    (glass,) = [glass for glass in list_broken_access(workspace) if glass.id == broken.id]
    assert (glass.reviewed_by, glass.entity) == ("", site.people["ana"].entity)


def test_another_person_reviews_it_and_signs_the_finding(site: AccessSite, broken: AccessRequest) -> None:
    workspace = site.as_person("bea")
    review_access(workspace, broken.id, "three queries, all of the report")
    assert state_of(site, broken) == "reviewed by bea"
    outcome, note = recorded(workspace, "review access")[-1]
    assert outcome is Outcome.DONE
    assert broken.digest in note
    assert "three queries" in note
    with pytest.raises(Invalid, match="bea has reviewed it"):
        review_access(site.as_person("cleo"), broken.id, "nothing odd")


@pytest.mark.parametrize(
    ("who", "why"), [("ana", "you have asked for it yourself"), ("dora", "is not among the approvers")]
)
def test_neither_the_requester_nor_an_unlisted_person_can_review_it(
    site: AccessSite, broken: AccessRequest, who: str, why: str
) -> None:
    workspace = site.as_person(who)
    with pytest.raises(Denied, match=why):
        review_access(workspace, broken.id, "all is well")
    assert recorded(workspace, "review access")[-1][0] is Outcome.DENIED
    assert state_of(site, broken).startswith("due until ")


def test_a_review_written_directly_to_the_hub_is_ignored(site: AccessSite, broken: AccessRequest) -> None:
    at, other = "2026-11-27T12:00:00+00:00", site.break_glass()
    own, bea = site.people["ana"], site.settings.approvers["bea"]
    for reviewer, signer, about, finding in (
        ("ana", "ana", broken, "all is well"),
        ("bea", "ana", broken, "all is well"),
        ("bea", "bea", other, "all is well"),
        ("bea", "bea", broken, "something else"),
        ("dora", "bea", broken, "all is well"),
    ):
        signature = site.signature(signer, review_message(about, reviewer, at, "all is well"))
        site.forge(broken, closed="ended", review=Review(reviewer, at, finding, signature))
        assert state_of(site, broken).startswith("due until ")
    twice = ApprovalSettings(approvers={"ana": bea.model_copy(update={"entity": own.entity})})
    signature = site.signature("bea", review_message(broken, "ana", at, "all is well"))
    site.forge(broken, review=Review("ana", at, "all is well", signature))
    assert state_of(site, broken, replace(site.as_person("cleo"), approvals=twice)).startswith("due until ")


def test_active_or_approved_access_is_not_reviewed_and_an_empty_finding_is_refused(
    site: AccessSite, broken: AccessRequest
) -> None:
    bea = site.as_person("bea")
    going, asked = site.break_glass(), site.ask()
    with pytest.raises(Invalid, match="is still active"):
        review_access(bea, going.id, "all is well")
    with pytest.raises(Invalid, match="approved in advance"):
        review_access(bea, asked.id, "all is well")
    with pytest.raises(Invalid, match="nothing is found"):
        review_access(bea, broken.id, " ")
    later = replace(bea, hub_clock=lambda: bea.hub.now() + 2 * HOUR + timedelta(seconds=1))
    assert review_access(later, going.id, "all is well").review


def test_the_commands_report_it_until_it_is_reviewed(
    site: AccessSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = shell(site, tmp_path, monkeypatch), site.secret.path
    asked = run("ana", "access", "request", path, "--purpose", "it is on fire", "--break-glass", "--json")
    assert asked.exit_code == 0, asked.output
    made = json.loads(asked.stdout)
    request = made["id"]
    assert (made["state"], made["review"].startswith("due until ")) == ("approved", True)
    unreviewed = [glass["id"] for glass in json.loads(run("bea", "status", "--json").stdout)["unreviewed"]]
    assert request in unreviewed
    assert f"NOT REVIEWED {request}, which is due until " in run("bea", "due").stderr
    assert run("bea", "access", "review", request, "--finding", "all is well").exit_code == 1
    assert run("bea", "access", "end", request).exit_code == 0
    assert request in run("bea", "due").stderr
    row = next(line for line in run("bea", "access", "list").stdout.splitlines() if request in line)
    assert "due until" in row
    assert run("ana", "access", "review", request, "--finding", "all is well").exit_code == 1
    assert run("bea", "access", "review", request, "--finding", "all is well").exit_code == 0
    assert request not in run("bea", "due").stderr
    assert json.loads(run("ana", "access", "show", request, "--json").stdout)["review"] == "reviewed by bea"


def test_a_request_written_directly_to_the_hub_is_reported_before_access_is_given(
    lab: Lab, people: dict[str, Person]
) -> None:
    given = given_site(lab, people_with_least_rights(lab), reader_role(lab), break_glass=True)
    request = given.access.break_glass()
    past = replace(request, id=f"AR-{secrets.token_hex(6)}", nonce=secrets.token_hex(16))
    asker = given.at_work("ana")
    asker.hub.claim_state(past.place, {"request": json.dumps(asdict(past))})
    chat = Chat()
    granter = replace(given.at_work("granter"), channel=chat)
    grant = deliver_access(granter, past.id)
    assert grant.stage == GrantStage.ACTIVE
    assert [message.id for message in chat.heard] == [f"msg_{past.nonce}"]
    actions = [entry.action for entry in entries_of(granter) if past.id in entry.note]
    assert actions == ["break glass", "give access", "give access"]
