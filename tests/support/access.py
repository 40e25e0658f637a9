"""A site with temporary access: requesters, approvers and policies."""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner, Result

from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.hub_entries import HubEntry
from keyturn.catalogue.operator.approvals import ApprovalSettings, ApproverSettings
from keyturn.cli.app import app
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.grants import requests
from keyturn.grants.access_request import AccessRequest
from keyturn.grants.requests import RequestState
from keyturn.ledger.entries import parse_leaf
from keyturn.rotation.signers import Approval
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.people import Person, person

HOUR: Final = timedelta(hours=1)


@dataclass
class AccessSite:
    """A site where ana asks, and bea and cleo may approve: two of them have to."""

    lab: Lab
    people: dict[str, Person]
    secret: Declared
    settings: ApprovalSettings
    policy: dict[str, Any]

    def as_person(self, name: str, **changes: Any) -> Workspace:
        """A workspace in which one of them is at work; ``changes`` are to the policy."""
        policy = AccessPolicySettings.model_validate({**self.policy, **changes})
        opened = self.lab.open(self.secret).workspace
        hub = {name: ENTRY.validate_python(entry) for name, entry in engine_of(policy.credential or "").items()}
        catalogue = opened.catalogue.model_copy(update={"access_policies": {"readers": policy}, "hub": hub})
        return replace(self.people[name].workspace(opened), catalogue=catalogue, approvals=self.settings)

    def ask(self, **changes: Any) -> AccessRequest:
        """Ana's request."""
        workspace = self.as_person("ana", **changes)
        return requests.ask_for_access(workspace, self.secret.path, HOUR, "a query hangs", "OPS-1")

    def break_glass(self) -> AccessRequest:
        """Ana's request, that nobody has to approve."""
        workspace = self.as_person("ana")
        return requests.ask_for_access(workspace, self.secret.path, HOUR, "it is on fire", "OPS-2", break_glass=True)

    def approve(self, name: str, request: AccessRequest, **changes: Any) -> AccessRequest:
        """A request that one of them has approved."""
        return requests.approve_access(self.as_person(name, **changes), request.id)

    def state(self, request: AccessRequest, **changes: Any) -> RequestState:
        """How it stands, as the hub has it."""
        workspace = self.as_person("cleo", **changes)
        return requests.status_of(workspace, requests.find_request(workspace, request.id)).state

    def forge(self, request: AccessRequest, **changes: Any) -> None:
        """What somebody who may write Keyturn's state does to a request."""
        self.lab.keep(request.place, {"request": json.dumps(asdict(replace(request, **changes)))})

    def signature(self, name: str, message: bytes) -> str:
        """What a person signs past the command."""
        key = str(self.settings.approvers[name].key)
        return base64.b64encode(self.people[name].hub().signer(key).sign(message)).decode()

    def approval(self, name: str, message: bytes, under: str = "") -> Approval:
        return Approval(under or name, "2026-11-27T12:00:00+00:00", self.signature(name, message))


class Chat:
    """Where people are told; ``down`` where nothing arrives."""

    def __init__(self, down: bool = False) -> None:
        self.heard: list[Announcement] = []
        self.down = down

    def send(self, announcement: Announcement) -> None:
        self.heard.append(announcement)
        if self.down:
            raise Unavailable("tell", "people", "the chat is down")


ENTRY: Final = TypeAdapter[Any](HubEntry)


def engine_of(credential: str) -> dict[str, Any]:
    """The entries of `hub:` that declare the role at ``credential`` for the target of the lab's secrets."""
    connection = {"kind": "database", "target": "pg"}
    role = {"kind": "database-role", "connection": "ml", "creation": ["CREATE ROLE x"]}
    return {"ml": connection, credential.rpartition("/")[2]: role} if credential else {}


def people_of(lab: Lab) -> dict[str, Person]:
    """Four people, and an engine for their keys."""
    if "transit/" not in lab.root.sys.list_mounted_secrets_engines()["data"]:
        lab.root.sys.enable_secrets_engine("transit")
    return {name: person(lab, name) for name in ("ana", "bea", "cleo", "dora")}


def approver_of(lab: Lab, who: Person) -> ApproverSettings:
    """Their key in the hub, as the operator's file names it."""
    name = f"keyturn-approver-{who.name}"
    lab.root.secrets.transit.create_key(name, key_type="ed25519")
    key = lab.root.secrets.transit.read_key(name)["data"]["keys"]["1"]["public_key"]
    return ApproverSettings(entity=who.entity, key=name, public_key=key)


def site_of(lab: Lab, people: dict[str, Person], approvers: dict[str, ApproverSettings], **policy: Any) -> AccessSite:
    """Ana may ask for a new secret, and two of the approvers have to approve it; ``policy`` changes that."""
    usual = {
        "paths": ["**"],
        "subjects": {"entities": [people["ana"].entity]},
        "credential": "database/creds/reader",
        "approvers": ["ana", "bea", "cleo"],
        "approvals": 2,
    }
    settings = ApprovalSettings(people=("auth/people",), approvers=approvers)
    return AccessSite(lab, people, lab.single(), settings, {**usual, **policy})


def entries_of(workspace: Workspace) -> list[Entry]:
    """All that the ledger has."""
    ledger: Any = workspace.ledger
    return [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]


def recorded(workspace: Workspace, action: str) -> list[tuple[Outcome, str]]:
    """What the ledger records about an action."""
    return [(entry.outcome, entry.note) for entry in entries_of(workspace) if entry.action == action]


def lay_out(site: AccessSite, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead this process to the site's catalogue and its operator's file, which are written to ``home``."""
    (home / "catalogue").mkdir()
    data = catalogue_data(site.lab.world, (site.secret,), {}, {})
    secret = {key: value for key, value in site.secret.data.items() if key != "path"}
    declared = {
        "targets": data["targets"],
        "hub": engine_of(site.policy.get("credential", "")),
        "secrets": {site.secret.path: secret},
        "access_policies": {"readers": site.policy},
    }
    (home / "catalogue" / "all.yaml").write_text(json.dumps(declared))
    policy = {"approvals": site.settings.model_dump(mode="json", exclude={"valid_for"}, exclude_none=True)}
    (home / "policy.yaml").write_text(json.dumps(policy))
    monkeypatch.setenv("KEYTURN_POLICY", str(home / "policy.yaml"))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(home / "catalogue"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("VAULT_ADDR", site.lab.world.hub_address)


def shell(site: AccessSite, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command as one of the people, where the site's files lie in ``home``."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    lay_out(site, home, monkeypatch)

    def run(who: str, *arguments: str) -> Result:
        monkeypatch.setenv("VAULT_TOKEN", site.people[who].token())
        return CliRunner().invoke(app, arguments)

    return run
