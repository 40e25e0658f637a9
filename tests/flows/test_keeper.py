"""The keeper starts each pending flow once, and leaves no runs when nothing is pending."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType

from deployments.bootstrap import deploy, make_pool, withdraw_schedules
from deployments.prefect_file import file_of, prefect_file
from flows.doctor import doctor
from flows.keeper import UNSEEN, Before, Round, keeper, last_round
from flows.rotate import rotate_secret
from flows.support.common import vouch
from flows.support.duties import Duty, marks_before
from flows.support.starting import BEGINS_WITHIN, Wanted, is_near, start_run
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.schedule.cron import Cron
from keyturn.core.schedule.due import Trigger
from keyturn.core.workspaces import HOUSE, WorkspaceNames
from keyturn.doctor.nightly import KEPT, KeptDiagnosis, last_diagnosis
from keyturn.ledger.freshness import SIGN_OF_LIFE
from keyturn.providers.ledger.address import open_ledger
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.rotation.state.context import Workspace
from tasks.workspace import opened
from tests.flows.runs import Installed, completed, ended
from tests.flows.site import Site, destination
from tests.ledger.entries import entries
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

Build = Callable[..., Site]
A_DAY_IDLE = 100
"""Runs of a day in which there is nothing to do, at most."""
LONG_AGO = "2020-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Queue:
    """What is asked for while the worker takes nothing."""

    server: PrefectServer
    before: frozenset[str]

    def asked_for(self) -> list[tuple[str, dict[str, Any]]]:
        """The deployment and parameters of each run since, in their order."""
        names = {one["id"]: one["name"] for one in self.server.all("deployments")}
        runs = sorted(self.runs(), key=lambda run: (run["expected_start_time"], run["created"]))
        return [(names[run["deployment_id"]], run["parameters"]) for run in runs]

    def runs(self) -> list[dict[str, Any]]:
        """Every run of a deployment since."""
        return [run for run in self.server.all("flow_runs") if run["deployment_id"] and run["id"] not in self.before]


@pytest.fixture
def queue(installed: Installed, prefect: PrefectServer) -> Iterator[Queue]:
    """The worker rests; what was asked for is gone afterwards, and so is what others have left waiting."""
    queues = {one["name"]: one["id"] for one in prefect.post(f"work_pools/{HOUSE}/queues/filter")}
    prefect.patch(f"work_pools/{HOUSE}/queues/default", is_paused=True)
    assert queues["default"]
    for run in prefect.all("flow_runs"):
        if run["deployment_id"] and run["state_type"] in (StateType.SCHEDULED, StateType.PENDING):
            prefect.delete(f"flow_runs/{run['id']}")
    made = Queue(prefect, frozenset(run["id"] for run in prefect.all("flow_runs")))
    yield made
    for run in made.runs():
        prefect.delete(f"flow_runs/{run['id']}")
    prefect.patch(f"work_pools/{HOUSE}/queues/default", is_paused=False)


@dataclass(frozen=True)
class Book:
    """A ledger of this test's own."""

    file: Path
    name: str

    def size(self) -> int:
        with closing(open_ledger(str(self.file), origin=f"keyturn/{self.name}")) as opened:
            return opened.size()

    def write(self) -> None:
        with closing(open_ledger(str(self.file), origin=f"keyturn/{self.name}")) as opened:
            opened.append(entries(2))


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    made = Book(tmp_path / "ledger.db", fresh())
    monkeypatch.setenv("KEYTURN_LEDGER", str(made.file))
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", made.name)
    return made


def examined(lab: Lab, ago: timedelta) -> None:
    """Somebody has looked whether all is ready, so long ago."""
    kept = KeptDiagnosis(lab.hub.now() - ago, ready=True, summary="READY as worker: 1 checks")
    lab.keep(KEPT, kept.to_data())


@pytest.fixture
def no_news(lab: Lab, nothing_open: None) -> None:
    """Nothing of other tests' incidents is left to be told or looked at, and all was seen to be ready."""
    workspace = lab.open().workspace
    examined(lab, timedelta(minutes=1))
    for one in incident_store.list_incidents(workspace):
        for change in ({"given_up": "a test"}, {"outbox": ()}):
            laid: Any = partial(dataclasses.replace, **change)
            incident_store.update_incident(workspace, one.id, laid)


def opened_incident(lab: Lab) -> None:
    """One that is open, and about nothing."""
    now = datetime.now(UTC)
    incident = Incident(f"INC-{fresh()}", "a test", Mode.REPLACE, "", "somebody", now, now, ())
    incident_store.create_incident(lab.open().workspace, incident)


def started(state: Any) -> set[str]:
    """What a run says that it has started."""
    assert state.is_completed(), state.message
    return set(asyncio.run(state.aresult()))


def test_where_nothing_is_due_it_starts_nothing_and_leaves_neither_a_task_nor_an_entry(
    queue: Queue, book: Book, build: Build, lab: Lab, no_news: None
) -> None:
    build(lab.generated(), lab.alternating())
    state = ended(keeper)
    assert state.message == "nothing was due"
    assert queue.asked_for() == []
    assert book.size() == 0
    run = str(state.state_details.flow_run_id)
    ended(rotate_secret, "nothing/of-that-name")  # by then the server has been told of whatever tasks there were
    assert queue.server.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}}) == []
    assert queue.server.all("artifacts", artifacts={"flow_run_id": {"any_": [run]}}) == []


def test_what_is_due_is_started_once_each_however_often_it_looks(
    queue: Queue, book: Book, build: Build, lab: Lab, no_news: None
) -> None:
    due, pushed, old = lab.generated(), lab.generated(destinations=[destination()]), lab.generated(grace="0s")
    tried = lab.alternating(folder="drills", drill="30d")
    build(due, pushed, old, tried)
    completed(partial(rotate_secret, old.path, trigger=Trigger.FORCE))
    lab.hub.patch_metadata(due.path, {ROTATED_AT: LONG_AGO})
    opened_incident(lab)
    wanted = {"rotate-due", "retire", "sync", "finish-incidents", "keep-ledger", "drill"}
    assert started(ended(keeper)) == wanted
    asked = queue.asked_for()
    assert sorted(name for name, _ in asked) == sorted(wanted)
    assert dict(asked)["retire"] == {"quiet": True}
    assert dict(asked)["drill"] == {"path": tried.path}

    again = ended(keeper)
    assert started(again) == set()
    assert str(again.message).startswith("under way already: ")
    assert queue.asked_for() == asked


def test_a_grace_that_ends_before_the_next_round_has_a_run_at_that_mark(
    queue: Queue, book: Book, build: Build, lab: Lab, no_news: None
) -> None:
    soon, late = lab.generated(grace="7m"), lab.generated(grace="3h")
    build(soon, late)
    for secret in (soon, late):
        completed(partial(rotate_secret, secret.path, trigger=Trigger.FORCE))
    over = datetime.now(UTC) + timedelta(minutes=7)
    for _ in range(2):
        ended(keeper)
    (run,) = [run for run in queue.runs() if run["parameters"] == {"quiet": True}]
    at = datetime.fromisoformat(run["expected_start_time"])
    assert at in marks_before(over + timedelta(seconds=1), [over - timedelta(seconds=20), over])
    assert timedelta(seconds=-20) < at - over < timedelta(minutes=5)


def test_a_look_that_fails_stops_no_other_and_fails_the_run(
    queue: Queue, book: Book, build: Build, lab: Lab, no_news: None
) -> None:
    due = lab.generated()
    build(due)
    lab.hub.patch_metadata(due.path, {ROTATED_AT: LONG_AGO})
    book.file.write_bytes(b"this is no database, and longer than the header of one " * 4)
    state = ended(keeper)
    assert state.is_failed()
    assert "look at ledger" in str(state.message)
    assert ("rotate-due", {}) in queue.asked_for()
    assert queue.server.get(f"flow_runs/{state.state_details.flow_run_id}")["labels"][UNSEEN] == "ledger"


@pytest.mark.attack
def test_a_failed_check_is_repeated_and_counts_as_unseen(queue: Queue, installed: Installed, lab: Lab) -> None:
    for labels in ({UNSEEN: "hub,logins"}, {}):
        deployed = f"deployments/{installed.deployments['keeper']}/create_flow_run"
        queue.server.post(deployed, state={"type": "FAILED"}, labels=labels)
    failed, _ = sorted(queue.runs(), key=lambda run: str(run["created"]))

    async def counted() -> Before:
        async with get_client() as client:
            return await last_round(await client.read_flow_run(failed["id"]))

    before = asyncio.run(counted())
    assert before == Before(datetime.fromisoformat(failed["expected_start_time"]), frozenset({"hub", "logins"}))
    assert before.due is not None
    soon = Round(lab.open().workspace, "", before, before.due)
    due = [soon.is_due(Duty(name, no_look, timedelta(days=1))) for name in ("hub", "another")]
    assert due == [True, False]


async def no_look(opened: Workspace) -> list[Wanted]:
    """What is not looked at here."""
    raise AssertionError(opened)


@pytest.mark.attack
def test_an_unready_installation_fails_a_run_and_is_checked_once_a_day(
    queue: Queue, book: Book, build: Build, lab: Lab, no_news: None
) -> None:
    examined(lab, timedelta(hours=23))
    build(lab.generated())
    assert started(ended(keeper)) == {"doctor"}
    state = ended(doctor)
    assert str(state.message).startswith("work with this installation: NOT READY as worker: ")
    run = str(state.state_details.flow_run_id)
    (page,) = queue.server.all("artifacts", artifacts={"flow_run_id": {"any_": [run]}})
    assert (page["key"], page["type"]) == ("doctor", "markdown")
    assert page["description"] in page["data"]
    kept = last_diagnosis(lab.open().workspace)
    assert kept is not None
    assert (kept.ready, kept.summary) == (False, page["description"])
    assert any(line in str(state.message) for line in kept.findings)
    assert "doctor" not in started(ended(keeper))


def test_a_worker_runs_it_and_the_next_one_counts_from_there(
    installed: Installed, build: Build, lab: Lab, no_news: None, prefect: PrefectServer
) -> None:
    site = build(lab.generated())
    run = installed.run("keeper", site)
    assert run["state_type"] == "COMPLETED", run["state"]

    async def counted() -> datetime | None:
        async with get_client() as client:
            return (await last_round(await client.read_flow_run(run["id"]))).due

    assert asyncio.run(counted()) == datetime.fromisoformat(run["expected_start_time"])
    following = installed.run("keeper", site)
    assert following["state_type"] == "COMPLETED", following["state"]


def test_of_runs_at_one_mark_there_is_one_whoever_asks(queue: Queue) -> None:
    at = datetime.now(UTC) + timedelta(minutes=50)

    async def twice() -> list[bool]:
        return [await start_run(Wanted("keep-ledger", at=at), by=who) for who in ("one", "another")]

    asyncio.run(twice())
    assert queue.asked_for() == [("keep-ledger", {})]


@pytest.mark.parametrize(
    ("mark", "asked"), [(timedelta(minutes=4), []), (timedelta(seconds=-1), ["keep-ledger"]), (None, ["keep-ledger"])]
)
def test_a_run_has_the_ledger_signed_after_its_end_and_asks_again_only_where_the_first_mark_is_over(
    mark: timedelta | None, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []

    async def first() -> datetime | None:
        return None if mark is None else datetime.now(UTC) + mark

    async def again(flow: str) -> None:
        wanted.append(flow)

    async def end() -> None:
        await vouch([asyncio.create_task(first())])

    monkeypatch.setattr("flows.support.common.start_at_next_mark", again)
    asyncio.run(end())
    assert wanted == asked


def test_a_run_that_has_left_nothing_in_the_ledger_has_nothing_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.support.common.start_at_next_mark", no_look)
    asyncio.run(vouch([]))


@pytest.mark.attack
def test_a_run_unchanged_beyond_the_maximum_duration_is_not_active() -> None:
    now = datetime.now(UTC)

    def stands(kind: StateType, ago: timedelta) -> bool:
        moment: Any = now - ago
        state: State[Any] = State(type=kind, timestamp=moment)
        return is_near(FlowRun(flow_id=uuid4(), state=state, state_type=kind, expected_start_time=moment), now)

    assert stands(StateType.RUNNING, timedelta(hours=4))
    assert not stands(StateType.RUNNING, timedelta(hours=6))
    assert stands(StateType.PENDING, BEGINS_WITHIN / 2)
    assert not stands(StateType.PENDING, BEGINS_WITHIN * 2)
    assert stands(StateType.SCHEDULED, timedelta(hours=6))
    assert not stands(StateType.SCHEDULED, timedelta(hours=-1))


# --- schedules ---------------------------------------------------------------------------------------------


def test_a_day_with_nothing_to_do_has_a_hundred_runs_at_most() -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    declared = yaml.safe_load(prefect_file().read_text())["deployments"]
    crons = [(one["name"], schedule["cron"]) for one in declared for schedule in one.get("schedules", ())]
    assert {name for name, _ in crons} == {"keeper", "sync", "finish-incidents"}
    runs = sum(len(list(runs_of_day(cron, midnight))) for _, cron in crons)
    signs_of_life = timedelta(days=1) / SIGN_OF_LIFE
    assert runs + signs_of_life <= A_DAY_IDLE


def runs_of_day(cron: str, midnight: datetime) -> Iterator[datetime]:
    """The moments of a cron on that day."""
    moments = Cron(cron, "UTC").runs(midnight - timedelta(seconds=1))
    return itertools.takewhile(lambda moment: moment < midnight + timedelta(days=1), moments)


OLD = {"rotate-due": "*/15 * * * *", "keep-ledger": "*/5 * * * *", "finish-incidents": "*/5 * * * *"}
"""Schedules of an earlier version."""
OWN = "0 6 1 * *"
"""One of an operator's own."""
LEFT = {"rotate-due": [OWN], "keep-ledger": [], "finish-incidents": ["17 5 * * *"]}
UPGRADED = WorkspaceNames("upgraded")


@pytest.mark.attack
def test_an_upgrade_takes_the_schedules_of_an_earlier_version_away_with_what_they_had_asked_for(
    prefect: PrefectServer, tmp_path: Path
) -> None:
    asyncio.run(make_pool(lambda _: None, UPGRADED))
    with file_of(UPGRADED) as new:
        declared = yaml.safe_load(new.read_text())
        for one in declared["deployments"]:
            if cron := OLD.get(one["name"].removesuffix("-upgraded")):
                one["schedules"] = [{"cron": cron, "timezone": "UTC"}]
        old = tmp_path / "prefect.yaml"
        old.write_text(yaml.safe_dump(declared))
        deploy(old)
        before = {name: deployment(prefect, name) for name in OLD}
        for one in before.values():
            prefect.post(f"deployments/{one['id']}/schedule", min_runs=3)
        assert all(scheduled(prefect, one) for one in before.values())
        own = before["rotate-due"]["id"]
        schedules = [{"schedule": {"cron": OWN, "timezone": "UTC"}}]
        prefect._ask("POST", f"deployments/{own}/schedules", schedules)
        deploy(new)
        asyncio.run(withdraw_schedules(UPGRADED))
    for name, one in before.items():
        crons = [schedule["schedule"]["cron"] for schedule in deployment(prefect, name)["schedules"]]
        assert crons == LEFT[name]
        if not LEFT[name]:
            wait_for(lambda one=one: not scheduled(prefect, one))  # type: ignore[misc]
    for one in prefect.all("deployments"):
        if one["name"].endswith("-upgraded"):
            prefect.delete(f"deployments/{one['id']}")
    prefect.delete(f"work_pools/{UPGRADED.own}")


def deployment(server: PrefectServer, flow: str) -> dict[str, Any]:
    """The deployment of that flow."""
    return dict(server.get(f"deployments/name/{UPGRADED.deployed(flow)}"))


def scheduled(server: PrefectServer, deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """Its runs that are to come."""
    asked = {"deployment_id": {"any_": [deployment["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    return server.all("flow_runs", flow_runs=asked)


def test_with_a_broken_catalogue_it_fails_and_still_starts_what_an_open_incident_needs(
    queue: Queue, build: Build, lab: Lab, no_news: None
) -> None:
    site = build(lab.generated())
    opened_incident(lab)
    (Path(site.variables["KEYTURN_CATALOGUE"]) / "broken.yaml").write_text("secrets: [\n")
    opened.cache_clear()
    state = ended(keeper)
    assert state.is_failed()
    assert "broken.yaml" in str(state.message)
    assert [name for name, _ in queue.asked_for()] == ["finish-incidents"]
