"""Approvals and reviews come from people, never from a program's login."""

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.core.actor import Acting, acting, going_past_rules
from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.ledger import Outcome
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.providers.keys.note_signer import KeySigner
from keyturn.revocation.incidents.incident import Incident
from keyturn.rotation.signers import Review, sign_text
from keyturn.rotation.state import approvals
from keyturn.rotation.state import break_glass as broken_glass
from keyturn.rotation.state.break_glass import BrokenGlass
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.grant_store import GrantStage
from local.prepare import POLICIES
from tests.support.bank import Bank, approver_of, begin, forge, notes, untouched
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.lab import Declared, Lab
from tests.support.people import Person, hub_with, person, program

pytestmark = pytest.mark.sampled(3, of="file")

Two = tuple[Declared, Declared]


@contextmanager
def run_of(name: str) -> Iterator[None]:
    """What a process at work says of itself, whose run others may have started."""
    token = acting.set(Acting(name, by_others=True))
    try:
        yield
    finally:
        acting.reset(token)


@pytest.fixture
def worker(bank: Bank) -> Person:
    """Keyturn's worker, with its own rights and the revoker's."""
    for name in ("keyturn-worker", "keyturn-revoker", "keyturn-approver"):
        bank.lab.root.sys.create_or_update_policy(name, (POLICIES / f"{name}.hcl").read_text())
    return program(bank.lab, "worker")


@pytest.fixture
def asked_by_run(bank: Bank, worker: Person, pair: Two) -> Workspace:
    """A run in Prefect, which bea has started, has asked to end two secrets."""
    workspace = bank.workspace(worker, *pair)
    with run_of("emergency-revoke run"), pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    return workspace


def again(workspace: Workspace, pair: Two) -> Incident:
    """The same deployment, run again."""
    with run_of("another run"):
        return begin(workspace, *pair)


def approve_as(bank: Bank, who: Person, workspace: Workspace) -> approvals.ApprovalRequest:
    """Let somebody approve what the worker's login has asked for."""
    mine = workspace.hub.identity().entity_id
    (waiting,) = [request for request in bank.requests(workspace) if request.entity == mine]
    return approvals.approve_request(bank.approver(who, workspace), waiting)


# --- a run in Prefect, started by an approver


def test_a_person_who_starts_a_run_in_prefect_can_not_approve_it(
    bank: Bank, asked_by_run: Workspace, pair: Two
) -> None:
    approve_as(bank, bank.bea, asked_by_run)
    with pytest.raises(Denied, match=f"approved so far by {bank.bea.name}"):
        again(asked_by_run, pair)
    with pytest.raises(Invalid, match="it is approved"):
        approve_as(bank, bank.bea, asked_by_run)
    assert untouched(bank.lab, *pair)


def test_two_people_get_it_done_and_the_ledger_has_both_signatures(
    bank: Bank, asked_by_run: Workspace, pair: Two
) -> None:
    approve_as(bank, bank.bea, asked_by_run)
    signed = approve_as(bank, bank.cleo, asked_by_run)
    assert again(asked_by_run, pair).actor
    _, note = notes(asked_by_run, "approved")[-1]
    assert all(each.approver in note and each.signature in note for each in signed.approvals)


def test_a_persons_login_in_a_shared_worker_does_not_count_as_a_person(bank: Bank, pair: Two) -> None:
    workspace = bank.workspace(bank.ana, *pair)
    with run_of("a run of prefect"), pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    bank.approve(bank.bea, workspace)
    with pytest.raises(Denied, match="a second person has to approve it"):
        begin(workspace, *pair)
    assert untouched(bank.lab, *pair), "what was approved was the run's, not ana's"


def test_one_signature_under_two_names_counts_once(bank: Bank, asked_by_run: Workspace, pair: Two) -> None:
    signed = approve_as(bank, bank.bea, asked_by_run)
    (approval,) = signed.approvals
    for twice in ((approval, approval), (approval, replace(approval, approver=bank.cleo.name))):
        forge(bank, signed, approvals=twice)
        with pytest.raises(Denied, match="what does not count"):
            again(asked_by_run, pair)
    assert untouched(bank.lab, *pair)


def test_a_signature_for_another_request_approves_nothing(bank: Bank, asked_by_run: Workspace, pair: Two) -> None:
    other = bank.workspace(bank.ana, *pair)
    with pytest.raises(Denied):
        begin(other, *pair, reason="something else")
    replayed = bank.approve(bank.cleo, other).approvals
    signed = approve_as(bank, bank.bea, asked_by_run)
    forge(bank, signed, approvals=(*signed.approvals, *replayed))
    with pytest.raises(Denied, match=f"the signature of {bank.cleo.name} is not over this request"):
        again(asked_by_run, pair)
    assert untouched(bank.lab, *pair)


def test_a_request_with_too_few_required_signatures_is_made_again(
    bank: Bank, asked_by_run: Workspace, pair: Two
) -> None:
    mine = asked_by_run.hub.identity().entity_id
    (waiting,) = [request for request in bank.requests(asked_by_run) if request.entity == mine]
    forge(bank, waiting, needed=1)
    approve_as(bank, bank.bea, asked_by_run)
    with pytest.raises(Denied, match="2 people have to approve it"):
        again(asked_by_run, pair)
    assert untouched(bank.lab, *pair)


def test_a_request_beyond_the_maximum_duration_is_never_signed(bank: Bank, asked_by_run: Workspace, pair: Two) -> None:
    mine = asked_by_run.hub.identity().entity_id
    (waiting,) = [request for request in bank.requests(asked_by_run) if request.entity == mine]
    forge(bank, waiting, expires_at=(asked_by_run.hub_now() + timedelta(days=900)).isoformat())
    with pytest.raises(Invalid, match="it is over"):
        approve_as(bank, bank.bea, asked_by_run)


def test_an_approver_whom_the_operator_removes_has_approved_nothing(
    bank: Bank, asked_by_run: Workspace, pair: Two
) -> None:
    for who in (bank.bea, bank.cleo):
        approve_as(bank, who, asked_by_run)
    left = {name: who for name, who in bank.settings.approvers.items() if name != bank.cleo.name}
    fewer = replace(asked_by_run, approvals=bank.settings.model_copy(update={"approvers": left}))
    with pytest.raises(Denied, match="is not among the approvers of the operator's file"):
        again(fewer, pair)
    assert untouched(bank.lab, *pair)


def test_approvals_expire_after_an_hour(bank: Bank, asked_by_run: Workspace, pair: Two) -> None:
    for who in (bank.bea, bank.cleo):
        approve_as(bank, who, asked_by_run)
    later = asked_by_run.hub_now() + timedelta(minutes=61)
    with pytest.raises(Denied, match="2 people have to approve it"):
        again(replace(asked_by_run, hub_clock=lambda: later), pair)
    assert untouched(bank.lab, *pair)


def test_a_missing_ledger_entry_of_an_approval_delays_nothing(bank: Bank, asked_by_run: Workspace, pair: Two) -> None:
    for who in (bank.bea, bank.cleo):
        approve_as(bank, who, asked_by_run)
    elsewhere = bank.lab.open(*pair).workspace
    assert again(replace(asked_by_run, ledger=elsewhere.ledger), pair).actor


# --- one person, several logins


def test_a_program_of_an_approver_signs_nothing_whether_keyturn_or_the_hub_is_asked(
    bank: Bank, asked: Workspace, worker: Person, pair: Two
) -> None:
    own = person(bank.lab, "emil", policies=["keyturn-approver"], rules="")
    robot = program(bank.lab, "robot", policies=["keyturn-worker"], rules="", entity=own.entity)
    settings = bank.settings.model_copy(update={"approvers": {own.name: approver_of(bank.lab, own)}})
    workspace = replace(asked, hub=robot.hub(), approvals=settings)
    with pytest.raises(Denied, match="this login was made at auth/approle/login, which is not one of people's"):
        approvals.approve_request(workspace, bank.waiting(asked))
    with pytest.raises(Denied):
        robot.hub().signer(f"keyturn-approver-{own.name}")
    assert approvals.approve_request(replace(workspace, hub=own.hub()), bank.waiting(asked)).approvals


def test_a_token_that_an_approver_made_of_their_login_signs_nothing(bank: Bank, asked: Workspace) -> None:
    made = bank.bea.hub()._calls.post("make", "a token", "auth/token/create", {"ttl": "1h"}).json()["auth"]
    child = replace(asked, hub=hub_with(bank.lab, made["client_token"]))
    assert child.hub.identity().entity_id == bank.bea.entity
    with pytest.raises(Denied, match="auth/token/create, which is not one of people's"):
        approvals.approve_request(child, bank.waiting(asked))


def test_an_approver_with_a_second_account_does_not_approve_what_it_asks_for(bank: Bank, pair: Two) -> None:
    second = person(bank.lab, "bea", mount="spare")
    settings = bank.settings.model_copy(update={"people": ("auth/people", "auth/spare")})
    workspace = replace(bank.workspace(second, *pair), approvals=settings)
    with pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    approve_as(bank, bank.bea, workspace)
    with pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    assert untouched(bank.lab, *pair)


@pytest.mark.parametrize("twice", ["entity", "public_key"])
def test_the_operators_file_may_not_list_a_person_twice(bank: Bank, twice: str) -> None:
    bea, cleo = (bank.settings.approvers[who.name].model_dump() for who in (bank.bea, bank.cleo))
    with pytest.raises(ValidationError, match="one entity or one key twice"):
        ApprovalSettings.model_validate({"approvers": {"bea": bea, "bea2": {**cleo, twice: bea[twice]}}})


def test_without_a_method_of_people_no_login_approves_and_every_request_needs_two(bank: Bank, pair: Two) -> None:
    settings = bank.settings.model_copy(update={"people": ()})
    workspace = replace(bank.workspace(bank.ana, *pair), approvals=settings)
    with pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    with pytest.raises(Denied, match="is not one of people's"):
        approvals.approve_request(bank.approver(bank.bea, workspace), bank.waiting(workspace))


@pytest.mark.parametrize(
    ("login", "persons"),
    [
        ("auth/oidc/oidc/callback", True),
        ("auth/oidc/login", False),
        ("auth/ldap/login/bea", True),
        ("red/auth/ldap/login/bea", True),
        ("blue/auth/ldap/login/bea", False),
        ("auth/approle/login", False),
        ("auth/login/login", False),
        ("auth/kubernetes/login", False),
        ("auth/token/create", False),
        ("auth/ldap2/login/bea", False),
        ("auth/staff/login", True),
        ("auth/staff/login/x", False),
        ("", False),
    ],
)
def test_a_login_is_a_persons_by_where_the_hub_says_that_it_was_made(login: str, persons: bool) -> None:
    methods = ("auth/oidc", "auth/ldap", "red/auth/ldap", "auth/approle", "auth/kubernetes", "auth/login")
    assert ApprovalSettings(people=(*methods, "auth/staff/login")).is_persons(login) is persons


@pytest.mark.parametrize("method", ["auth/token", "oidc", "auth/", "/auth/oidc", "auth/*", "auth/oidc/"])
def test_an_auth_method_that_is_not_for_people_is_refused(method: str) -> None:
    with pytest.raises(ValidationError):
        ApprovalSettings(people=(method,))


# --- a key of one's own


def test_a_person_signs_with_a_key_of_their_own_from_any_login(
    bank: Bank, asked_by_run: Workspace, worker: Person, pair: Two
) -> None:
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    bea = ApproverSettings(entity=bank.bea.entity, public_key=public)
    named = {**bank.settings.approvers, bank.bea.name: bea}
    workspace = replace(asked_by_run, approvals=bank.settings.model_copy(update={"approvers": named}))
    mine = workspace.hub.identity().entity_id
    (waiting,) = [request for request in bank.requests(workspace) if request.entity == mine]
    with pytest.raises(Invalid, match="has no key in the hub"):
        approvals.approve_request(bank.approver(bank.bea, workspace), waiting)
    with pytest.raises(Denied, match="the key is no approver's"):
        approvals.approve_request(workspace, waiting, KeySigner(Ed25519PrivateKey.generate()))
    approvals.approve_request(workspace, waiting, KeySigner(key))
    approve_as(bank, bank.cleo, workspace)
    assert again(workspace, pair).actor


# --- reviews of a broken glass


def break_the_glass(bank: Bank, who: Person, pair: Two) -> tuple[Workspace, BrokenGlass]:
    """Let somebody end two secrets without a second person."""
    workspace = bank.workspace(who, *pair)
    with going_past_rules(break_glass="no one answers"):
        assert begin(workspace, *pair).actor
    unreviewed = [one for one in broken_glass.list_broken(workspace) if not one.reviewed_by]
    (broken,) = [one for one in unreviewed if one.entity == who.entity]
    return workspace, broken


def test_no_program_reviews_what_was_done_without_a_second_person(bank: Bank, worker: Person, pair: Two) -> None:
    workspace, broken = break_the_glass(bank, bank.ana, pair)
    with pytest.raises(Denied, match="is not among the approvers"):
        broken_glass.review_broken(bank.approver(worker, workspace), broken.id, "all is well")
    assert broken.id in [one.id for one in broken_glass.list_broken(workspace) if not one.reviewed_by]


def test_the_hub_lets_no_worker_change_a_record_or_write_a_review(bank: Bank, worker: Person, pair: Two) -> None:
    _, broken = break_the_glass(bank, bank.ana, pair)
    least = program(bank.lab, "least", policies=["keyturn-worker", "keyturn-revoker"], rules="").hub()
    bea = person(bank.lab, "fay", policies=["keyturn-approver"], rules="").hub()
    calls = [
        ("post", f"keyturn/data/break-glass/{broken.id}", {"data": {"glass": "{}"}}),
        ("delete", f"keyturn/data/break-glass/{broken.id}", None),
        ("delete", f"keyturn/metadata/break-glass/{broken.id}", None),
        ("post", f"keyturn/data/break-glass-reviews/{bank.bea.entity}/{broken.id}", {"data": {"review": "{}"}}),
    ]
    for hub in (least, bea):
        for method, path, body in calls:
            with pytest.raises(Denied):
                getattr(hub._calls, method)("try", path, path, *([body] if body else []))
    place = f"break-glass/BG-20260101-000000-{secrets.token_hex(2)}"
    least.claim_state(place, {"glass": "{}"})
    bank.lab.hub.delete_state(place)


def test_unapproved_access_by_a_program_needs_two_reviewers(bank: Bank, worker: Person, pair: Two) -> None:
    workspace, broken = break_the_glass(bank, worker, pair)
    once = broken_glass.review_broken(bank.approver(bank.bea, workspace), broken.id, "I saw nothing odd")
    assert (once.signed_by, once.reviewed_by) == ((bank.bea.name,), "")
    with pytest.raises(Invalid, match=f"{bank.bea.name} reviewed it"):
        broken_glass.review_broken(bank.approver(bank.bea, workspace), broken.id, "once more")
    twice = broken_glass.review_broken(bank.approver(bank.cleo, workspace), broken.id, "nor did I")
    assert set(twice.signed_by) == {bank.bea.name, bank.cleo.name}
    assert twice.reviewed_by == " and ".join(twice.signed_by)
    outcome, note = notes(workspace, "review")[-1]
    assert outcome is Outcome.DONE
    assert broken.digest in note


def test_a_review_written_directly_to_the_hub_is_ignored(bank: Bank, pair: Two) -> None:
    workspace, broken = break_the_glass(bank, bank.ana, pair)
    at = datetime.now(UTC).isoformat()
    keys = bank.settings.approvers

    def signature(who: Person, about: BrokenGlass, reviewer: str) -> str:
        return sign_text(workspace.hub.signer(str(keys[who.name].key)), about.message(reviewer, at, "fine"))

    other = replace(broken, words="something else")
    for number, (reviewer, signer, about) in enumerate(
        ((bank.ana, bank.ana, broken), (bank.bea, bank.ana, broken), (bank.bea, bank.bea, other))
    ):
        review = Review(reviewer.name, at, "fine", signature(signer, about, reviewer.name))
        bank.lab.keep(f"break-glass-reviews/{number}/{broken.id}", {"review": json.dumps(asdict(review))})
    bank.lab.keep(f"break-glass-reviews/junk/{broken.id}", {"review": "[]"})
    assert broken_glass.read_broken(workspace, broken.id) == broken


JUNK = {
    "BG-20260101-000000-0000": {"glass": "[]"},
    "BG-20260101-000000-0001": {"glass": json.dumps({"id": "BG-20260101-000000-0002"})},
    "junk": {"x": "y"},
    "deeper/BG-20260101-000000-0003": {"glass": "{}"},
}
"""What a worker's login may create next to the records of broken glass."""


def test_an_entry_that_can_not_be_read_hides_no_record_and_counts_as_not_reviewed(
    bank: Bank, worker: Person, pair: Two
) -> None:
    _, broken = break_the_glass(bank, worker, pair)
    workspace = bank.workspace(worker, *pair)
    least = program(bank.lab, "junk", policies=["keyturn-worker"], rules="").hub()
    try:
        for name, data in JUNK.items():
            least.claim_state(f"break-glass/{name}", data)
        unreviewed = {one.id: one.action for one in broken_glass.list_broken(workspace) if not one.reviewed_by}
        assert broken.id in unreviewed
        assert {name for name, action in unreviewed.items() if action == broken_glass.UNREADABLE} == JUNK.keys()
        assert broken_glass.read_broken(workspace, broken.id) == broken
    finally:
        for name in JUNK:
            bank.lab.hub.delete_state(f"break-glass/{name}")


def test_an_unsaved_record_does_not_delay_a_revocation_and_is_in_the_ledger(bank: Bank, pair: Two) -> None:
    rules = 'path "*" {capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]}\n'
    rules += 'path "keyturn/data/break-glass/*" {capabilities = ["deny"]}'
    gus = person(bank.lab, "gus", rules=rules)
    workspace = bank.workspace(gus, *pair)
    with going_past_rules(break_glass="no one answers"):
        assert begin(workspace, *pair).actor
    assert "NOT KEPT FOR A REVIEW" in notes(workspace, "break glass")[-1][1]


# --- access for a while


@pytest.fixture(scope="module")
def given(lab: Lab) -> GivenSite:
    """Bea's approval is enough for a person, and the glass may be broken."""
    people = people_with_least_rights(lab)
    site = given_site(lab, people, reader_role(lab), break_glass=True)
    approvers = {name: approver_of(lab, people[name]) for name in ("bea", "cleo")}
    settings = site.access.settings.model_copy(update={"approvers": approvers})
    robot = program(lab, "robot", policies=["keyturn-requester"], rules="")
    subjects = {"entities": [people["ana"].entity, robot.entity]}
    policy = {**site.access.policy, "subjects": subjects, "approvers": ["bea", "cleo"]}
    return replace(
        site, access=replace(site.access, people={**people, "robot": robot}, settings=settings, policy=policy)
    )


def ask_as_robot(given: GivenSite, *, break_glass: bool = False) -> AccessRequest:
    path, half = given.access.secret.path, timedelta(minutes=30)
    return requests.ask_for_access(given.at_work("robot"), path, half, "a job", break_glass=break_glass)


def test_access_that_a_program_asks_for_needs_one_approval_more(given: GivenSite) -> None:
    request = ask_as_robot(given)
    requests.approve_access(given.at_work("bea"), request.id)
    assert request.needed == 2
    with pytest.raises(Invalid, match="it waits for approvals"):
        deliver_access(given.at_work("granter"), request.id)
    requests.approve_access(given.at_work("cleo"), request.id)
    assert deliver_access(given.at_work("granter"), request.id).stage == GrantStage.ACTIVE


def test_a_program_that_writes_its_request_itself_is_given_nothing_by_one_approval(given: GivenSite) -> None:
    asked = ask_as_robot(given)
    past = replace(asked, id=f"{asked.id[:-8]}{secrets.token_hex(4)}", needed=1, nonce=secrets.token_hex(16))
    given.at_work("robot").hub.claim_state(past.place, {"request": json.dumps(asdict(past))})
    requests.approve_access(given.at_work("bea"), past.id)
    with pytest.raises(Denied, match="auth/approle/login and does not say which person asks: 2 have to approve it"):
        deliver_access(given.at_work("granter"), past.id)


def test_a_request_of_an_ended_login_names_no_person(given: GivenSite) -> None:
    request = given.ask()
    requests.approve_access(given.at_work("bea"), request.id)
    given.lab.root.auth.token.revoke_accessor(request.login)
    with pytest.raises(Denied, match="has ended, so it does not say which person asks"):
        deliver_access(given.at_work("granter"), request.id)


def test_a_program_can_not_take_access_without_approval(given: GivenSite) -> None:
    with pytest.raises(Denied, match="does not say which person breaks the glass"):
        ask_as_robot(given, break_glass=True)
    asked = ask_as_robot(given)
    changes = {"needed": 0, "break_glass": True, "nonce": secrets.token_hex(16)}
    past = replace(asked, id=f"{asked.id[:-8]}{secrets.token_hex(4)}", **changes)  # type: ignore[arg-type]
    given.at_work("robot").hub.claim_state(past.place, {"request": json.dumps(asdict(past))})
    with pytest.raises(Denied, match="does not say which person breaks the glass"):
        deliver_access(given.at_work("granter"), past.id)
