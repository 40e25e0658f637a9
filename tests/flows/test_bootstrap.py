"""Registering Keyturn with a Prefect server, and registering again."""

import asyncio
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.bootstrap import REQUESTED, bootstrap, deploy, make_pool, withdraw_deployments
from deployments.prefect_checks import check_prefect, check_waits
from deployments.retention import advice, lacking
from flows.rotate_due import LATE
from keyturn.catalogue import Classification
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import CheckResult, Grade
from keyturn.revocation.incidents.incident import Mode
from local.pager import Pager
from local.support.ports import LOOPBACK, free_port
from tests.flows.runs import Installed, register
from tests.flows.site import Architect
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]


def test_a_server_that_keeps_everything_is_remarked_on_and_one_like_the_local_stacks_is_not(
    prefect: PrefectServer,
) -> None:
    assert asyncio.run(advice()) == [], "the tests' server has the settings of the local stack"
    settings = prefect.get("admin/settings")["server"]
    assert settings["services"]["db_vacuum"]["retention_period"] == "P14D"
    as_prefect_has_it = {"services": {"db_vacuum": {"enabled": ["events"]}}, "events": {"retention_period": "P7D"}}
    runs, events = lacking(as_prefect_has_it)
    assert "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs" in runs
    assert "PREFECT_SERVER_EVENTS_RETENTION_PERIOD=P2D" in events
    assert len(list(lacking({}))) == 2


def test_the_doctor_names_what_is_switched_off_and_what_is_gone(installed: Installed, prefect: PrefectServer) -> None:
    crash, event = "keyturn: a silent run is crashed", "keyturn: rotate what an event asks for"
    automations = by_name(prefect, "automations")

    def looked() -> dict[str, CheckResult]:
        return {result.name: result for result in asyncio.run(check_prefect(prefect.url, WorkspaceNames()))}

    assert wait_for(lambda: looked()["queue default"].grade is Grade.WELL)
    prefect.patch(f"automations/{automations[crash]['id']}", enabled=False)
    try:
        results = looked()
    finally:
        prefect.patch(f"automations/{automations[crash]['id']}", enabled=True)
    assert (results[crash].grade, results[crash].words) == (Grade.FAILED, "it is switched off")
    assert results[event].grade is Grade.WELL
    # Another test of this server may have had a worker there.
    waiting = (Grade.WAITING, "waiting for a worker: none was started")
    assert results["queue emergency"].grade in (Grade.WAITING, Grade.FAILED)
    assert "the line that `keyturn setup prefect` prints" in results["queue emergency"].remedy
    assert (results["queue notary"].grade, results["queue notary"].words) == waiting
    assert (results["queue granter"].grade, results["queue granter"].words) == (Grade.FAILED, "it is not registered")
    assert results["queue granter"].remedy == "Run `keyturn setup prefect --apply`"
    unneeded = frozenset({"granter", "backup", "rehearse"})
    needed = asyncio.run(check_prefect(prefect.url, WorkspaceNames(), unneeded))
    dropped = results.keys() - {result.name for result in needed}
    assert {"queue granter", "queue backup", "deployment grant-access", "deployment rehearse"} <= dropped
    assert not [result for result in needed if result.words == "it is not registered"]
    limits = asyncio.run(check_prefect(prefect.url, WorkspaceNames(), unneeded, ("pg", "of-no-one")))
    (limit,) = (result for result in limits if result.name.startswith("limit "))
    assert (limit.name, limit.grade) == ("limit keyturn-target-of-no-one", Grade.FAILED)
    assert limit.remedy == "Run `keyturn setup prefect --apply`"
    # The tests' schedules rest.
    assert results["deployment keeper"].words == "it is paused, or one of its schedules"
    (gone,) = asyncio.run(check_prefect(prefect.url, WorkspaceNames("nobody")))
    assert gone.name == "pool keyturn-nobody"
    assert gone.words.startswith("it is not registered, nor are its queues (default, ")
    assert "deployments (keeper-nobody, " in gone.words
    assert gone.remedy == "Run `keyturn setup prefect --apply --workspace nobody`"


def test_a_worker_of_a_queue_that_is_not_registered_says_so_at_its_start(installed: Installed) -> None:
    with installed.server.another_worker("keyturn", "emergancy", {}, "default") as worker:
        wait_for(lambda: worker.says("the pool keyturn has no queue emergancy: this worker gets no runs"))
        assert worker.says("It has .*emergency")


def test_the_doctor_says_how_long_the_latest_runs_have_waited(prefect: PrefectServer) -> None:
    waits = WorkspaceNames("waits")
    asyncio.run(make_pool(print, waits))
    flow = prefect.post("flows/", name="sync")["id"]
    about = {"flow_id": flow, "work_pool_name": waits.own, "work_queue_name": "default"}
    deployment = prefect.post("deployments/", name="sync-waits", **about)["id"]

    async def looked() -> list[CheckResult]:
        async with get_client() as client:
            return [result async for result in check_waits(client, waits)]

    def ask_for(due: datetime) -> str:
        scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        return str(prefect.post(f"deployments/{deployment}/create_flow_run", state=scheduled)["id"])

    def begin(due: datetime) -> None:
        prefect.post(f"flow_runs/{ask_for(due)}/set_state", state={"type": "RUNNING"}, force=True)

    try:
        ask_for(datetime.now(UTC) + timedelta(minutes=5))
        assert asyncio.run(looked()) == [], "what has not begun tells nothing"
        begin(datetime.now(UTC) - timedelta(hours=2))
        (late,) = asyncio.run(looked())
        assert (late.grade, late.words[:32]) == (Grade.ADVICE, "half of the last 1 began within ")
        # Runs that are due later have not waited.
        for _ in range(2):
            begin(datetime.now(UTC) + timedelta(minutes=5))
        (soon,) = asyncio.run(looked())
        assert (soon.grade, soon.words) == (Grade.WELL, "half of the last 3 began within 0.0 s of being due")
    finally:
        prefect.delete(f"deployments/{deployment}")
        prefect.delete(f"work_pools/{waits.own}")


def test_the_doctor_says_that_a_server_does_not_answer() -> None:
    nowhere = f"http://{LOOPBACK}:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: nowhere}):
        (result,) = asyncio.run(check_prefect(nowhere, WorkspaceNames()))
    assert (result.name, result.grade) == ("server", Grade.UNKNOWN)


KINDS = ("work_pools", "deployments", "automations", "block_documents", "v2/concurrency_limits")
LIMIT = "keyturn-target-pg"


def by_name(server: PrefectServer, kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in server.all(kind)}


def test_bootstrap_registers_pool_blocks_limits_deployments_and_automations(installed: Installed) -> None:
    server = installed.server
    assert by_name(server, "work_pools")["keyturn"]["type"] == "keyturn"
    assert by_name(server, "v2/concurrency_limits")[LIMIT]["limit"] == 1

    blocks = {(b["block_type"]["slug"], b["name"]) for b in server.all("block_documents")}
    assert {("keyturn-workspace", "default"), ("keyturn-failure-channel", "default")} <= blocks

    deployments = by_name(server, "deployments")
    crons = {name: sorted(s["schedule"]["cron"] for s in d["schedules"]) for name, d in deployments.items()}
    assert crons == {
        "rotate-secret": [],
        "keeper": ["*/15 * * * *"],
        "rotate-due": [],
        "check-logins": [],
        "check-hub": [],
        "doctor": [],
        "sync": ["37 3 * * *"],
        "retire": [],
        "rotate-own-keys": [],
        "rotate-keys": [],
        "renew-authorities": [],
        "emergency-revoke": [],
        "preview-revocation": [],
        "resume-incident": [],
        "drill": [],
        "finish-incidents": ["17 5 * * *"],
        "keep-ledger": [],
        "compliance-report": [],
    }
    assert all("keyturn" in d["tags"] and d["work_pool_name"] == "keyturn" for d in deployments.values())
    by_hand = {name for name, d in deployments.items() if "by-hand" in d["tags"]}
    assert by_hand == {"emergency-revoke", "preview-revocation", "rotate-secret"}
    limits = {name: d["global_concurrency_limit"] for name, d in deployments.items()}
    one_at_a_time = (
        "keeper",
        "rotate-due",
        "check-logins",
        "check-hub",
        "doctor",
        "drill",
        "sync",
        "retire",
        "rotate-own-keys",
        "rotate-keys",
        "renew-authorities",
        "finish-incidents",
        "keep-ledger",
        "compliance-report",
    )
    assert {name: told["limit"] for name, told in limits.items() if told} == {
        "rotate-secret": 16,
        **dict.fromkeys(one_at_a_time, 1),
    }
    assert deployments["rotate-secret"]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert deployments["retire"]["concurrency_options"]["collision_strategy"] == "ENQUEUE"

    automations = by_name(server, "automations")
    assert set(automations) == {
        "keyturn: a run that never began is crashed",
        "keyturn: a silent run is crashed",
        "keyturn: report a failed run",
        "keyturn: report a collector that is behind",
        "keyturn: report a witness that does not cosign",
        "keyturn: report a late secret",
        "keyturn: report an edit",
        "keyturn: report a login that is refused",
        "keyturn: report a missed objective",
        "keyturn: report a queue without a worker",
        "keyturn: report runs that do not start",
        "keyturn: report that nothing checks for due work",
        "keyturn: rotate what an event asks for",
    }
    assert all(a["enabled"] for a in automations.values())


def test_revocations_have_a_queue_of_their_own_that_nothing_limits(installed: Installed) -> None:
    server = installed.server
    queues = {one["name"]: one for one in server.post("work_pools/keyturn/queues/filter")}
    assert queues["emergency"]["priority"] == 1 < queues["default"]["priority"]
    assert queues["emergency"]["concurrency_limit"] is None
    served = {name: d["work_queue_name"] for name, d in by_name(server, "deployments").items()}
    assert {name for name, queue in served.items() if queue == "emergency"} == {
        "emergency-revoke",
        "preview-revocation",
        "resume-incident",
        "drill",
        "finish-incidents",
    }
    assert {name for name, queue in served.items() if queue == "notary"} == {"keep-ledger"}
    assert set(served.values()) == {"default", "emergency", "notary"}, "the catalogue needs no other"


def test_the_form_of_a_revocation_names_every_field_and_takes_no_value_for_a_fingerprint(installed: Installed) -> None:
    deployment = by_name(installed.server, "deployments")["emergency-revoke"]
    fields = deployment["parameter_openapi_schema"]["properties"]
    assert all(field["title"] and field["description"] for field in fields.values())
    assert deployment["parameter_openapi_schema"]["required"] == ["reason"]
    assert [name for name, _ in sorted(fields.items(), key=lambda field: field[1]["position"])] == [
        "reason",
        "path",
        "owner",
        "classification",
        "target",
        "store",
        "lease_prefix",
        "fingerprint",
        "incident",
        "mode",
        "expect",
    ]
    assert fields["classification"]["enum"] == ["any", *map(str, Classification)]
    assert fields["mode"]["enum"] == list(map(str, Mode))
    before = len(installed.server.all("flow_runs"))
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        installed.server.post(
            f"deployments/{deployment['id']}/create_flow_run",
            parameters={"fingerprint": "s3cr3t-v4lue", "reason": "leaked"},
        )
    assert len(installed.server.all("flow_runs")) == before


def test_forms_offer_what_the_catalogue_has_and_take_what_is_newer(
    installed: Installed, prefect: PrefectServer, architect: Architect, pager: Pager
) -> None:
    secret = architect.lab.generated()
    register(architect.build(secret), prefect, pager.address)
    installed.rest()
    deployments = by_name(prefect, "deployments")
    form = deployments["rotate-secret"]["parameter_openapi_schema"]
    assert form["required"] == ["path"]
    assert form["properties"]["path"]["anyOf"][0]["enum"] == [secret.path]
    assert (form["properties"]["path"]["position"], form["properties"]["trigger"]["default"]) == (0, "force")
    fields = deployments["emergency-revoke"]["parameter_openapi_schema"]["properties"]
    assert fields["store"]["anyOf"][0]["enum"] == ["aws"]
    assert fields["target"]["anyOf"][0]["enum"] == ["pg"]
    started = prefect.post(
        f"deployments/{deployments['rotate-secret']['id']}/create_flow_run", parameters={"path": "newer/than-bootstrap"}
    )
    prefect.delete(f"flow_runs/{started['id']}")


def test_a_second_bootstrap_adds_nothing_and_keeps_an_operators_own_limit(
    installed: Installed, prefect: PrefectServer, architect: Architect, pager: Pager
) -> None:
    limit = by_name(prefect, "v2/concurrency_limits")[LIMIT]["id"]
    prefect.patch(f"v2/concurrency_limits/{limit}", limit=3)
    site = architect.build()
    before = {kind: sorted(one["name"] for one in prefect.all(kind)) for kind in KINDS}
    automations = kept_automations(prefect)
    register(site, prefect, pager.address)
    installed.rest()
    assert {kind: sorted(one["name"] for one in prefect.all(kind)) for kind in KINDS} == before
    assert kept_automations(prefect) == automations
    assert by_name(prefect, "v2/concurrency_limits")[LIMIT]["limit"] == 3


def kept_automations(server: PrefectServer) -> set[str]:
    """The ids of those that a second bootstrap leaves as they are; it switches the one for edits off meanwhile."""
    return {one["id"] for one in server.all("automations") if one["name"] != "keyturn: report an edit"}


@pytest.mark.attack
def test_an_edit_of_what_is_registered_is_reported(installed: Installed, prefect: PrefectServer, pager: Pager) -> None:
    deployment = by_name(prefect, "deployments")["compliance-report"]
    prefect.patch(f"deployments/{deployment['id']}", description="somebody's own words")
    message = wait_for(lambda: next((one for one in pager.messages if "compliance-report was updated" in one), None))
    assert "A user has updated deployment compliance-report on the Prefect server: description." in message
    automation = by_name(prefect, "automations")["keyturn: report a late secret"]
    prefect.patch(f"automations/{automation['id']}", enabled=False)
    prefect.patch(f"automations/{automation['id']}", enabled=True)
    wait_for(lambda: [one for one in pager.messages if "keyturn: report a late secret was updated" in one])


def test_without_a_server_bootstrap_says_so_once(prefect: PrefectServer, architect: Architect) -> None:
    said: list[str] = []
    site = architect.build()
    nowhere = f"http://{LOOPBACK}:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: nowhere}), pytest.raises(Unavailable) as told:
        asyncio.run(bootstrap(site.workspace.catalogue, None, said.append))
    assert str(told.value).startswith("bootstrap the Prefect server: it does not answer")
    assert told.value.hint == "Check PREFECT_API_URL"
    assert told.value.__cause__ is None
    assert said == ["work pool and limits"]


def test_a_broken_deployment_file_is_refused_with_prefects_last_words(
    installed: Installed, prefect: PrefectServer, tmp_path: Path
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: [")
    with pytest.raises(Invalid, match=r"found '<stream end>' .* line 1, column 15") as told:
        deploy(file)
    assert told.value.name == str(file)
    assert told.value.hint == "Correct prefect.yaml, then run `keyturn setup prefect --apply` again"
    assert not str(told.value).count("..")


# --- events ------------------------------------------------------------------------------------------------


def send(server: PrefectServer, event: str, path: str, id: str = "", why: str = "", after: float = 0) -> None:
    """Tell the server of something, as curl would; it happens ``after`` so many hours."""
    body = {
        "id": id or str(uuid.uuid4()),
        "event": event,
        "occurred": (datetime.now(UTC) + timedelta(hours=after)).isoformat(),
        "resource": {"prefect.resource.id": f"keyturn.secret.{path}"},
        **({"payload": {"path": path, "why": why}} if why else {}),
    }
    httpx.post(f"{server.url}/events", json=[body], timeout=30).raise_for_status()


def runs_for(server: PrefectServer, path: str) -> list[dict[str, Any]]:
    return server.all("flow_runs", flow_runs={"name": {"any_": [f"rotate-{path}"]}})


def test_an_event_rotates_the_secret_that_it_names_and_a_repeat_of_it_does_not(
    installed: Installed, prefect: PrefectServer, architect: Architect, pager: Pager
) -> None:
    secret, other = architect.lab.generated(), architect.lab.generated()
    site = architect.build(secret, other)
    register(site, prefect, pager.address)
    installed.rest()
    event = str(uuid.uuid4())
    for _ in range(2):
        send(prefect, REQUESTED, secret.path, event)
    emit = ["-m", "prefect", "event", "emit", REQUESTED, "--resource-id", f"keyturn.secret.{other.path}"]
    subprocess.run([sys.executable, *emit], check=True, capture_output=True)
    for one in (secret, other):
        (started,) = wait_for(lambda path=one.path: runs_for(prefect, path))  # type: ignore[misc]
        assert started["parameters"] == {"path": one.path, "trigger": "event"}
        assert installed.ended(started["id"])["state_type"] == "COMPLETED"
        assert site.version(one) == 2
    assert len(runs_for(prefect, secret.path)) == 1
    rotation = site.record(secret).retiring
    assert rotation is not None
    assert rotation.reason == "Wanted"


def test_a_late_secret_is_reported_once_a_day(installed: Installed, prefect: PrefectServer, pager: Pager) -> None:
    late, other = fresh(), fresh()

    def told(path: str) -> list[str]:
        return [message for message in pager.messages if path in message]

    def remind(path: str, after: float = 0) -> None:
        send(prefect, LATE, path, why="beyond its maximum age", after=after)

    for path in (late, late, late, other):
        remind(path)
    wait_for(lambda: told(other))
    (message,) = wait_for(lambda: told(late))
    assert message.startswith(f"Keyturn: {late} is late\nbeyond its maximum age\n\nSecret: {late}\nRemedy: ")
    assert f"`keyturn rotate {late} --now`" in message

    for path, hours in ((late, 23), (late, 25), (late, 25.25), (other, 25)):
        remind(path, hours)
    wait_for(lambda: len(told(late)) > 1)
    wait_for(lambda: len(told(other)) > 1)
    assert (len(told(late)), len(told(other))) == (2, 2)


def test_a_deployment_that_is_no_longer_needed_is_removed_and_named(prefect: PrefectServer) -> None:
    for name in ("grant-access", "rehearse"):
        flow = prefect.post("flows/", name=name)["id"]
        prefect.post("deployments/", name=name, flow_id=flow)
    lines: list[str] = []
    for _ in range(2):
        asyncio.run(withdraw_deployments(frozenset({"granter", "rehearse"}), lines.append))
    assert sorted(lines) == [
        "removed the deployment grant-access: nothing here needs the queue granter",
        "removed the deployment rehearse: nothing here needs it",
    ]
    assert "grant-access" not in by_name(prefect, "deployments")
