"""Emergency revocation through Prefect: by the form, by the command that hands it over, and until it is finished."""

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.bootstrap import EMERGENCY
from flows import emergency
from flows.emergency import emergency_revoke
from flows.finish_incidents import finish_incidents
from flows.preview_revocation import preview_revocation
from flows.resume_incident import resume_incident
from flows.support.incidents import CLOSED, OPENED, STAYS_OPEN
from keyturn.access_log.detection.alerts import Stage
from keyturn.cli.app import app
from keyturn.cli.readers.reactions import PrefectReaction
from keyturn.core.errors import Denied, Invalid, TransientError
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.core.workspaces import HOUSE, WorkspaceNames
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import STEPS, Mode
from keyturn.rotation.candidates import CANDIDATES
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from local.pager import Pager
from local.prepare import REVOKER
from local.prepare import Hub as PreparedHub
from local.support.ports import free_port
from tasks import revocation as tasks
from tasks.workspace import opened
from tests.access_log.reactions.samples import BEGUN
from tests.flows.gate import Door, Gate
from tests.flows.runs import AWS_VARIABLES, Installed, completed, ended, error, register
from tests.flows.site import Architect, Site, destination
from tests.flows.test_rotate import gated, port_of
from tests.support.announcements import load_apprise
from tests.support.consumer import Consumer
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(10, of="file")]

Build = Callable[..., Site]
Put = Callable[[int, Door], Gate]


@pytest.fixture(scope="module")
def login(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The revoker's login to the hub, as its worker's environment names it."""
    directory = tmp_path_factory.mktemp("revoker")
    halves = PreparedHub(lab.world.hub_address, lab.world.hub_token).login_of(REVOKER)
    names = ("KEYTURN_HUB_ROLE_ID_FILE", "KEYTURN_HUB_SECRET_ID_FILE")
    for name, half in zip(names, halves, strict=True):
        (directory / name).write_text(half)
    return {name: str(directory / name) for name in names}


@pytest.fixture
def revoker(login: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the revoker's login, and waits for nothing."""
    for name, file in login.items():
        monkeypatch.setenv(name, file)
    monkeypatch.setattr(emergency, "PAUSES", (0.1,))


@pytest.fixture(scope="module")
def queue(installed: Installed, login: dict[str, str], aws: object) -> Iterator[None]:
    """The worker for revocations alone, started as the guide says, with the revoker's login."""
    variables = {name: os.environ[name] for name in AWS_VARIABLES}
    guide = (Path(__file__).parents[2] / "docs" / "revocation.md").read_text()
    said = re.search(r"^\$ ((?:\w+=\S+ )*)prefect worker start (.*)$", guide, re.MULTILINE)
    assert said is not None
    settings = dict(setting.split("=", 1) for setting in said[1].split())
    assert sorted(said[2].split()) == sorted(
        ["--pool", HOUSE, "--work-queue", EMERGENCY, "--name", "revoker", "--type", "keyturn"]
    )
    as_prefect_has_it = {"PREFECT_WORKER_QUERY_SECONDS": "10"}
    with installed.server.another_worker(HOUSE, EMERGENCY, variables | login | as_prefect_has_it | settings):
        yield


def pushed(lab: Lab, store: str = "aws") -> Declared:
    """A database account with a copy and a consumer."""
    return lab.alternating(destinations=[destination(store)], consumers=["app"])


def events(server: PrefectServer, incident: str) -> list[str]:
    """What Prefect was told of an incident."""
    resource = f"keyturn.incident.{incident}"
    return [told["event"] for told in server.events() if told["resource"].get("prefect.resource.id") == resource]


def names_of_tasks(server: PrefectServer, run: str) -> set[str]:
    """The tasks of a run that the server has heard of by now."""
    return {task["name"] for task in server.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}})}


def over(lab: Lab, site: Site, secret: Declared) -> bool:
    """Whether the old credential is refused and the new one works, and is the one that the store has."""
    old, new = lab.logs_in(secret.first), lab.current(secret)
    return (old, lab.logs_in(new), site.served(secret)) == (False, True, new)


# --- through the deployment and its own worker


def test_the_form_alone_ends_replaces_proves_and_reports(
    installed: Installed, queue: None, architect: Architect, lab: Lab, consumer: Consumer, pager: Pager
) -> None:
    secret, incident = pushed(lab), fresh()
    site = architect.build(secret)
    assert completed_sync(installed, site)
    run = installed.run("emergency-revoke", site, path=secret.path, reason="leaked in a log", incident=incident)
    assert (run["state_type"], run["name"]) == ("COMPLETED", f"revoke-{incident}"), run["state"]
    assert run["state"]["message"].startswith(f"{incident} is closed, and proven: 1 of 1 credentials ended")
    assert over(lab, site, secret)
    assert consumer.versions(secret.path)[-1:] == [2], "of the first one they may have heard by the sync"

    server = installed.server
    wanted = {f"{step} {secret.path}" for step in STEPS[Mode.REPLACE]}
    wait_for(lambda: wanted <= names_of_tasks(server, run["id"]))
    artifacts = server.all("artifacts", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    pages = {a["key"]: a["data"] for a in artifacts if a["type"] == "markdown"}
    assert "version 2" in pages.pop(WorkspaceNames().secret_artifact(secret.path))
    (report,) = pages.values()
    assert all(words in report for words in (incident, "leaked in a log", secret.path.rpartition("/")[2]))
    assert [row["version"] for row in installed.rows(run["id"])] == [2]
    wait_for(lambda: events(server, incident) and CLOSED in events(server, incident))
    assert sorted(events(server, incident)) == [CLOSED, OPENED]
    assert heard(pager, incident) == ["opened", "closed"]
    assert any(m.startswith(f"Keyturn: {incident} is opened\nleaked in a log: {secret.path}\n") for m in pager.messages)


def heard(pager: Pager, incident: str) -> list[str]:
    """What people were told of an incident, in order."""
    beginning = f"Keyturn: {incident} is "
    return [m.splitlines()[0].removeprefix(beginning) for m in pager.messages if m.startswith(beginning)]


def completed_sync(installed: Installed, site: Site) -> bool:
    """Whether every copy is there."""
    return bool(installed.run("sync", site)["state_type"] == "COMPLETED")


def test_a_run_that_is_retried_goes_on_with_its_own_incident(
    installed: Installed, queue: None, architect: Architect, lab: Lab, gate: Put
) -> None:
    secret = pushed(lab, "gated")
    door = gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.SHUT)
    site = architect.build(secret, stores=gated(door))
    run = installed.run("emergency-revoke", site, path=secret.path, reason="leaked")
    assert run["state_type"] == "FAILED"
    assert f"{secret.path}: push: gated:" in run["state"]["message"]
    assert not lab.logs_in(secret.first)
    door.move(Door.OPEN)
    again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    installed.server.post(f"flow_runs/{run['id']}/set_state", state=again)
    wait_for(lambda: installed.server.get(f"flow_runs/{run['id']}")["state_type"] == "COMPLETED")
    assert site.version(secret) == 2
    (incident,) = [one for one in incident_store.list_incidents(site.workspace) if secret.path in one.paths]
    assert incident.closed_at is not None


def test_the_command_cuts_by_itself_and_hands_the_rest_to_the_worker(
    installed: Installed,
    queue: None,
    prefect: PrefectServer,
    architect: Architect,
    lab: Lab,
    login: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret, incident = pushed(lab), fresh()
    site = architect.build(secret)
    register(site, prefect, None)
    installed.rest()
    assert completed_sync(installed, site)
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    given = {"VAULT_ADDR": lab.world.hub_address, "KEYTURN_CATALOGUE": str(architect.directory / site.name)}
    for name, value in (given | login).items():
        monkeypatch.setenv(name, value)
    words = ["revoke", secret.path, "--reason", "leaked", "--incident", incident, "--json", "--report", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["state"], told["secrets"][0]["version"]) == ("closed", 2)
    run = prefect.get(f"flow_runs/{told['run']['id']}")
    assert (run["parameters"], run["name"]) == ({"incident": incident}, f"resume-{incident}")
    assert "going on in this process" not in done.stderr, "the worker took it in time"
    assert done.stderr.index("its target refuses it after") < done.stderr.index("on the Prefect server")
    assert over(lab, site, secret)


def test_an_automation_on_an_alert_has_the_worker_end_what_the_alert_names(
    installed: Installed, queue: None, prefect: PrefectServer, architect: Architect, lab: Lab
) -> None:
    secret, name = pushed(lab), fresh()
    site = architect.build(secret)
    assert completed_sync(installed, site)
    named = {"path": "{{ event.payload.secrets[0] }}", "incident": "{{ event.payload.alert }}"}
    parameters = {key: {"__prefect_kind": "jinja", "template": template} for key, template in named.items()}
    automation = {
        "name": name,
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": f"keyturn.alert.{name}"},
            "expect": ["keyturn.alert.begun"],
            "threshold": 1,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": installed.deployments["emergency-revoke"],
                "parameters": {**parameters, "reason": "an alert about odd reads"},
            }
        ],
    }
    made = str(prefect.post("automations/", **automation)["id"])
    try:
        now = datetime.now(UTC)
        evidence = replace(BEGUN.events[0], path=secret.path)
        begun = replace(BEGUN, id=name, first=now, last=now, events=(evidence,))
        reaction = PrefectReaction(WorkspaceNames())
        for alert in (begun, replace(begun, stage=Stage.COMPLETE)):
            reaction.react([alert])

        def runs() -> list[dict[str, Any]]:
            deployment = {"id": {"any_": [installed.deployments["emergency-revoke"]]}}
            return [
                r for r in prefect.all("flow_runs", deployments=deployment) if r["parameters"].get("incident") == name
            ]

        (run,) = wait_for(runs)
        ended_run = installed.ended(run["id"], 120)
        assert ended_run["state_type"] == "COMPLETED", ended_run["state"]
        assert run["parameters"]["path"] == secret.path
        assert over(lab, site, secret)
        assert [one["id"] for one in runs()] == [run["id"]], "what completes an alert begins nothing"
    finally:
        prefect.delete(f"automations/{made}")


# --- in this process


def test_a_preview_leaves_a_table_and_changes_nothing(
    build: Build, revoker: None, lab: Lab, prefect: PrefectServer
) -> None:
    secret = pushed(lab)
    site = build(secret)
    preview = ended(preview_revocation, secret.path)
    assert preview.is_completed()
    assert preview.message == "only shown: 1 secrets, 0 leases; nothing was changed"
    assert lab.logs_in(secret.first)
    assert (site.version(secret), lab.hub.read_state(f"rotations/{secret.path}")) == (1, None)
    run = str(preview.state_details.flow_run_id)
    (table,) = wait_for(lambda: prefect.all("artifacts", artifacts={"flow_run_id": {"any_": [run]}}))
    assert secret.users[0] in table["data"]


def defaults(incident: str = "") -> list[Any]:
    """What the form has in its other fields."""
    return ["", "any", "", "", "", "", incident, "replace"]


def test_without_a_reason_or_a_choice_nothing_happens(build: Build, revoker: None, lab: Lab) -> None:
    secret = pushed(lab)
    build(secret)
    assert isinstance(error(ended(emergency_revoke, "  ", secret.path, *defaults())), Invalid)
    assert isinstance(error(ended(emergency_revoke, "leaked", "", *defaults())), Invalid)
    assert lab.logs_in(secret.first)


def test_the_rotating_workers_login_is_denied_and_changes_nothing(build: Build, lab: Lab) -> None:
    secret = pushed(lab)
    site = build(secret)
    denied = error(ended(emergency_revoke, "leaked", secret.path, *defaults()))
    assert isinstance(denied, Denied)
    assert f"update on secret/destroy/{secret.path}" in str(denied)
    assert lab.logs_in(secret.first)
    assert (site.version(secret), lab.hub.read_state(f"rotations/{secret.path}")) == (1, None)


def test_many_secrets_are_a_task_each(build: Build, revoker: None, lab: Lab, prefect: PrefectServer) -> None:
    secrets = [lab.generated() for _ in range(9)]
    site = build(*secrets)
    unsaid = ended(emergency_revoke, "leaked", "tests/*", *defaults())
    assert f"--expect {len(secrets)}" in str(unsaid.message)
    assert {site.version(secret) for secret in secrets} == {1}
    closed = ended(emergency_revoke, "leaked", "tests/*", *defaults(), len(secrets))
    assert closed.is_completed(), closed.message
    assert {site.version(secret) for secret in secrets} == {2}
    run = str(closed.state_details.flow_run_id)
    wanted = {f"revoke {secret.path}" for secret in secrets}
    wait_for(lambda: wanted <= names_of_tasks(prefect, run))


def test_the_run_that_finishes_incidents_removes_the_candidate_of_a_killed_run(
    build: Build, revoker: None, nothing_open: None, lab: Lab
) -> None:
    secret = lab.generated()
    site = build(secret)
    assert rotate(site.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    left = f"{CANDIDATES}/{secret.path}/{uuid.uuid4()}"
    lab.hub.claim_state(left, {"value": "of nobody"})
    assert ended(finish_incidents).message == "no incident is open"
    assert lab.hub.read_state(left) is None


def test_a_store_that_is_away_fails_the_run_and_the_next_finish_closes_the_incident(
    build: Build, revoker: None, nothing_open: None, lab: Lab, architect: Architect, gate: Put, consumer: Consumer
) -> None:
    secret, incident = pushed(lab, "gated"), fresh()
    door = gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.SHUT)
    site = build(secret, stores=gated(door))
    left = error(ended(emergency_revoke, "leaked", secret.path, *defaults(incident)))
    assert isinstance(left, TransientError)
    assert str(left).startswith(f"close {incident}: something is left: ")
    assert f"{secret.path}: push: gated:" in str(left)
    assert f"keyturn revoke --resume {incident}" in str(left)
    assert not lab.logs_in(secret.first)
    assert consumer.versions(secret.path) == [2]
    assert completed(finish_incidents) == 1

    door.move(Door.OPEN)
    finished = ended(finish_incidents)
    assert finished.message is not None
    assert finished.message.startswith(f"{incident} is closed, and proven")
    assert site.served(secret, "gated") == lab.current(secret)
    assert ended(finish_incidents).message == "no incident is open"
    assert completed(resume_incident, incident).incident.closed_at is not None
    assert site.version(secret) == 2


def test_an_incident_that_stays_open_is_reminded_of_once_an_hour_and_fails_a_run_where_nobody_hears_it(
    build: Build,
    revoker: None,
    nothing_open: None,
    lab: Lab,
    architect: Architect,
    gate: Put,
    prefect: PrefectServer,
    pager: Pager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_apprise()
    secret, incident = pushed(lab, "gated"), fresh()
    door = gate(port_of(architect.stores["aws"]["endpoint_url"]), Door.SHUT)
    site = build(secret, stores=gated(door))
    error(ended(emergency_revoke, "leaked", secret.path, *defaults(incident)))
    earlier = datetime.now(UTC) - timedelta(hours=1, minutes=1)
    incident_store.update_incident(site.workspace, incident, lambda one: replace(one, opened_at=earlier))
    calling(monkeypatch, f"json://127.0.0.1:{free_port()}/")
    reminder = error(ended(finish_incidents))
    assert str(reminder).startswith(f"close {incident}: something is left: ")
    wait_for(lambda: STAYS_OPEN in events(prefect, incident))
    calling(monkeypatch, pager.address)
    assert completed(finish_incidents) == 1
    assert heard(pager, incident) == ["opened", "still open"]
    door.move(Door.OPEN)
    assert completed(finish_incidents) == 0
    assert heard(pager, incident) == ["opened", "still open", "closed"]


def calling(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process tell people there; what was opened before is opened anew."""
    monkeypatch.setenv("KEYTURN_FAILURE_URL", address)
    opened.cache_clear()
    tasks.spooled_workspace.cache_clear()


def test_a_late_writer_is_found_an_hour_later_though_another_incident_can_not_be_read(
    build: Build, revoker: None, nothing_open: None, lab: Lab
) -> None:
    secret, incident, damaged = pushed(lab), fresh(), f"incidents/{fresh()}/head"
    site = build(secret)
    assert not completed(emergency_revoke, "leaked", secret.path, *defaults(incident)).open
    earlier = datetime.now(UTC) - timedelta(hours=2)
    incident_store.update_incident(site.workspace, incident, lambda one: replace(one, closed_at=earlier))
    lab.hub.write(secret.path, SecretFields(secret.first), cas=2)
    lab.hub.write_state(damaged, {"incident": "{"}, cas=0)
    try:
        assert f"the entry {damaged} of Keyturn's state is malformed" in str(error(ended(finish_incidents)))
    finally:
        lab.root.secrets.kv.v2.delete_metadata_and_all_versions(damaged, mount_point="keyturn")
    stands = incident_store.load_status(site.workspace, incident)
    assert (stands.open, stands.left) == (False, ())
    assert "open again" in [message.news for message in stands.incident.outbox]
    assert lab.current(secret)["password"] != secret.first["password"]


def break_catalogue(site: Site) -> Path:
    """A file that can't be parsed, next to the others."""
    file = Path(site.variables["KEYTURN_CATALOGUE"]) / "broken.yaml"
    file.write_text("secrets: [\n")
    opened.cache_clear()
    tasks.spooled_workspace.cache_clear()
    return file


def test_a_broken_catalogue_refuses_no_run_that_revokes_and_proves_nothing(
    build: Build, lab: Lab, revoker: None, aws: object
) -> None:
    secret = pushed(lab)
    site = build(secret)
    broken, incident = break_catalogue(site), f"INC-{fresh()}"
    ended(emergency_revoke, "leaked in a log", secret.path, *defaults(incident))
    assert over(lab, site, secret)
    status = incident_store.load_status(site.workspace, incident)
    assert status.open
    assert any("broken.yaml" in left for left in status.left)
    broken.unlink()
    opened.cache_clear()
    tasks.spooled_workspace.cache_clear()
    completed(finish_incidents)
    assert not incident_store.load_status(site.workspace, incident).open
