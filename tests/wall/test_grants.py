"""Access requests are approved only under a policy and with valid signatures."""

import json
import secrets
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue.operator.approvals import ApproverSettings
from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.requests import RequestState
from local.prepare import POLICIES
from tests.support.access import HOUR, AccessSite, approver_of, people_of, recorded, shell, site_of
from tests.support.lab import Lab
from tests.support.people import Person, person, program

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    return people_of(lab)


@pytest.fixture(scope="module")
def approvers(lab: Lab, people: dict[str, Person]) -> dict[str, ApproverSettings]:
    return {name: approver_of(lab, people[name]) for name in ("ana", "bea", "cleo")}


@pytest.fixture
def site(lab: Lab, people: dict[str, Person], approvers: dict[str, ApproverSettings]) -> AccessSite:
    return site_of(lab, people, approvers)


def test_two_who_have_not_asked_approve_and_the_ledger_has_their_signatures(site: AccessSite) -> None:
    request = site.ask()
    assert site.approve("bea", request).digest == request.digest
    assert site.state(request) is RequestState.WAITS
    workspace = site.as_person("cleo")
    requests.approve_access(workspace, request.id)
    assert site.state(request) is RequestState.APPROVED
    outcome, note = recorded(workspace, "approve access")[-1]
    assert outcome is Outcome.DONE
    for text in (request.id, request.digest, request.policy_digest, "by cleo"):
        assert text in note


def test_what_no_policy_allows_is_refused_recorded_and_explained(site: AccessSite) -> None:
    workspace = site.as_person("dora")
    with pytest.raises(Denied, match="no policy covers this secret and requester"):
        requests.ask_for_access(workspace, site.secret.path, HOUR, "curious")
    assert recorded(workspace, "ask for access")[-1][0] is Outcome.DENIED


def test_a_requester_approves_nothing_by_command_or_by_direct_write(site: AccessSite) -> None:
    request, workspace = site.ask(), site.as_person("ana")
    with pytest.raises(Denied, match="you have asked for it yourself"):
        requests.approve_access(workspace, request.id)
    assert recorded(workspace, "approve access")[-1][0] is Outcome.DENIED
    both = (site.approval("ana", request.message), site.approval("bea", request.message))
    site.forge(request, approvals=both)
    assert site.state(request) is RequestState.WAITS


def test_one_who_approves_twice_counts_once(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    with pytest.raises(Invalid, match="you have approved it before"):
        site.approve("bea", request)
    site.forge(request, approvals=(site.approval("bea", request.message),) * 2)
    assert site.state(request) is RequestState.WAITS
    under = site.approval("bea", request.message, under="cleo")
    site.forge(request, approvals=(site.approval("bea", request.message), under))
    assert site.state(request) is RequestState.WAITS


def test_a_signature_over_another_request_is_ignored(site: AccessSite) -> None:
    other, request = site.ask(), site.ask()
    site.forge(request, approvals=tuple(site.approval(name, other.message) for name in ("bea", "cleo")))
    assert site.state(request) is RequestState.WAITS


def test_a_request_that_was_changed_after_it_was_approved_is_not_approved(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    signed = site.approve("cleo", request)
    waits: list[dict[str, Any]] = [{"seconds": 1800}, {"purpose": "other"}]
    void: list[dict[str, Any]] = [
        {"break_glass": True},
        {"seconds": 86_400},
        {"path": "other"},
        {"expires_at": "2099-01-01T00:00:00+00:00"},
        {"asked_at": "2099-01-01T00:00:00+00:00", "expires_at": "2099-01-01T00:30:00+00:00"},
    ]
    for state, changes in ((RequestState.WAITS, waits), (RequestState.VOID, void)):
        for change in changes:
            site.forge(signed, **change)
            assert site.state(request) is state


def test_approvals_of_one_request_are_not_replayed_under_another_name(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    signed = site.approve("cleo", request)
    again = replace(signed, id=f"AR-{secrets.token_hex(6)}")
    site.forge(again)
    assert site.state(again) is RequestState.WAITS


def test_a_request_under_another_persons_name_is_ignored(site: AccessSite) -> None:
    request, dora = site.ask(), site.people["dora"].entity
    site.forge(replace(request, entity=dora, purpose="mine"))
    approved = site.approve("bea", request)
    assert (approved.place, approved.purpose) == (request.place, request.purpose)
    assert requests.load(site.as_person("cleo"), f"grants/{dora}/{request.id}").approvals == ()
    # A name that tells nobody's folder, as those of older programs.
    digits = {requests.folder_digits(entity) for entity in (request.entity, dora)}
    old = replace(request, id=f"AR-{next(each for each in ('0000', '1111', '2222') if each not in digits)}0000beef")
    for entity in (request.entity, dora):
        site.forge(replace(old, entity=entity))
    with pytest.raises(Invalid, match="two requests bear that name"):
        site.approve("bea", old)


def test_a_request_in_another_persons_folder_is_ignored(site: AccessSite) -> None:
    request, name = site.ask(), f"AR-{secrets.token_hex(6)}"
    place = f"grants/{site.people['dora'].entity}/{name}"
    site.lab.keep(place, {"request": json.dumps(asdict(replace(request, id=name)))})
    workspace = site.as_person("cleo")
    with pytest.raises(Invalid, match="not a request of its folder's owner"):
        requests.find_request(workspace, name)
    listed, malformed = requests.list_requests(workspace)
    assert request.id in {each.id for each in listed}
    assert any(place in str(error) for error in malformed)


def test_a_request_that_expired_by_the_hubs_clock_is_invalid(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    workspace = site.as_person("cleo")
    later = replace(workspace, hub_clock=lambda: workspace.hub_now() + timedelta(minutes=61))
    with pytest.raises(Invalid, match="it is over"):
        requests.approve_access(later, request.id)
    site.approve("cleo", request)
    assert requests.status_of(later, requests.find_request(later, request.id)).state is RequestState.OVER


def test_a_wrong_local_clock_extends_no_request(site: AccessSite) -> None:
    request = site.ask()
    past = replace(site.as_person("cleo"), clock=lambda: site.lab.hub.now() - timedelta(days=1))
    ended = replace(request, expires_at=(site.lab.hub.now() - timedelta(seconds=2)).isoformat())
    site.forge(ended)
    with pytest.raises(Invalid, match="it is over"):
        requests.approve_access(past, request.id)


def test_a_policy_that_has_changed_since_voids_the_request(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    for changes in ({"approvals": 1}, {"maximum": "30m"}):
        assert site.state(request, **changes) is RequestState.VOID
        with pytest.raises(Invalid, match="has changed since"):
            site.approve("cleo", request, **changes)


def test_an_approver_who_was_removed_meanwhile_counts_no_more(site: AccessSite) -> None:
    request = site.ask()
    site.approve("bea", request)
    site.approve("cleo", request)
    fewer = {name: who for name, who in site.settings.approvers.items() if name != "bea"}
    workspace = replace(site.as_person("cleo"), approvals=site.settings.model_copy(update={"approvers": fewer}))
    status = requests.status_of(workspace, requests.find_request(workspace, request.id))
    assert (status.state, status.approved_by) == (RequestState.WAITS, ("cleo",))
    assert status.problems == ("'bea' is not among the approvers of the operator's file",)


def test_a_denied_or_ended_request_can_not_be_approved(site: AccessSite) -> None:
    denied, ended = site.ask(), site.ask()
    requests.deny_access(site.as_person("bea"), denied.id, "not now")
    requests.end_access(site.as_person("cleo"), ended.id)
    for request in (denied, ended):
        with pytest.raises(Invalid, match=r"it is (denied|ended)"):
            site.approve("cleo", request)
    with pytest.raises(Denied):
        requests.end_access(site.as_person("dora"), site.ask().id)


def test_with_least_rights_a_person_requests_only_in_their_own_name(
    site: AccessSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = site.lab.root
    for name in ("keyturn-requester", "keyturn-approver"):
        root.sys.create_or_update_policy(name, (POLICIES / f"{name}.hcl").read_text())
    emil = person(site.lab, "emil", policies=["keyturn-requester"], rules="")
    fay = person(site.lab, "fay", policies=["keyturn-approver"], rules="")
    people = {**site.people, "emil": emil, "fay": fay}
    settings = site.settings.model_copy(update={"approvers": {"fay": approver_of(site.lab, fay)}})
    policy = {**site.policy, "subjects": {"entities": [emil.entity]}, "approvers": ["fay"], "approvals": 1}
    least = AccessSite(site.lab, people, site.secret, settings, policy)
    asking, approving = least.as_person("emil"), least.as_person("fay")
    request = requests.ask_for_access(asking, site.secret.path, HOUR, "a query hangs")
    signed = requests.approve_access(approving, request.id)
    assert requests.status_of(asking, signed).state is RequestState.APPROVED
    state = asking.hub.read_state(request.place)
    assert state is not None
    with pytest.raises(Denied):
        asking.hub.write_state(request.place, state.data, cas=state.version)
    for hub, path in ((asking.hub, f"grants/{fay.entity}/AR-1"), (approving.hub, f"grants/{fay.entity}/AR-1")):
        with pytest.raises(Denied):
            hub.claim_state(path, {"request": "{}"})
    with pytest.raises(KeyturnError):
        asking.hub.read(site.secret.path)
    other = site.ask()
    run = shell(replace(least, policy={**policy, "conditions": {"incident": "none"}}), tmp_path, monkeypatch)
    listed = run("emil", "access", "list").stdout
    assert request.id in listed
    assert other.id not in listed
    explained = run("emil", "access", "explain", site.secret.path)
    assert explained.exit_code == 1
    assert "it may be asked for: what this login could not look at" in explained.stderr


def test_an_explanation_includes_the_extra_approval_that_a_program_needs(
    site: AccessSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = program(site.lab, "explains")
    policy = {**site.policy, "subjects": {"entities": [robot.entity, site.people["ana"].entity]}}
    run = shell(replace(site, people={**site.people, "robot": robot}, policy=policy), tmp_path, monkeypatch)
    needed = [
        json.loads(run(who, "access", "explain", site.secret.path, "--json").stdout)["approvals"]
        for who in ("ana", "robot")
    ]
    assert needed[1] == needed[0] + 1
    told = run("robot", "access", "explain", site.secret.path).stderr
    assert f"once {needed[1]} of" in told
    assert "one approval more than the policy asks for" in told


def test_a_mistyped_or_completed_request_is_reported_as_such(site: AccessSite) -> None:
    with pytest.raises(Denied, match="the catalogue has no policy 'reader'"):
        requests.ask_for_access(site.as_person("ana"), site.secret.path, HOUR, "a query hangs", policy="reader")
    request = site.ask()
    for who, hint in (("bea", "It waits for someone else"), ("cleo", "Nothing more is to be done")):
        site.approve(who, request)
        with pytest.raises(Invalid, match=hint):
            site.approve(who, request)


def test_the_commands_do_the_same(site: AccessSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shell(site, tmp_path, monkeypatch)
    explained = run("dora", "access", "explain", site.secret.path)
    assert explained.exit_code == 1
    assert "not given: no policy covers this secret and requester" in explained.stderr
    assert run("ana", "access", "explain", site.secret.path, "--for", "1h").exit_code == 0
    asked = run("ana", "access", "request", site.secret.path, "--purpose", "a query hangs", "--json")
    assert asked.exit_code == 0, asked.output
    request = json.loads(asked.stdout)["id"]
    assert run("ana", "access", "approve", request, "--yes").exit_code == 1
    for who in ("bea", "cleo"):
        assert run(who, "access", "approve", request, "--yes").exit_code == 0
    shown = json.loads(run("ana", "access", "show", request, "--json").stdout)
    assert (shown["state"], sorted(shown["approved_by"])) == ("approved", ["bea", "cleo"])
    assert shown["credential"] == site.policy["credential"]
    assert request in run("bea", "access", "list").stdout
    assert run("bea", "access", "deny", request, "--because", "not now").exit_code == 0
    assert json.loads(run("ana", "access", "show", request, "--json").stdout)["state"] == "denied"
    assert run("ana", "access", "show", "AR-../../x").exit_code == 1
