"""Every flow writes to the ledger what it does, and one that can't changes nothing."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, Task

import flows
import tasks
from keyturn.core.errors import Unrecorded
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_leaf
from tests.flows.runs import Installed, ended
from tests.flows.site import Site, as_notary, destination
from tests.support.given import forget_grants
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(9, of="file")]

Build = Callable[..., Site]
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Runs:
    """How a flow is run for its row: its parameters, given the secret, and the actions that it must leave."""

    parameters: Callable[[Declared], dict[str, Any]] = lambda secret: {}
    actions: frozenset[str] = field(default_factory=frozenset)
    quiet: bool = False
    """Whether it has nothing to do here, and so leaves nothing."""
    fails: bool = False
    """Whether it finds something here that people are to be told of."""


OPENED = f"INC-{fresh()}"
"""An incident that is about to be opened."""

TABLE = {
    "keeper": Runs(quiet=True),
    "rotate-secret": Runs(
        lambda secret: {"path": secret.path, "trigger": Trigger.FORCE},
        frozenset({"decide", "guard", "stage", "install", "verify", "promote", "push"}),
    ),
    "check-logins": Runs(quiet=True),
    "check-hub": Runs(quiet=True),
    "doctor": Runs(fails=True),
    "rotate-own-keys": Runs(quiet=True),
    "rotate-keys": Runs(quiet=True),
    "renew-authorities": Runs(quiet=True),
    "rotate-due": Runs(actions=frozenset({"decide", "stage", "install", "verify", "promote", "push"})),
    "sync": Runs(actions=frozenset({"sync", "push"})),
    "retire": Runs(lambda secret: {"path": secret.path, "waive": "everything"}, frozenset({"retire"})),
    "emergency-revoke": Runs(
        lambda secret: {"path": secret.path, "reason": "a test"},
        frozenset({"open incident", "cut", "revoke: replace", "revoke: hub", "revoke: prove", "close incident"}),
    ),
    "preview-revocation": Runs(lambda secret: {"path": secret.path}),
    "resume-incident": Runs(lambda secret: {"incident": OPENED}),
    "finish-incidents": Runs(quiet=True),
    "drill": Runs(lambda secret: {"path": secret.path}, frozenset({"drill", "open incident", "cut", "close incident"})),
    "rehearse": Runs(lambda secret: {"path": secret.path}, frozenset({"rehearse"})),
    "grant-access": Runs(quiet=True),
    "keep-ledger": Runs(quiet=True),
    "backup": Runs(fails=True),
    "restore-drill": Runs(actions=frozenset({"restore drill"}), fails=True),
    "compliance-report": Runs(actions=frozenset({"compliance report"})),
}
"""The flows there are. A flow without a row fails the tests, and so does one whose entries lack."""

TASKS = {
    "decide", "guard", "stage", "install", "verify", "promote", "push", "notify", "health", "pass canary", "revert",
    "renew", "conclude", "make way", "retire", "rotate", "find due", "find unretired", "plan", "remember", "preview",
    "begin", "find", "find open", "cut", "replace", "forget", "prove",
    "revoke", "report", "remind", "record", "drain", "checkpoint", "forward",
    "look", "tell", "find places", "check logins", "lay ground", "find to look at", "look again",
    "look for restarts", "look for shared workloads", "restart", "owing", "hub", "look at own keys",
    "turn own key", "turn own login", "end left tokens", "compliance report", "look at managed keys",
    "rotate managed key", "look at the hub's set-up", "look at authorities", "renew authority", "give access",
    "ask for renewals", "look at ledger", "show life", "find grace ends", "look for lease tokens",
    "end access", "remove leftover candidates",
    "look at secrets", "look at all secrets", "look whether all is ready", "look for drills",
    "look for a recent diagnosis", "back up", "try restoring", "look for a restore drill",
    "rehearse", "look for rehearsals", "look at objectives",
}  # fmt: skip
"""The names of all tasks. Before a new one is named here, see that what it changes is written to the ledger."""


def found(package: Any, kind: type) -> Iterator[Any]:
    """Everything of that kind in a package's modules."""
    for module in pkgutil.iter_modules(package.__path__):
        for thing in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            for each in thing.values() if isinstance(thing, dict) else [thing]:
                if isinstance(each, kind):
                    yield each


def test_every_flow_and_every_task_has_its_row() -> None:
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {flow.name for flow in found(flows, Flow)} == set(TABLE) == {one["name"] for one in deployed}
    assert {task.name for task in found(tasks, Task)} == TASKS


def entries(site: Site) -> list[Entry]:
    """All that the ledger holds."""
    ledger: Any = site.workspace.ledger
    return [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]


@pytest.fixture
def secret(lab: Lab) -> Declared:
    """One that is due, and has a copy to be made."""
    declared = lab.alternating(destinations=[destination()])
    lab.hub.patch_metadata(declared.path, {ROTATED_AT: "2020-01-01T00:00:00+00:00"})
    return declared


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_run_of_each_flow_is_in_the_ledger_with_all_it_did(
    installed: Installed,
    build: Build,
    nothing_open: None,
    lab: Lab,
    secret: Declared,
    name: str,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    if name == "grant-access":
        forget_grants(lab)
    if "revo" in name or "incident" in name or name in ("drill", "grant-access"):
        (tmp_path / "token").write_text(lab.world.hub_token)
        monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(tmp_path / "token"))
    if name == "keep-ledger":
        as_notary(lab, tmp_path, monkeypatch)
    if name == "drill":
        secret = lab.alternating(folder="drills", drill="30d", destinations=[destination()])
    site, row = build(secret), TABLE[name]
    if name == "keeper":
        # What it has the worker do is done there.
        installed.server.settle(site.variables)
    if name == "retire":
        ended(partial(flow_named("rotate-secret"), path=secret.path, trigger=Trigger.FORCE))
    if name == "resume-incident":
        ended(partial(flow_named("emergency-revoke"), "a test", secret.path, incident=OPENED))
    before = len(entries(site))
    state = ended(partial(flow_named(name), **row.parameters(secret)))
    assert state.is_failed() if row.fails else state.is_completed(), state.message
    if name == "keeper":
        wait_for(lambda: not under_way(installed.server))
    told = entries(site)[before:]
    outcomes = [one.outcome for one in told if one.action == f"flow {name}"]
    end = Outcome.FAILED if row.fails else Outcome.DONE
    assert outcomes == ([] if row.quiet else [Outcome.BEGUN, end])
    assert row.actions <= {one.action for one in told}
    run = str(state.state_details.flow_run_id)
    assert all(run in one.run for one in told if one.action in {*row.actions, f"flow {name}"})
    assert secret.first["password"] not in "".join(map(repr, told))


def under_way(server: PrefectServer) -> list[dict[str, Any]]:
    """What the worker is at, or is to begin by now."""
    states = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}
    now = datetime.now(UTC).isoformat()
    asked = {"state": states, "expected_start_time": {"before_": now}, "work_queue_name": {"any_": ["default"]}}
    return server.all("flow_runs", flow_runs=asked)


CHANGING = sorted(
    set(TABLE)
    - {
        "keeper",
        "check-logins",
        "check-hub",
        "doctor",
        "drill",
        "rotate-own-keys",
        "rotate-keys",
        "renew-authorities",
        "grant-access",
        "emergency-revoke",
        "preview-revocation",
        "resume-incident",
        "finish-incidents",
        "keep-ledger",
    }
)


@pytest.mark.parametrize("name", CHANGING)
def test_a_flow_whose_ledger_can_not_be_written_fails_before_it_changes_anything(
    prefect: PrefectServer, build: Build, lab: Lab, secret: Declared, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(secret)
    monkeypatch.setattr("keyturn.providers.ledger.sqlite.SqliteLedger.append", refuse)
    state = ended(partial(flow_named(name), **TABLE[name].parameters(secret)))
    assert state.is_failed()
    assert "the disk is full" in str(state.message)
    assert lab.current(secret) == secret.first
    assert lab.logs_in(SecretFields(secret.first))
    assert site.workspace.open_store("aws").describe(site.place(secret, "aws").name) is None


def refuse(*_: object) -> None:
    """What a full disk does."""
    raise Unrecorded("write", "the ledger", "the disk is full", "Free some space there")


def flow_named(name: str) -> Flow[Any, Any]:
    """The flow of that name."""
    return next(flow for flow in found(flows, Flow) if flow.name == name)
