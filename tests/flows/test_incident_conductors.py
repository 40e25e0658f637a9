"""One incident, three conductors: plain functions, Prefect, and the command end it alike, entry for entry."""

import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from flows import emergency
from flows.emergency import emergency_revoke
from flows.resume_incident import resume_incident
from keyturn.cli.app import app
from keyturn.cli.emergencies.incident_tables import standing_data
from keyturn.cli.environment import opened_workspace
from keyturn.core.errors import KeyturnError
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.give_up import give_up_incident
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, SecretProgress, Step
from keyturn.revocation.incidents.store import find_incident, load_status
from keyturn.revocation.report.facts import entries_of
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.ledger import configured_ledger
from tests.flows.gate import Door, Gate
from tests.flows.runs import ended
from tests.flows.site import Architect, Site, destination
from tests.flows.test_emergency import login as login  # the revoker's
from tests.flows.test_rotate import gated, port_of
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(9, of="file")]

OWN: Final = re.compile(r"at|.*_at|seconds|actor|remark|triggered|fingerprint")
"""What every run has of its own."""


@dataclass(frozen=True)
class Case:
    """A secret that has leaked, at a site of its own, perhaps others ``beside`` it, and the incident about them.

    ``begun`` says that it stands in the hub already, and is gone on with by its name alone.
    """

    site: Site
    catalogue: Path
    secret: Declared
    incident: str
    mode: Mode = Mode.REPLACE
    begun: bool = False
    beside: tuple[Declared, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All that have leaked."""
        return tuple(secret.path for secret in (self.secret, *self.beside))

    @property
    def status(self) -> IncidentStatus:
        return load_status(self.site.workspace, self.incident)

    def begin(self, workspace: Workspace) -> None:
        """Open the incident, and end what leaked."""
        selector = Selector(paths=self.paths)
        now, chosen = workspace.clock(), select_secrets(workspace, selector)
        about = {"reason": "leaked", "mode": self.mode, "selector": selector.words, "consent": Consent(len(self.paths))}
        run.begin(workspace, chosen, incident=self.incident, triggered_at=now, **about)  # type: ignore[arg-type]


# --- the conductors


def plainly(case: Case) -> str:
    """As plain functions; what it ended with."""
    with opened_workspace(case.catalogue, revoking=True) as workspace:
        try:
            if not case.begun:
                case.begin(workspace)
            return "" if not run.finish(workspace, case.incident).open else "open"
        except KeyturnError as error:
            return type(error).__name__


def in_prefect(case: Case) -> str:
    """By the flow."""
    if case.begun:
        state = ended(resume_incident, case.incident)
    else:
        said = ("", "any", "", "", "", "", case.incident, str(case.mode), len(case.paths))
        state = ended(emergency_revoke, "leaked", " ".join(case.paths), *said)
    return "" if state.is_completed() else "open" if find_incident(case.site.workspace, case.incident) else "Denied"


def by_command(case: Case) -> str:
    """By the command, which prints what is kept of the incident."""
    about = [*case.paths, "--reason", "leaked", "--incident", case.incident]
    about += ["--mode", str(case.mode), "--expect", str(len(case.paths)), "--yes"]
    words = ["--resume", case.incident] if case.begun else about
    done = CliRunner().invoke(app, ["revoke", *words, "--local", "--json", "--catalogue", str(case.catalogue)])
    if not done.stdout:
        return "Denied" if "lacks" in done.stderr else done.output
    printed = json.loads(done.stdout)
    assert {**printed, **standing_data(case.status)} == printed
    return "open" if done.exit_code else ""


CONDUCTORS: Final = (plainly, in_prefect, by_command)


# --- what they have to end


@dataclass(frozen=True)
class Place:
    """Where cases are made; ``door`` stands before the store."""

    build: Callable[..., Site]
    architect: Architect
    lab: Lab
    door: Gate

    def case(self, **changes: Any) -> Case:
        """A secret with a copy and a consumer."""
        secret = self.lab.alternating(destinations=[destination("gated")], consumers=["app"])
        secret = replace(secret, data={**secret.data, **changes})
        site = self.build(secret, stores=gated(self.door))
        return Case(site, self.architect.directory / site.name, secret, fresh())


def closed(place: Place) -> Case:
    return place.case()


def revoked_only(place: Place) -> Case:
    return replace(place.case(), mode=Mode.REVOKE_ONLY)


def without_store(place: Place) -> Case:
    place.door.move(Door.SHUT)
    return place.case()


def left_to_a_person(place: Place) -> Case:
    return place.case(rotation={"strategy": "manual"})


def died_after_the_cut(place: Place) -> Case:
    case = replace(place.case(), begun=True)
    with opened_workspace(case.catalogue, revoking=True) as workspace:
        case.begin(workspace)
    return case


def given_up(place: Place) -> Case:
    case = without_store(place)
    with opened_workspace(case.catalogue, revoking=True) as workspace:
        case.begin(workspace)
        give_up_incident(workspace, case.incident, "looked at by hand")
    place.door.move(Door.OPEN)
    return replace(case, begun=True)


def refused(place: Place) -> Case:
    return place.case()


OUTCOMES: Final[Mapping[Callable[[Place], Case], str]] = {
    closed: "",
    revoked_only: "",
    without_store: "open",
    left_to_a_person: "open",
    died_after_the_cut: "",
    given_up: "",
    refused: "Denied",
}
"""What makes each, and what a run of it ends with."""


@pytest.fixture
def place(
    build: Callable[..., Site],
    architect: Architect,
    lab: Lab,
    gate: Callable[[int, Door], Gate],
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """The environment of the person on call, and a store that may be away; nobody waits long."""
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    for module, name in ((run, "PAUSES"), (emergency, "PAUSES")):
        monkeypatch.setattr(module, name, (0.1, 0.1))
    return Place(build, architect, lab, gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.OPEN))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.__name__)
def test_plain_functions_prefect_and_the_command_leave_the_same(
    place: Place, outcome: Callable[[Place], Case], login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = {name: str(place.architect.directory / half) for name, half in zip(login, HALVES, strict=True)}
    left = []
    for conduct in CONDUCTORS:
        for name, file in (workers if outcome is refused else login).items():
            monkeypatch.setenv(name, file)
        place.door.move(Door.OPEN)
        case = outcome(place)
        assert conduct(case) == OUTCOMES[outcome], conduct.__name__
        left.append(kept(case))
    assert left[1] == left[0]
    assert left[2] == left[0]


@pytest.mark.parametrize("conduct", [in_prefect, by_command], ids=lambda conduct: conduct.__name__)
def test_a_consumer_that_hangs_holds_up_no_clearing_of_hub_and_stores(
    place: Place,
    gate: Callable[[int, Door], Gate],
    conduct: Callable[[Case], str],
    login: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, file in login.items():
        monkeypatch.setenv(name, file)
    app = place.architect.consumers["app"]
    slow = gate(port_of(app["url"]), Door.HELD)
    secrets = [place.lab.alternating(destinations=[destination()], consumers=[name]) for name in ("slow", "app")]
    key = place.lab.hub.read_state(app["signing_key"])
    assert key is not None
    place.lab.keep("webhooks/slow", dict(key.data))
    site = place.build(*secrets, consumers={"slow": {"url": slow.url, "signing_key": "webhooks/slow"}})
    case = Case(site, place.architect.directory / site.name, secrets[0], fresh(), beside=(secrets[1],))

    def let_go_once_cleared() -> list[SecretProgress]:
        assert slow.taken.wait(60)
        try:
            return [wait_for(partial(once_cleared, case, secret.path)) for secret in secrets]
        finally:
            slow.move(Door.OPEN)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(copy_context().run, let_go_once_cleared)
        assert conduct(case) == ""
        hung, _ = looking.result()
    assert Step.NOTIFY not in hung.done
    assert {step for secret in case.status.secrets for step in secret.done} == set(Step)


def once_cleared(case: Case, path: str) -> SecretProgress | None:
    """A secret of the incident, once hub and stores are cleared of its old value."""
    secret = next(secret for secret in case.status.secrets if secret.path == path)
    return secret if {Step.HUB, Step.FORGET} <= set(secret.done) else None


OTHER: Final = re.compile(r"(fingerprint|accessor) \w+|; catalogue [0-9a-f]{64}")
"""What differs in a text: plain functions are given a catalogue here that was never a file."""
HALVES: Final = ("role-id", "secret-id")


def kept(case: Case) -> Any:
    """All that is kept of the incident, and what the ledger records about it, without what every run has of its own."""
    if find_incident(case.site.workspace, case.incident) is None:
        return None
    own = {case.secret.path: "PATH", case.incident: "ID", case.secret.data["destinations"][0]["name"]: "PLACE"}
    return in_no_order(common(standing_data(case.status), own)), common(entries(case), own)


def in_no_order(data: Any) -> Any:
    """What was done is told in the order in which it ended, and consumers are told while hub and stores are cleared."""
    for check in data["checks"]:
        check["said"] = re.sub(r"[0-9]{4}-[0-9-]+ [0-9:]+ UTC", "WHEN", check["said"])
    data["checks"].sort(key=json.dumps)
    for secret in data["secrets"]:
        secret["events"].sort(key=json.dumps)
    return data


def common(data: Any, own: Mapping[str, str]) -> Any:
    """The data with the words that stand for what is its own."""
    if isinstance(data, dict):
        return {name: common(value, own) for name, value in data.items() if not OWN.fullmatch(name)}
    if isinstance(data, list):
        return [common(value, own) for value in data]
    for name, word in own.items() if isinstance(data, str) else ():
        data = data.replace(name, word)
    return OTHER.sub(r"\1", data) if isinstance(data, str) else data


def entries(case: Case) -> list[str]:
    """What the ledger records about the incident, in no order: places are worked at side by side.

    Each once: the command tries what serves people once more, before it hands the rest over.
    """
    with closing(configured_ledger(os.environ)) as ledger:
        numbers = entries_of(ledger, case.status.incident)
        told = [parse_leaf(leaf).entry for number in numbers for _, leaf in ledger.leaves(number, number)]
    return sorted({f"{entry.action} {entry.secret} {entry.place} {entry.outcome}: {entry.note}" for entry in told})
