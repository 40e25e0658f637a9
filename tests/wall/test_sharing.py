"""Secrets are shared with another organisation only after named people of both sign."""

import base64
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.catalogue import Catalogue
from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.catalogue.operator.partners import PartnerSettings
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.cli.app import app
from keyturn.core.errors import Denied, Invalid, NotFound, Rewritten, Unavailable
from keyturn.core.notifications.channel import Announcement
from keyturn.core.plan import Action
from keyturn.core.ports.ledger import Outcome
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.signed_notes import PublicKey
from keyturn.organisations import sharing
from keyturn.organisations.projects import shared_uses
from keyturn.organisations.sharing_proof import SharingProof, check_sharing, prove_sharing
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.revocation import run as incidents
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.state.agreements import REMAINS, Agreement, list_agreements
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry, note_down
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.ledger import configured_ledger, make_checkpoint, public_key
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.prepare import POLICIES
from tests.hub_setup.site import Empty, empty_hub
from tests.ledger.keys import Key
from tests.manual.lines import lines_of
from tests.organisations.site import secret
from tests.support.hooks import Hooked, raising
from tests.support.lab import LOOSE
from tests.support.people import PASSWORD

pytestmark = pytest.mark.sampled(10, of="file")

PAGE = (Path(__file__).parents[2] / "docs" / "organisations.md").read_text()
PATH, NAME = "harvest/api-key", "from-red/api-key"
STORE_POLICY = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "secret/data/from-red/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/*" { capabilities = ["create", "read", "update", "patch", "list", "delete"] }
path "secret/detailed-metadata/*" { capabilities = ["list"] }
path "secret/delete/from-red/*" { capabilities = ["update"] }
path "secret/destroy/from-red/*" { capabilities = ["update"] }
path "keyturn/data/agreements/red/*" { capabilities = ["read"] }
"""


@dataclass
class Side:
    """One organisation, with a person who signs for it."""

    name: str
    empty: Empty
    entity: str = ""
    token: str = ""
    public_key: str = ""

    @property
    def signer(self) -> str:
        return f"{self.name}-ana"

    def prepare(self) -> "Side":
        """Mounts, and a person with a key of their own."""
        root = self.empty.root
        for path, kind in (("secret", "kv"), ("keyturn", "kv"), ("transit", "transit")):
            options = {"version": "2"} if kind == "kv" else None
            root.sys.enable_secrets_engine(kind, path=path, options=options)
        key = f"keyturn-approver-{self.signer}"
        root.secrets.transit.create_key(key, key_type="ed25519")
        self.public_key = root.secrets.transit.read_key(key)["data"]["keys"]["1"]["public_key"]
        root.sys.enable_auth_method("userpass")
        root.sys.create_or_update_policy("keyturn-approver", (POLICIES / "keyturn-approver.hcl").read_text())
        root.auth.userpass.create_or_update_user(self.signer, PASSWORD, policies=["keyturn-approver"])
        accessor = root.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
        self.entity = root.secrets.identity.create_or_update_entity(name=self.signer)["data"]["id"]
        root.secrets.identity.create_or_update_entity_alias(
            name=self.signer, canonical_id=self.entity, mount_accessor=accessor
        )
        login = root.auth.userpass.login(self.signer, PASSWORD, use_token=False)
        self.token = str(login["auth"]["client_token"])
        return self

    def approver(self) -> ApproverSettings:
        return ApproverSettings(entity=self.entity, key=f"keyturn-approver-{self.signer}", public_key=self.public_key)


@dataclass
class Pair:
    """Red, which gives a secret, and blue, which has a copy of it."""

    red: Side
    blue: Side
    directory: Path
    stack: ExitStack

    def workspace(self, side: Side, other: Side, *, signing: bool = False) -> Workspace:
        """One side's; worked in by the person who is ``signing`` for it, with the least rights, or by a worker."""
        partner = PartnerSettings(hub_part=other.empty.namespace, signers={other.signer: other.public_key})
        policy = OperatorsPolicy(
            organisation=side.name,
            partners={other.name: partner},
            approvals=ApprovalSettings(
                people=(f"{side.empty.namespace.strip('/')}/auth/userpass",), approvers={side.signer: side.approver()}
            ),
        )
        red = side is self.red
        store = {
            "kind": "vault",
            "address": other.empty.server.address,
            "namespace": other.empty.namespace,
            "ca_file": other.empty.server.ca_file,
            "token_file": str(self.directory / "store-token"),
        }
        shared = {**secret("harvest", destinations=[{"store": "theirs", "name": NAME}]), "path": PATH}
        declared = {"stores": {"theirs": store}, "secrets": {PATH: shared}} if red else {}
        hub = side.empty.as_token(side.token if signing else side.empty.server.root_token)
        self.stack.callback(hub.close)
        catalogue = Catalogue.model_validate(declared).model_copy(update={"policy": policy})
        opened = open_workspace(catalogue, hub)
        return replace(opened, limits=LOOSE, sleep=lambda seconds: None)

    def giving(self) -> Workspace:
        return self.workspace(self.red, self.blue)

    def having(self) -> Workspace:
        return self.workspace(self.blue, self.red)

    def signing(self, side: str) -> Workspace:
        """The same of who signs for one of them."""
        red, blue = self.red, self.blue
        return self.workspace(red, blue, signing=True) if side == "red" else self.workspace(blue, red, signing=True)

    def propose(self, until: str = "") -> Agreement:
        return sharing.propose_sharing(self.signing("red"), PATH, "blue", "they run the reaper", until)

    def agree(self, until: str = "") -> Agreement:
        return sharing.accept_sharing(self.signing("blue"), self.propose(until))

    def copy(self) -> dict[str, Any] | None:
        """What blue reads."""
        read = self.blue.empty.hub.read(NAME)
        return read.fields.reveal() if read else None

    def sync(self, workspace: Workspace | None = None) -> CopyState:
        (pushed,) = sync_destinations(workspace or self.giving(), PATH)
        return pushed.state


@pytest.fixture
def pair(openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    with ExitStack() as stack:
        sides = []
        for name in ("red", "blue"):
            directory = tmp_path / name
            directory.mkdir()
            sides.append(Side(name, stack.enter_context(empty_hub(openbao, directory))).prepare())
        red, blue = sides
        blue.empty.root.sys.create_or_update_policy("red", STORE_POLICY)
        (tmp_path / "store-token").write_text(blue.empty.token("red"))
        red.empty.hub.write(PATH, SecretFields({"value": "canary"}), cas=0)
        made = Pair(red, blue, tmp_path, stack)
        for workspace in (made.giving(), made.having()):
            # A worker has named the hub's ledger.
            note_down(workspace, [entry(workspace, "look", Outcome.DONE)])
        yield made


def test_with_both_signatures_the_copy_is_in_sync_and_without_either_there_is_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair.sync() is CopyState.WITHHELD
    proposal = pair.propose()
    assert (pair.sync(), pair.copy()) == (CopyState.WITHHELD, None)
    accepted = sharing.accept_sharing(pair.signing("blue"), proposal)
    assert accepted.digest == proposal.digest
    assert (pair.sync(), pair.copy()) == (CopyState.CREATED, {"value": "canary"})
    assert pair.sync() is CopyState.IN_STEP
    ((_, kept),) = list_agreements(pair.giving())
    assert sharing.describe_agreement(pair.giving(), kept) == "in force"


@pytest.mark.parametrize("side", ["red", "blue"])
def test_an_agreement_withdrawn_by_one_side_ends_with_the_next_sync(pair: Pair, side: str) -> None:
    agreed = pair.agree()
    assert pair.sync() is CopyState.CREATED
    sharing.withdraw_sharing(pair.signing(side), agreed.id, "no more")
    giving = pair.giving()
    (item,) = plan(giving).items
    assert item.action is Action.DELETE
    assert f"{side} has withdrawn it" in item.why
    if side == "red":
        assert pair.sync(giving) is CopyState.WITHHELD
    else:
        (result,) = carry_out(giving, plan(giving), local_executor(Applier(giving)))
        assert result.error == ""
    assert pair.copy() is None
    (item,) = plan(giving).items
    assert item.action is Action.BLOCKED
    again = sharing.accept_sharing(pair.signing("blue"), pair.propose())
    assert (again.id, pair.sync()) == (agreed.id, CopyState.UPDATED)


def test_an_agreement_ends_by_itself_by_the_hubs_clock(pair: Pair) -> None:
    now = pair.giving().hub_now()
    pair.agree((now + timedelta(days=1)).isoformat())
    assert pair.sync() is CopyState.CREATED
    later = replace(pair.giving(), hub_clock=lambda: now + timedelta(days=2))
    assert (pair.sync(later), pair.copy()) == (CopyState.WITHHELD, None)


def test_only_listed_people_sign_and_no_entry_is_an_agreement_by_itself(pair: Pair) -> None:
    stranger = replace(pair.giving(), hub=pair.red.empty.hub)
    with pytest.raises(Denied, match="is not among the approvers"):
        sharing.propose_sharing(stranger, PATH, "blue", "x", "")
    with pytest.raises(NotFound, match="does not name it"):
        sharing.propose_sharing(pair.signing("red"), PATH, "green", "x", "")
    proposal = pair.propose()
    for forged in (
        replace(proposal, path="other/secret"),
        replace(proposal, until="2036-01-01T00:00:00+00:00"),
        replace(proposal, signer="mallory"),
        replace(proposal, signature=""),
        replace(proposal, receiver="green"),
    ):
        with pytest.raises(Invalid):
            sharing.accept_sharing(pair.signing("blue"), forged)
    with pytest.raises(Denied, match="is not among the approvers"):
        sharing.accept_sharing(replace(pair.having(), hub=pair.blue.empty.hub), proposal)
    # What the giver has signed is not what the receiver says, wherever it is copied to.
    copied = {"agreement": json.dumps(asdict(proposal))}
    pair.blue.empty.hub.write_state(proposal.place("red"), copied, cas=0)
    assert pair.sync() is CopyState.WITHHELD
    assert pair.copy() is None


def test_a_changed_entry_or_a_removed_signer_ends_it(pair: Pair) -> None:
    agreed = pair.agree()
    assert pair.sync() is CopyState.CREATED
    workspace = pair.giving()
    partners = {
        "blue": workspace.catalogue.policy.partners["blue"].model_copy(
            update={"signers": {"else": pair.red.public_key}}
        )
    }
    policy = workspace.catalogue.policy.model_copy(update={"partners": partners})
    fewer = replace(workspace, catalogue=workspace.catalogue.model_copy(update={"policy": policy}))
    assert (pair.sync(fewer), pair.copy()) == (CopyState.WITHHELD, None)
    assert pair.sync() is CopyState.UPDATED
    place = agreed.place("red")
    state = pair.blue.empty.hub.read_state(place)
    assert state is not None
    later = replace(agreed, until="2036-01-01T00:00:00+00:00")
    pair.blue.empty.hub.write_state(place, {"agreement": json.dumps(asdict(later))}, cas=state.version)
    assert pair.sync() is CopyState.WITHHELD


def test_a_value_written_over_a_copy_stays_at_its_end_and_is_reported(pair: Pair) -> None:
    agreed = pair.agree()
    assert pair.sync() is CopyState.CREATED
    pair.blue.empty.hub.write(NAME, SecretFields({"value": "theirs"}), cas=1)
    sharing.withdraw_sharing(pair.signing("blue"), agreed.id, "we run it no more")
    (pushed,) = sync_destinations(pair.giving(), PATH)
    (item,) = plan(pair.giving()).items
    assert (pushed.state, pair.copy()) == (CopyState.WITHHELD, {"value": "theirs"})
    assert item.action is Action.BLOCKED
    assert all(why.endswith(REMAINS) for why in (pushed.error, item.why))


def test_if_the_other_side_is_unreachable_nothing_is_written_or_ended(pair: Pair) -> None:
    pair.agree()
    assert pair.sync() is CopyState.CREATED
    away: Any = Hooked(pair.blue.empty.hub, read_state=raising(Unavailable("ask", "blue", "it is away", "Wait")))
    blind = replace(pair.giving(), open_partner=lambda name: away)
    assert pair.sync(blind) is CopyState.FAILED
    (item,) = plan(blind).items
    assert item.action is Action.BLOCKED
    assert pair.copy() == {"value": "canary"}


@pytest.mark.parametrize(("namespace", "mount"), [("", "{}/secret"), ("{}/", "secret"), ("/{}", "secret")])
def test_no_other_spelling_of_a_place_bypasses_the_agreement(pair: Pair, namespace: str, mount: str) -> None:
    partner = PartnerSettings(hub_part=pair.blue.empty.namespace, signers={"ana": pair.blue.public_key})
    store = pair.giving().catalogue.store("theirs")
    inside = pair.blue.empty.namespace
    spelled = store.model_copy(update={"namespace": namespace.format(inside) or None, "mount": mount.format(inside)})
    assert partner.has(spelled)
    assert not partner.has(store.model_copy(update={"namespace": f"{inside}x"}))


@dataclass
class Page:
    """A channel that is away so many times."""

    away: int = 0
    heard: list[Announcement] = field(default_factory=list)

    def send(self, announcement: Announcement) -> None:
        self.away -= 1
        if self.away >= 0:
            raise Unavailable("tell", "blue", "it is away", "Wait")
        self.heard.append(announcement)


@pytest.mark.parametrize("page", [None, Page(), Page(away=2)])
def test_a_revocation_notifies_the_other_organisation_and_its_report_names_it(pair: Pair, page: Page | None) -> None:
    pair.agree()
    pair.sync()
    workspace = replace(pair.giving(), partner_channel=lambda name: page)
    assert [use.why for use in shared_uses(workspace.catalogue, [PATH])] == ["blue has a copy of it"]
    incidents.begin(
        workspace,
        Selection((PATH,)),
        incident="INC-1",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=PATH,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )
    status = incidents.finish(workspace, "INC-1")
    events = [(event.place, event.said) for event in status.secrets[0].events if event.place == "organisation blue"]
    assert NAME in events[-1][1]
    assert status.left == ()
    if page:
        assert [PATH in announcement.subject for announcement in page.heard] == [True]
        assert "was notified" in events[-1][1]
    else:
        assert "notify it by hand" in " ".join(status.secrets[0].remains)


def test_the_commands_do_the_same(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(pair.directory / "state"))
    monkeypatch.setenv("VAULT_ADDR", pair.red.empty.server.address)
    monkeypatch.setenv("VAULT_CACERT", pair.red.empty.server.ca_file or "")
    monkeypatch.chdir(pair.directory)
    for side, workspace in ((pair.red, pair.giving()), (pair.blue, pair.having())):
        (pair.directory / side.name / "catalogue").mkdir()
        given = workspace.catalogue.model_dump(mode="json", include={"stores"}, exclude_defaults=True)
        copies = [{"store": "theirs", "name": NAME}] if given else []
        declared = {**given, "secrets": {PATH: secret("harvest", destinations=copies)}}
        (pair.directory / side.name / "catalogue" / "all.yaml").write_text(json.dumps(declared))
        policy = workspace.catalogue.policy.model_dump(mode="json", include={"organisation", "partners", "approvals"})
        policy["approvals"] = {name: policy["approvals"][name] for name in ("people", "approvers")}
        authority = Path(pair.red.empty.server.ca_file or "/run/none").parent
        policy["files"] = [os.path.realpath(place) for place in (pair.directory, authority)]
        (pair.directory / side.name / "policy.yaml").write_text(json.dumps(policy))

    def run(side: Side, line: str) -> Result:
        monkeypatch.setenv("VAULT_NAMESPACE", side.empty.namespace)
        worker = "keyturn sync" in line
        monkeypatch.setenv("VAULT_TOKEN", side.empty.server.root_token if worker else side.token)
        monkeypatch.setenv("KEYTURN_POLICY", str(pair.directory / side.name / "policy.yaml"))
        monkeypatch.setenv("KEYTURN_CATALOGUE", str(pair.directory / side.name / "catalogue"))
        return CliRunner().invoke(app, shlex.split(line)[1:])

    sides, commands = {"red": pair.red, "blue": pair.blue}, shared_commands()
    assert [whose for whose, _ in commands] == ["red", "blue", "red", "red", "blue", "red"]
    for whose, command in commands:
        name = next((agreement.id for _, agreement in list_agreements(pair.giving())), "")
        done = run(sides[whose], command.replace("AG-3f9a1c07d2e45b68", name))
        assert done.exit_code == 0, (command, done.output)
        if "list" in command:
            assert "in force" in " ".join(done.output.split())
            assert pair.sync() is CopyState.CREATED
    assert pair.copy() is None
    assert [command for _, command in commands] == lines_of("organisations.md", "keyturn share", "keyturn sync")[:6]
    with the_ledger(pair):
        for line in proving(pair, name):
            command, _, file = line.partition(" > ")
            done = run(pair.red, command)
            assert done.exit_code == 0, (line, done.output)
            if file:
                (pair.directory / file).write_text(done.stdout)


def proving(pair: Pair, name: str) -> list[str]:
    """What the page says to type for the proof, about this agreement and with the signers of here."""
    part = PAGE.partition("\n## Prove an agreement\n")[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^\$ (keyturn .*)$", part)
    prove, _, check = lines
    assert [prove, check] == lines_of("organisations.md", "keyturn share")[-2:]
    for side, whose in zip((pair.red, pair.blue), ("red:ana=KEY", "blue:bea=KEY"), strict=True):
        lines = [line.replace(whose, f"{side.name}:{side.signer}={side.public_key}") for line in lines]
    return [line.replace("AG-3f9a1c07d2e45b68", name) for line in lines]


def shared_commands() -> list[tuple[str, str]]:
    """What the page says to type on either side, in its order."""
    part = PAGE.partition("\n## Share a secret\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```", part)
    lines = [line for block in blocks for line in block.splitlines()]
    return [(line.partition("$ ")[0], line.partition("$ ")[2]) for line in lines]


# --- the proof


@contextmanager
def the_ledger(pair: Pair) -> Iterator[tuple[StoredLedger, list[PublicKey]]]:
    """The ledger, signed as it stands, and the keys that check it."""
    pair.red.empty.root.secrets.transit.create_key("keyturn-ledger", key_type="ed25519")
    workspace = pair.giving()
    with closing(configured_ledger(os.environ)) as ledger:
        make_checkpoint(workspace.hub, ledger, workspace.clock)
        yield ledger, [public_key(workspace.hub, ledger.origin)]


def signers_of(pair: Pair) -> dict[tuple[str, str], bytes]:
    return {(side.name, side.signer): base64.b64decode(side.public_key) for side in (pair.red, pair.blue)}


@pytest.mark.parametrize("teller", ["red", "blue"])
def test_an_agreement_is_provable_with_public_keys_alone(pair: Pair, teller: str) -> None:
    agreed, workspace = pair.agree(), pair.giving() if teller == "red" else pair.having()
    with the_ledger(pair) as (ledger, keys):
        proof = SharingProof.from_json(prove_sharing(workspace, ledger, agreed.id).to_json())
    signers = signers_of(pair)
    proven = check_sharing(proof, signers, keys, verify_ed25519)
    assert (proven.agreement, proven.lacking, proven.withdrawn_at) == (agreed.side(), "", None)
    assert proven.signed_by == {"red": "red-ana", "blue": "blue-ana"}
    first, second = proof.sides
    forged = [
        replace(proof, agreement=replace(proof.agreement, path="other/secret")),
        replace(proof, agreement=replace(proof.agreement, until="2036-01-01T00:00:00+00:00")),
        replace(proof, sides=(first, replace(second, signature=first.signature))),
        replace(proof, sides=(first, first)),
        replace(proof, sides=(second,), lacking=""),
        replace(proof, teller="green"),
        replace(proof, entries=()),
        replace(proof, sides=(replace(first, ended_by="red-ana", because="no more"), second)),
    ]
    for other in forged:
        with pytest.raises(Rewritten):
            check_sharing(other, signers, keys, verify_ed25519)
    for some, believed in (({}, keys), (signers, [Key().public()])):
        with pytest.raises(Rewritten):
            check_sharing(proof, some, believed, verify_ed25519)
    file = pair.directory / "agreed.json"
    file.write_text(proof.to_json())
    known = [f"{organisation}:{name}={base64.b64encode(key).decode()}" for (organisation, name), key in signers.items()]
    options = [*(part for text in known for part in ("--signer", text)), "--public-key", str(keys[0])]
    checked = CliRunner().invoke(app, ["share", "check", str(file), *options])
    assert checked.exit_code == 0, checked.output
    assert f"proved: {agreed.id}" in checked.stderr
    file.write_text(replace(proof, sides=(first,)).to_json())
    assert CliRunner().invoke(app, ["share", "check", str(file), *options]).exit_code == 3
    alone = check_sharing(replace(proof, sides=(first,), lacking=""), signers, keys, verify_ed25519)
    assert alone.lacking == f"{second.organisation} has not signed it"


def test_a_proof_shows_its_withdrawal_and_unverifiable_signatures(pair: Pair) -> None:
    agreed = pair.agree()
    sharing.withdraw_sharing(pair.signing("blue"), agreed.id, "no more")
    with the_ledger(pair) as (ledger, keys):
        proof = prove_sharing(pair.having(), ledger, agreed.id)
        hidden = prove_sharing(replace(pair.giving(), open_partner=None), ledger, agreed.id)
    proven = check_sharing(proof, signers_of(pair), keys, verify_ed25519)
    assert proven.withdrawn_at is not None
    assert proven.withdrawn_at >= proven.recorded_at
    lacking = check_sharing(hidden, signers_of(pair), keys, verify_ed25519).lacking
    assert lacking.startswith("what blue has signed could not be looked at")
