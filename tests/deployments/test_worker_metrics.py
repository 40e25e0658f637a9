"""A worker's metrics, and the addresses that serve them."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
import requests

from keyturn.core.errors import Invalid
from keyturn.project.worker import metrics as worker_metrics
from keyturn.project.worker.metrics import (
    CERT_VARIABLE,
    OTHERS,
    VARIABLE,
    WorkerNumbers,
    serve_numbers,
)
from keyturn.project.worker.metrics import (
    worker_metrics as declared,
)
from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
from keyturn.serving.numbers.login import TOKEN_FILE


def lines_of(numbers: WorkerNumbers) -> list[str]:
    return exposition(NumbersCollector(worker_metrics.PREFIX, declared(), {(): numbers}))().splitlines()


def run(numbers: WorkerNumbers, flow: str, outcome: str = "completed", late: float = 0.0) -> None:
    with numbers.run(flow, datetime.now(UTC) - timedelta(seconds=late)) as end:
        end.outcome = outcome


def test_runs_are_told_by_flow_and_what_they_came_to() -> None:
    numbers = WorkerNumbers()
    run(numbers, "sync", late=20)
    run(numbers, "sync", "crashed")
    with pytest.raises(RuntimeError), numbers.run("retire", None):
        raise RuntimeError("no process")
    with numbers.run("keeper", None):
        under_way = lines_of(numbers)
    assert "keyturn_worker_runs_under_way 1.0" in under_way
    lines = lines_of(numbers)
    assert 'keyturn_worker_runs_begun_total{flow="sync"} 2.0' in lines
    assert 'keyturn_worker_runs_ended_total{flow="sync",outcome="completed"} 1.0' in lines
    assert 'keyturn_worker_runs_ended_total{flow="sync",outcome="crashed"} 1.0' in lines
    assert 'keyturn_worker_runs_ended_total{flow="retire",outcome="not started"} 1.0' in lines
    assert 'keyturn_worker_run_duration_seconds_count{flow="sync"} 2.0' in lines
    assert 'keyturn_worker_run_wait_seconds_bucket{le="10.0"} 1.0' in lines
    assert 'keyturn_worker_run_wait_seconds_bucket{le="30.0"} 2.0' in lines
    assert "keyturn_worker_runs_under_way 0.0" in lines


def test_a_worker_without_a_nursery_tells_nothing_of_one() -> None:
    numbers = WorkerNumbers()
    assert not [line for line in lines_of(numbers) if line.startswith("keyturn_worker_nursery_up")]
    numbers.nursery_up = lambda: False
    assert "keyturn_worker_nursery_up 0.0" in lines_of(numbers)


def test_more_flows_than_can_be_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_metrics, "MOST_FLOWS", 1)
    numbers = WorkerNumbers()
    for flow in ("sync", "a", "b", "sync"):
        run(numbers, flow)
    assert numbers.begun() == {("sync",): 2.0, (OTHERS,): 2.0}


@pytest.mark.attack
def test_the_numbers_are_served_on_loopback_and_elsewhere_with_tls_alone() -> None:
    numbers = WorkerNumbers()
    run(numbers, "sync")
    with ExitStack() as stack:
        place = serve_numbers(stack, numbers, {VARIABLE: "127.0.0.1:0"}, print)
        text = requests.get(f"{place}/metrics", timeout=30).text
        assert 'keyturn_worker_runs_begun_total{flow="sync"} 1.0' in text
        assert "keyturn_build_info{" in text
        assert requests.get(f"{place}/healthz", timeout=30).status_code == 200
    said = list[str]()
    with ExitStack() as stack:
        place = serve_numbers(stack, numbers, {VARIABLE: "127.0.0.1:0", TOKEN_FILE: "/nowhere/token"}, said.append)
        assert requests.get(f"{place}/metrics", timeout=30).status_code == 401
    assert said[0].startswith("/metrics answers 401: read /nowhere/token")
    with ExitStack() as stack, pytest.raises(Invalid, match="would be sent in clear"):
        serve_numbers(stack, numbers, {VARIABLE: "192.168.0.1:0"}, print)
    with ExitStack() as stack, pytest.raises(Invalid, match="belong together"):
        serve_numbers(stack, numbers, {VARIABLE: "192.168.0.1:0", CERT_VARIABLE: "cert.pem"}, print)
    with ExitStack() as stack, pytest.raises(Invalid, match="it is no address with a port"):
        serve_numbers(stack, numbers, {VARIABLE: "9090"}, print)
