"""Actions that need a second approval can't be done by one person alone."""

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from keyturn.catalogue import Catalogue
from keyturn.catalogue.files.policy_file import load_policy
from keyturn.catalogue.files.problems import CatalogueInvalid
from keyturn.catalogue.operator.hourly_limits import LimitSettings
from keyturn.cli.app import app
from keyturn.core.actor import PastRules, past_rules
from keyturn.core.errors import Denied, Invalid, OverLimit
from keyturn.core.notifications.channel import Announcement
from keyturn.core.overrides import Waive
from keyturn.core.ports.ledger import Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents.give_up import give_up_incident
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.incidents.store import find_incident
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.signers import Approval
from keyturn.rotation.state import approvals
from keyturn.rotation.state import break_glass as broken_glass
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.prepare import POLICIES
from tests.support.bank import Bank, approver_of, begin, forge, notes, untouched
from tests.support.lab import Declared, Lab, fresh
from tests.support.people import Person, person, program

pytestmark = pytest.mark.sampled(3, of="file")


# --- who approves


def test_one_person_alone_revokes_nothing_and_learns_who_may_approve(
    bank: Bank, pair: tuple[Declared, Declared]
) -> None:
    workspace, incident = bank.workspace(bank.ana, *pair), fresh()
    with pytest.raises(
        Denied, match=f"{bank.bea.name} or {bank.cleo.name} runs `keyturn access approve REQ-"
    ) as refused:
        begin(workspace, *pair, incident=incident)
    assert bank.ana.name not in refused.value.hint
    assert untouched(bank.lab, *pair)
    assert find_incident(workspace, incident) is None


def test_with_a_second_approval_it_is_done_and_the_ledger_names_both_people(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]
) -> None:
    signed = bank.approve(bank.bea, asked)
    incident = begin(asked, *pair)
    run.finish(asked, incident.id)
    assert not untouched(bank.lab, *pair)
    (outcome, note) = notes(asked, "approved")[-1]
    assert outcome is Outcome.DONE
    assert f"digest {signed.digest}, by {bank.bea.name} (signature {signed.approvals[0].signature})" in note
    assert bank.ana.name in incident.actor


def test_a_requester_can_not_approve_although_the_file_lists_them(bank: Bank, asked: Workspace) -> None:
    with pytest.raises(Denied, match="you have asked for it yourself"):
        bank.approve(bank.ana, asked)


def test_a_self_signed_request_written_to_the_hub_is_not_approved(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]
) -> None:
    request, own = bank.waiting(asked), bank.settings.approvers[bank.ana.name]
    signature = base64.b64encode(asked.hub.signer(str(own.key)).sign(request.message)).decode()
    forge(bank, request, approvals=(Approval(bank.ana.name, request.asked_at, signature),))
    with pytest.raises(Denied, match="can't sign for themselves"):
        begin(asked, *pair)
    assert untouched(bank.lab, *pair)


def test_a_signature_under_anothers_name_does_not_hold(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]
) -> None:
    request, own = bank.waiting(asked), bank.settings.approvers[bank.ana.name]
    signature = base64.b64encode(asked.hub.signer(str(own.key)).sign(request.message)).decode()
    forge(bank, request, approvals=(Approval(bank.bea.name, request.asked_at, signature),))
    with pytest.raises(Denied, match="is not over this request"):
        begin(asked, *pair)
    assert untouched(bank.lab, *pair)


@pytest.mark.parametrize("approver", ["nobody", ""])
def test_a_name_that_the_operator_does_not_know_approves_nothing(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared], approver: str
) -> None:
    signed = bank.approve(bank.bea, asked)
    forge(bank, signed, approvals=(replace(signed.approvals[0], approver=approver),))
    with pytest.raises(Denied, match="is not among the approvers of the operator's file"):
        begin(asked, *pair)


def test_a_person_who_is_not_in_the_file_can_not_approve(bank: Bank, asked: Workspace) -> None:
    dora = person(bank.lab, "dora")
    with pytest.raises(Denied, match="is not among the approvers"):
        bank.approve(dora, asked)


def test_a_key_that_is_not_the_files_signs_nothing(bank: Bank, asked: Workspace) -> None:
    other = bank.settings.approvers[bank.cleo.name].public_key
    bea = bank.settings.approvers[bank.bea.name].model_copy(update={"public_key": other})
    settings = bank.settings.model_copy(update={"approvers": {bank.bea.name: bea}})
    with pytest.raises(Denied, match="is not the one that the operator's file names"):
        approvals.approve_request(replace(bank.approver(bank.bea, asked), approvals=settings), bank.waiting(asked))


# --- for what


@pytest.mark.parametrize(
    "change", [{"reason": "something else"}, {"mode": Mode.REVOKE_ONLY}, {"selector": "all of them"}]
)
def test_an_approval_is_for_exactly_what_was_asked(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared], change: dict[str, Any]
) -> None:
    bank.approve(bank.bea, asked)
    with pytest.raises(Denied):
        begin(asked, *pair, **change)
    assert untouched(bank.lab, *pair)


def test_an_approval_of_some_secrets_does_not_cover_others(bank: Bank) -> None:
    secrets = [bank.lab.generated() for _ in range(3)]
    workspace = bank.workspace(bank.ana, *secrets)
    with pytest.raises(Denied):
        begin(workspace, *secrets[:2])
    bank.approve(bank.bea, workspace)
    with pytest.raises(Denied):
        begin(workspace, *secrets)
    assert untouched(bank.lab, *secrets)


@pytest.mark.parametrize("name", ["about", "expires_at", "size", "nonce"])
def test_a_request_that_was_changed_after_it_was_signed_is_invalid(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared], name: str
) -> None:
    signed = bank.approve(bank.bea, asked)
    later = (datetime.fromisoformat(signed.expires_at) + timedelta(seconds=30)).isoformat()
    changed: Any = {"about": {**signed.about, "reason": "other"}, "expires_at": later, "size": 1, "nonce": "0"}[name]
    forge(bank, signed, **{name: changed})
    if name in ("about", "size"):
        # What is signed is told anew from what is asked for: what the hub keeps of it decides nothing.
        assert begin(asked, *pair).closed_at is None
        return
    with pytest.raises(Denied, match="is not over this request"):
        begin(asked, *pair)
    assert untouched(bank.lab, *pair)


def test_an_approval_is_used_once(bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]) -> None:
    bank.approve(bank.bea, asked)
    first = begin(asked, *pair)
    assert begin(asked, *pair, incident=first.id).id == first.id, "who comes back to it needs no second one"
    with pytest.raises(Denied, match="a second person has to approve it"):
        begin(asked, *pair)


def test_an_approval_runs_out(bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]) -> None:
    bank.approve(bank.bea, asked)
    later = asked.hub_now() + timedelta(minutes=61)
    with pytest.raises(Denied, match="a second person has to approve it"):
        begin(replace(asked, hub_clock=lambda: later), *pair)
    assert untouched(bank.lab, *pair)


def test_an_expired_request_can_not_be_approved(bank: Bank, asked: Workspace) -> None:
    later = asked.hub_now() + timedelta(minutes=61)
    with pytest.raises(Invalid, match="it is over"):
        bank.approve(bank.bea, replace(asked, hub_clock=lambda: later))


def test_an_approval_is_valid_for_its_requester_alone(
    bank: Bank, asked: Workspace, pair: tuple[Declared, Declared]
) -> None:
    bank.approve(bank.bea, asked)
    with pytest.raises(Denied, match="a second person has to approve it"):
        begin(bank.approver(bank.cleo, asked), *pair)
    assert untouched(bank.lab, *pair)


def test_a_request_of_a_login_without_a_person_needs_two_approvals(bank: Bank, pair: tuple[Declared, Declared]) -> None:
    workspace = replace(bank.lab.open(*pair).workspace, approvals=bank.settings)
    with pytest.raises(Denied, match="2 people have to approve it"):
        begin(workspace, *pair)
    assert untouched(bank.lab, *pair)


def test_a_flood_of_requests_is_limited(bank: Bank) -> None:
    secrets = [bank.lab.generated() for _ in range(4)]
    workspace = replace(bank.workspace(bank.ana, *secrets), limits=LimitSettings(incidents=2))
    bank.lab.keep("limits/requests", {"limits": "[]"})
    for other in secrets[1:3]:
        with pytest.raises(Denied):
            begin(workspace, secrets[0], other)
    with pytest.raises(OverLimit, match="2 approvals were asked for within the hour"):
        begin(workspace, secrets[0], secrets[3])
    bank.lab.keep("limits/requests", {"limits": "[]"})


# --- what needs it


def test_an_action_that_the_file_does_not_list_needs_no_approval(bank: Bank) -> None:
    secret = bank.lab.generated()
    assert begin(bank.workspace(bank.ana, secret), secret).closed_at is None


def test_giving_an_incident_up_needs_a_second_person(bank: Bank) -> None:
    secret = bank.lab.generated()
    workspace = bank.workspace(bank.ana, secret)
    opened = begin(workspace, secret)
    with pytest.raises(Denied, match="a second person"):
        give_up_incident(workspace, opened.id, "looked by hand")
    bank.approve(bank.bea, workspace)
    assert give_up_incident(workspace, opened.id, "looked by hand").incident.given_up == "looked by hand"


def test_ending_a_credential_in_use_needs_a_second_person(bank: Bank) -> None:
    secret = bank.lab.alternating()
    workspace = bank.workspace(bank.ana, secret)
    rotate(workspace, secret.path, Trigger.FORCE)
    for end in (
        lambda: retire(workspace, secret.path, Waive.EVERYTHING),
        lambda: rotate(workspace, secret.path, Trigger.FORCE, end_previous=True),
    ):
        with pytest.raises(Denied, match="a second person"):
            end()
    assert bank.lab.logs_in(secret.first)
    bank.approve(bank.bea, workspace)
    assert retire(workspace, secret.path, Waive.EVERYTHING).retired
    assert not bank.lab.logs_in(secret.first)


# --- breaking the glass


@pytest.fixture
def in_need() -> Iterator[None]:
    token = past_rules.set(PastRules(break_glass="nobody answers, ticket 4711"))
    yield
    past_rules.reset(token)


@pytest.mark.usefixtures("in_need")
def test_an_emergency_override_is_reported_and_listed_until_another_person_reviews_it(
    bank: Bank, pair: tuple[Declared, Declared]
) -> None:
    told = list[Announcement]()
    channel: Any = type("Pager", (), {"send": staticmethod(told.append)})()
    workspace = replace(bank.workspace(bank.ana, *pair), channel=channel)
    assert begin(workspace, *pair).closed_at is None
    (broken,) = [
        one for one in broken_glass.list_broken(workspace) if one.entity == bank.ana.entity and not one.reviewed_by
    ]
    assert broken.reason == "nobody answers, ticket 4711"
    assert notes(workspace, "break glass")[-1][1].startswith(broken.id)
    assert [broken.id in one.body for one in told] == [True]
    with pytest.raises(Denied, match="you have broken it yourself"):
        broken_glass.review_broken(workspace, broken.id, "all is well")
    reviewed = broken_glass.review_broken(bank.approver(bank.bea, workspace), broken.id, "as it should be")
    assert reviewed.reviewed_by == bank.bea.name
    assert broken.id not in [one.id for one in broken_glass.list_broken(workspace) if not one.reviewed_by]


# --- the commands


def test_the_commands_do_the_same(
    bank: Bank, pair: tuple[Declared, Declared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue").mkdir()
    rotation = "{strategy: generated, interval: 30d, grace: 1h}"
    entries = (f"  {one.path}: {{owner: a@b.c, classification: internal, rotation: {rotation}}}" for one in pair)
    (tmp_path / "catalogue" / "all.yaml").write_text("\n".join(["secrets:", *entries]))
    policy = {"approvals": bank.settings.model_dump(mode="json", exclude={"valid_for"})}
    own, file = Ed25519PrivateKey.generate(), tmp_path / "cleo.pem"
    file.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    public = base64.b64encode(own.public_key().public_bytes_raw()).decode()
    policy["approvals"]["approvers"][bank.cleo.name] = {"entity": bank.cleo.entity, "public_key": public}
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("VAULT_ADDR", bank.lab.world.hub_address)

    def run(who: Person, *arguments: str) -> Result:
        monkeypatch.setenv("VAULT_TOKEN", who.token())
        return CliRunner().invoke(app, list(arguments))

    revoke = ("revoke", *(one.path for one in pair), "--reason", "leaked", "--yes", "--local")
    refused = run(bank.ana, *revoke)
    assert refused.exit_code == 1
    (request,) = set(re.findall(r"REQ-[0-9a-f]{8}", refused.stderr))
    assert run(bank.ana, "approve", request, "--yes").exit_code == 1
    assert untouched(bank.lab, *pair)
    approved = run(bank.bea, "approve", request, "--yes")
    assert approved.exit_code == 0, approved.output
    assert all(one.path in approved.stdout for one in pair)
    assert run(bank.ana, *revoke).exit_code == 0
    assert not untouched(bank.lab, *pair)

    assert run(bank.ana, *revoke, "--break-glass", "nobody answers").exit_code == 0
    listed = json.loads(run(bank.ana, "incidents", "--json").stdout)["unreviewed"]
    (broken,) = [one["id"] for one in listed if one["entity"] == bank.ana.entity]
    assert f"NOT REVIEWED {broken}" in run(bank.ana, "due").stderr
    assert run(bank.ana, "review", broken, "--verdict", "fine").exit_code == 1
    assert run(bank.cleo, "review", broken, "--verdict", "fine").exit_code == 1, "her key is not in the hub"
    reviewed = run(bank.cleo, "review", broken, "--verdict", "fine", "--key-file", str(file), "--json")
    assert json.loads(reviewed.stdout)["reviewed_by"] == bank.cleo.name
    assert broken not in run(bank.ana, "due").stderr
    assert run(bank.bea, "approve", "REQ-../../x", "--yes").exit_code == 1


# --- rights


def test_an_approvers_policy_lets_them_sign_with_their_own_key_alone_and_end_nothing(bank: Bank) -> None:
    root = bank.lab.root
    root.sys.create_or_update_policy("keyturn-approver", (POLICIES / "keyturn-approver.hcl").read_text())
    emil = person(bank.lab, "emil", policies=["keyturn-approver"], rules="")
    approver_of(bank.lab, emil)
    hub = emil.hub()
    assert len(hub.signer(f"keyturn-approver-{emil.name}").sign(b"x")) == 64
    refused = [
        ("post", "transit/sign/keyturn-approver-" + bank.bea.name, {"input": "eA=="}),
        ("post", "transit/sign/keyturn-ledger", {"input": "eA=="}),
        ("post", "keyturn/data/incidents/x/head", {"data": {"incident": "{}"}}),
        ("post", "secret/data/tests/x", {"data": {"a": "b"}}),
        ("post", "sys/leases/revoke", {"lease_id": "database/creds/x"}),
    ]
    for method, path, body in refused:
        with pytest.raises(Denied):
            getattr(hub._calls, method)("try", path, path, body)
    with pytest.raises(Denied):
        hub.read("tests/x")


def test_a_worker_can_not_sign_for_an_approver(bank: Bank) -> None:
    root = bank.lab.root
    for name in ("keyturn-worker", "keyturn-revoker"):
        root.sys.create_or_update_policy(name, (POLICIES / f"{name}.hcl").read_text())
    worker = program(bank.lab, "worker", policies=["keyturn-worker", "keyturn-revoker"], rules="")
    with pytest.raises(Denied):
        worker.hub().signer(f"keyturn-approver-{bank.bea.name}")


# --- the operator's file


def test_the_operators_file_sets_approvers_and_actions_for_every_workspace(lab: Lab, tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    file = tmp_path / "policy.yaml"
    file.write_text(
        f"limits: {{incidents: 7}}\napprovals:\n  incidents_over: 3\n"
        f"  approvers: {{bea: {{entity: e-1, key: keyturn-approver-bea, public_key: {key}}}}}\n"
    )
    policy = load_policy({"KEYTURN_POLICY": str(file)}, tmp_path / "catalogue")
    workspace = open_workspace(Catalogue(policy=policy), lab.hub)
    assert (workspace.limits.incidents, workspace.approvals.incidents_over) == (7, 3)
    assert workspace.approvals.approvers["bea"].entity == "e-1"


@pytest.mark.parametrize(
    "text",
    [
        "approvals: {revoke_only: true}",
        "approvals: {approvers: {bea: {entity: e, key: k, public_key: c2hvcnQ=}}}",
        "approvals: {approvers: {bea: {entity: e, key: ../k, public_key: c2hvcnQ=}}}",
        "approvals: {revoke_olny: true}",
        "limits: {incidents: 0}",
    ],
)
def test_an_invalid_file_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(CatalogueInvalid):
        load_policy({"KEYTURN_POLICY": str(tmp_path / "policy.yaml")}, tmp_path / "catalogue")
