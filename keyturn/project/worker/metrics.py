"""A worker's metrics, counted from its start if KEYTURN_WORKER_METRICS is set."""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keyturn.client.clock import elapsed
from keyturn.client.metrics import Distribution, Distributions, Histogram, Kind, Metric, Samples
from keyturn.core.errors import Invalid

PREFIX: Final = "keyturn_worker_"
VARIABLE: Final = "KEYTURN_WORKER_METRICS"
CERT_VARIABLE: Final = "KEYTURN_WORKER_METRICS_CERT"
KEY_VARIABLE: Final = "KEYTURN_WORKER_METRICS_KEY"

UNKNOWN: Final = "unknown"
MOST_FLOWS: Final = 100
"""The limit of separately counted flows."""
OTHERS: Final = "(others)"

BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0)
"""Seconds."""

NOT_STARTED: Final = "not started"
"""The result of a run without a process; other results are Prefect's states."""


class Spread:
    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Add a time; a negative one, from a wrong clock, counts as 0."""
        self._counts[bisect_left(BOUNDS, max(0.0, seconds))] += 1
        self._sum += max(0.0, seconds)

    def now(self) -> Distribution:
        sums = [sum(self._counts[: at + 1]) for at in range(len(BOUNDS))]
        return Distribution(BOUNDS, tuple(sums), sum(self._counts), self._sum)


class WorkerNumbers:
    """Counts of one worker. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = Counter[str]()
        self._ended = Counter[tuple[str, str]]()
        self._processes = Counter[str](forked=0, alone=0)
        self._durations: dict[str, Spread] = defaultdict(Spread)
        self._waits = Spread()
        self.nursery_up: Callable[[], bool | None] = lambda: None
        """Whether runs can be forked; None if they never are."""

    @contextmanager
    def run(self, flow: str, expected_at: datetime | None) -> Iterator["RunEnd"]:
        """Count one run of ``flow`` during the context; it was due at ``expected_at``."""
        with self._lock:
            flow = flow if flow in self._begun or len(self._begun) < MOST_FLOWS else OTHERS
            self._begun[flow] += 1
            if expected_at:
                self._waits.add((datetime.now(UTC) - expected_at).total_seconds())
        began, end = elapsed(), RunEnd()
        try:
            yield end
        finally:
            with self._lock:
                self._ended[flow, end.outcome] += 1
                self._durations[flow].add(elapsed() - began)

    def process(self, how: str) -> None:
        with self._lock:
            self._processes[how] += 1

    def begun(self) -> Samples:
        with self._lock:
            return {(flow,): float(count) for flow, count in self._begun.items()}

    def ended(self) -> Samples:
        with self._lock:
            return {labels: float(count) for labels, count in self._ended.items()}

    def under_way(self) -> Samples:
        with self._lock:
            return {(): float(self._begun.total() - self._ended.total())}

    def processes(self) -> Samples:
        with self._lock:
            return {(how,): float(count) for how, count in self._processes.items()}

    def durations(self) -> Distributions:
        with self._lock:
            return {(flow,): spread.now() for flow, spread in self._durations.items()}

    def waits(self) -> Distributions:
        with self._lock:
            return {(): self._waits.now()}

    def nursery(self) -> Samples:
        up = self.nursery_up()
        return {} if up is None else {(): float(up)}


class RunEnd:
    outcome = NOT_STARTED


def worker_metrics() -> Sequence[Metric[WorkerNumbers] | Histogram[WorkerNumbers]]:
    flow, outcome = ("flow",), ("flow", "outcome")
    ended = "Runs that have ended, by the state that Prefect has of them then, such as completed."
    waited = "From when a run was to begin until this worker had it."
    nursery = "1 while there is a process to fork runs from, else 0."
    numbers = WorkerNumbers
    return [
        Metric("runs_begun", Kind.COUNTER, "Runs that this worker has begun.", numbers.begun, labels=flow),
        Metric("runs_ended", Kind.COUNTER, ended, numbers.ended, labels=outcome),
        Metric("runs_under_way", Kind.GAUGE, "Runs whose process lives.", numbers.under_way),
        Histogram("run_duration_seconds", "How long the processes of runs lived.", numbers.durations, "s", flow),
        Histogram("run_wait_seconds", waited, numbers.waits, "s"),
        Metric(
            "processes",
            Kind.COUNTER,
            "Processes of runs: forked, or started alone.",
            numbers.processes,
            labels=("how",),
        ),
        Metric("nursery_up", Kind.GAUGE, nursery, numbers.nursery),
    ]


def serve_numbers(
    stack: ExitStack, numbers: WorkerNumbers, variables: Mapping[str, str], say: Callable[[str], None]
) -> str:
    """Serve at the address in ``variables`` until the stack closes; returns it with its port.

    Raises Invalid, OSError.
    """
    try:
        import h11  # noqa: F401

        from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
    except ModuleNotFoundError as error:
        problem = f"the package {(error.name or '').replace('_', '-')} is missing"
        raise Invalid(
            "serve", f"the worker's numbers at {variables[VARIABLE]}", problem, "Install keyturn[serve]"
        ) from None
    from keyturn.agent.sockets import open_at
    from keyturn.core.clear_text import is_loopback
    from keyturn.providers.vault.logins.files import read_login
    from keyturn.serving.certificates import CertificateFiles
    from keyturn.serving.endpoint import Endpoint, answering
    from keyturn.serving.numbers.login import metrics_login
    from keyturn.serving.numbers.process import Serving, build_metric

    cert, key = variables.get(CERT_VARIABLE, ""), variables.get(KEY_VARIABLE, "")
    if bool(cert) != bool(key):
        raise Invalid(
            "serve", "the worker's numbers", f"{CERT_VARIABLE} and {KEY_VARIABLE} belong together", "Set both"
        )
    tls = CertificateFiles(Path(cert), Path(key), say) if cert else None
    listener = stack.enter_context(open_at(variables[VARIABLE], tls=tls is not None, sent="what runs here"))
    collectors = NumbersCollector(PREFIX, worker_metrics(), {(): numbers})
    build = NumbersCollector("keyturn_", [build_metric()], {(): numbers})
    address, port = listener.getsockname()[:2]
    local = is_loopback(address)
    admit = metrics_login(variables, read_login, say, local=local)
    endpoint = Endpoint(Serving(), exposition(collectors, build), local=local, admit=admit)
    stack.enter_context(answering(listener, endpoint.answer, tls.context if tls else None))
    return f"{'https' if tls else 'http'}://{variables[VARIABLE].rpartition(':')[0]}:{port}"
