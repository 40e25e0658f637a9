"""Alerts are events of a Prefect server, once each, for automations."""

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from keyturn.access_log.detection.alerts import Stage
from keyturn.cli.emergencies.wake import has_prefect
from keyturn.cli.readers.reactions import CommandConductor, PrefectReaction
from keyturn.cli.running import watch
from keyturn.core.errors import Unavailable
from keyturn.core.workspaces import WorkspaceNames
from tests.access_log.reactions.samples import BEGUN
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = pytest.mark.sampled(10, of="file")


def test_an_alert_is_an_event_and_a_repeat_is_the_same_one(prefect: PrefectServer) -> None:
    name, reaction = fresh(), PrefectReaction(WorkspaceNames("ml"))
    now = datetime.now(UTC)
    begun = replace(BEGUN, id=name, first=now, last=now)
    for _ in range(2):
        reaction.react([begun, replace(begun, stage=Stage.COMPLETE, count=4)])
    wanted = {"filter": {"resource": {"id": [f"keyturn-ml.alert.{name}"]}}}

    def events() -> list[dict[str, object]]:
        found: list[dict[str, object]] = httpx.post(f"{prefect.url}/events/filter", json=wanted).json()["events"]
        return found if len(found) >= 2 else []

    found = wait_for(events)
    assert sorted(str(event["event"]) for event in found) == ["keyturn.alert.begun", "keyturn.alert.complete"]
    assert {str(event["payload"]) for event in found if "ml/key" in str(event["payload"])} != set()


def test_a_server_that_is_down_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", nobody)
    with temporary_settings({PREFECT_API_URL: nobody}), pytest.raises(Unavailable):
        PrefectReaction(WorkspaceNames()).react([BEGUN])
    assert has_prefect()
    assert not CommandConductor("default").hand_over("INC-1", "ml/key", "because")


def test_what_this_login_may_not_end_is_asked_of_the_worker_by_name_alone(
    prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    conductor, runs = CommandConductor("ml"), list[tuple[str, dict[str, object], str]]()

    def begin(flow: str, parameters: dict[str, object], timeout: float, workspace: WorkspaceNames, **_: float) -> None:
        runs.append((flow, parameters, workspace.name))
        raise watch.StillRuns("watch", flow, "it runs still")

    with monkeypatch.context() as patch:
        patch.setattr(watch, "run_deployment", begin)
        assert conductor.hand_over("ALERT-1", "ml/key", "because")
    assert runs == [("emergency-revoke", {"path": "ml/key", "incident": "ALERT-1", "reason": "because"}, "ml")]
    assert not CommandConductor("nobody-has-this").hand_over("ALERT-1", "ml/key", "because"), (
        "there is no such deployment"
    )
