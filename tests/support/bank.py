"""A site where some of what people do needs a second person, and the people who work there."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.core.errors import Denied
from keyturn.core.ports.ledger import Outcome
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.state import approvals
from keyturn.rotation.state.approvals import ApprovalRequest
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Declared, Lab, fresh
from tests.support.people import Person, person


@dataclass
class Bank:
    """A site where bea and cleo may approve, and ana works."""

    lab: Lab
    ana: Person
    bea: Person
    cleo: Person
    settings: ApprovalSettings

    def workspace(self, who: Person, *secrets: Declared) -> Workspace:
        """A workspace in which one of them is at work."""
        return replace(who.workspace(self.lab.open(*secrets).workspace), approvals=self.settings)

    def approver(self, who: Person, workspace: Workspace) -> Workspace:
        """The same workspace, in which another one is at work."""
        return replace(workspace, hub=who.hub())

    def approve(self, who: Person, workspace: Workspace) -> ApprovalRequest:
        """Let one of them approve what waits."""
        return approvals.approve_request(self.approver(who, workspace), self.waiting(workspace))

    def waiting(self, workspace: Workspace) -> ApprovalRequest:
        """The only request that ana has made."""
        (found,) = [one for one in self.requests(workspace) if one.entity == self.ana.entity]
        return found

    def requests(self, workspace: Workspace) -> list[ApprovalRequest]:
        names = [place.rpartition("/")[2] for place in self.lab.hub.list_state("approvals")]
        return [approvals.load_request(workspace, name) for name in names]


@pytest.fixture(scope="module")
def keys(lab: Lab) -> None:
    """The transit engine is there."""
    if "transit/" not in lab.root.sys.list_mounted_secrets_engines()["data"]:
        lab.root.sys.enable_secrets_engine("transit")


@pytest.fixture
def bank(lab: Lab, keys: None) -> Bank:
    ana, bea, cleo = (person(lab, name) for name in ("ana", "bea", "cleo"))
    approvers = {who.name: approver_of(lab, who) for who in (ana, bea, cleo)}
    settings = ApprovalSettings(
        people=("auth/people",),
        approvers=approvers,
        incidents_over=1,
        revoke_only=True,
        give_up=True,
        end_previous=True,
    )
    return Bank(lab, ana, bea, cleo, settings)


def approver_of(lab: Lab, who: Person) -> ApproverSettings:
    """Their key in the hub, as the operator's file names it."""
    name = f"keyturn-approver-{who.name}"
    lab.root.secrets.transit.create_key(name, key_type="ed25519")
    key = lab.root.secrets.transit.read_key(name)["data"]["keys"]["1"]["public_key"]
    return ApproverSettings(entity=who.entity, key=name, public_key=key)


def begin(workspace: Workspace, *secrets: Declared, incident: str = "", **changes: Any) -> Incident:
    """Begin an incident over these."""
    about: dict[str, Any] = {"reason": "leaked", "mode": Mode.REPLACE, "selector": "both of them", **changes}
    return run.begin(
        workspace,
        Selection(tuple(sorted(one.path for one in secrets))),
        incident=incident or fresh(),
        triggered_at=workspace.clock(),
        consent=Consent(len(secrets)),
        **about,
    )


def notes(workspace: Workspace, action: str) -> list[tuple[Outcome, str]]:
    """What the ledger records about an action."""
    ledger: Any = workspace.ledger
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    return [(entry.outcome, entry.note) for entry in entries if entry.action == action]


def untouched(lab: Lab, *secrets: Declared) -> bool:
    return [lab.current(secret) for secret in secrets] == [secret.first for secret in secrets]


@pytest.fixture
def pair(lab: Lab) -> tuple[Declared, Declared]:
    return lab.generated(), lab.generated()


@pytest.fixture
def asked(bank: Bank, pair: tuple[Declared, Declared]) -> Workspace:
    """Ana has asked to end two secrets, and was refused."""
    workspace = bank.workspace(bank.ana, *pair)
    with pytest.raises(Denied, match="a second person has to approve it: request REQ-"):
        begin(workspace, *pair)
    return workspace


def forge(bank: Bank, request: ApprovalRequest, **changes: Any) -> None:
    """What somebody who may write Keyturn's state does to a request."""
    forged = replace(request, **changes)
    bank.lab.keep(f"approvals/{request.id}", {"request": json.dumps(asdict(forged))})
