"""What a command prints of a run that it waits for."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from keyturn.cli.running.watch import Run, Watcher
from keyturn.core.error_codes import code_of
from keyturn.core.errors import Invalid
from keyturn.core.result_parts import RESULT
from keyturn.settings.prefect import PrefectSettings

ENDED = {"type": "COMPLETED", "name": "Completed", "message": "rotated"}
RUN = {"id": "0a", "name": "brave-otter", "state": ENDED, "start_time": "2026-01-01T00:00:00Z"}


def step(name: str) -> dict[str, Any]:
    """A finished step, as the server lists it."""
    took = {"run_count": 1, "total_run_time": 0.5, "end_time": "2026-01-01T00:00:01Z"}
    return {"id": name, "name": name, "state": ENDED | {"message": f"{name} is done"}, **took}


@pytest.fixture
def server(httpserver: HTTPServer) -> HTTPServer:
    """A Prefect server with one run, which has ended."""
    httpserver.expect_request("/api/deployments/name/rotate-secret/rotate-secret").respond_with_json({"id": "d1"})
    httpserver.expect_request("/api/deployments/d1/create_flow_run").respond_with_json(RUN, status=201)
    httpserver.expect_request("/api/flow_runs/0a").respond_with_json(RUN)
    return httpserver


def test_a_run_whose_worker_lacks_a_setting_is_not_said_to_succeed_later(httpserver: HTTPServer) -> None:
    problem = "find the ledger: the hub names none yet. Set KEYTURN_LEDGER for each worker, and restart the workers"
    message = f"Flow run encountered an exception: Invalid: {problem}"
    failed = RUN | {"state": {"type": "FAILED", "name": "Failed", "message": message}}
    httpserver.expect_request("/api/deployments/name/sync/sync").respond_with_json({"id": "d1"})
    httpserver.expect_request("/api/deployments/d1/create_flow_run").respond_with_json(failed, status=201)
    httpserver.expect_request("/api/flow_runs/0a").respond_with_json(failed)
    httpserver.expect_request("/api/artifacts/filter").respond_with_json([])
    httpserver.expect_request("/api/task_runs/filter").respond_with_json([step("decide")])
    run = Watcher("sync", 30).run(PrefectSettings(httpserver.url_for("/api")), {}, None, lambda: None)
    error = run.error("sync", "the copies")
    assert (type(error), error.problem) == (Invalid, problem)


def test_a_rotation_that_an_earlier_credential_holds_up_is_named_once_with_its_own_code(httpserver: HTTPServer) -> None:
    why = "the credential before version 7 is not retired: its grace ends 2026-12-03 06:54:12 UTC"
    said = f"PreviousUnended: a/b, make way: rotate a/b: {why}. Nothing was changed. Wait"
    words = f"Flow run encountered an exception: {said}"
    failed = RUN | {"state": {"type": "FAILED", "name": "Failed", "message": words}}
    httpserver.expect_request("/api/deployments/name/rotate-secret/rotate-secret").respond_with_json({"id": "d1"})
    httpserver.expect_request("/api/deployments/d1/create_flow_run").respond_with_json(failed, status=201)
    httpserver.expect_request("/api/flow_runs/0a").respond_with_json(failed)
    httpserver.expect_request("/api/artifacts/filter").respond_with_json([])
    httpserver.expect_request("/api/task_runs/filter").respond_with_json([step("decide")])
    settings = PrefectSettings(httpserver.url_for("/api"))
    error = Watcher("rotate-secret", 30).run(settings, {"path": "a/b"}, None, lambda: None).error("rotate", "a/b")
    assert (code_of(error), error.problem) == ("KT222", why)
    assert error.hint == "Nothing was changed. Wait. See the run in the Prefect UI"


def watched(server: HTTPServer, left: dict[str, int], lists: Iterator[list[str]]) -> Run:
    """The run, with ``left`` next to its result; the server lists these steps, one list for each poll."""
    part = {"id": "r", "part": 0, "of": 1, "text": '{"path": "a/b"}', **left}
    server.expect_request("/api/artifacts/filter").respond_with_json([{"type": RESULT, "data": json.dumps(part)}])
    server.expect_request("/api/task_runs/filter").respond_with_handler(
        lambda _: Response(json.dumps([step(name) for name in next(lists)]), content_type="application/json")
    )
    settings = PrefectSettings(server.url_for("/api"))
    return Watcher("rotate-secret", 30).run(settings, {"path": "a/b"}, None, lambda: None)


def test_steps_that_the_server_learns_of_late_are_printed_before_the_command_ends(
    server: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def lists() -> Iterator[list[str]]:
        yield ["decide"]
        # Longer than a run that did not say how many steps it has would be waited for.
        yield from [["decide", "promote"]] * 8
        while True:
            yield ["decide", "promote", "conclude"]

    run = watched(server, {"steps": 3}, lists())
    assert run.result == {"path": "a/b"}
    assert run.did("conclude")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    assert lines == [f"  {name}: {name} is done, 0.50 s" for name in ("decide", "promote", "conclude")]


@pytest.mark.parametrize("left", [{"steps": 2}, {}], ids=["all are listed", "a worker that does not count"])
def test_nothing_is_waited_for_once_the_steps_are_known(server: HTTPServer, left: dict[str, int]) -> None:
    asked: list[str] = []

    def lists() -> Iterator[list[str]]:
        while True:
            asked.append("steps")
            yield ["decide", "promote"]

    assert watched(server, left, lists()).did("promote")
    assert len(asked) == 1


def test_a_step_that_never_arrives_delays_the_command_for_seconds_only(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.cli.running.watch.LAGGING", 0.3)

    def lists() -> Iterator[list[str]]:
        while True:
            yield ["decide"]

    run = watched(server, {"steps": 2}, lists())
    assert (run.completed, run.did("promote")) == (True, False)
