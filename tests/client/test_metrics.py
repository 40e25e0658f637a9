"""Client metrics: counters, Prometheus and OpenTelemetry."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, NoOpMeter, Observation
from prometheus_client import CollectorRegistry, generate_latest

from keyturn.client.client import SecretClient
from keyturn.client.policy import CachePolicy
from keyturn.providers.opentelemetry.metrics import instrument
from keyturn.providers.prometheus.metrics import ClientCollector
from tests.support.served import Clock, MemorySource


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=3, b=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(source: MemorySource, clock: Clock) -> Iterator[SecretClient]:
    with SecretClient([source], policies={"a": CachePolicy(ttl=5)}, poll=0, clock=clock) as client:
        yield client


class Meter(NoOpMeter):
    """Keeps the callbacks that it is given."""

    def __init__(self) -> None:
        super().__init__("test")
        self.callbacks: dict[str, Callable[[CallbackOptions], Sequence[Observation]]] = {}

    def create_observable_counter(self, name: str, callbacks: Any = None, *rest: Any) -> Any:
        (self.callbacks[name],) = callbacks

    create_observable_gauge = create_observable_counter  # type: ignore[assignment]

    def observed(self) -> dict[str, list[tuple[float, Any]]]:
        options = CallbackOptions()
        read = {name: callback(options) for name, callback in self.callbacks.items()}
        return {name: [(each.value, each.attributes) for each in observations] for name, observations in read.items()}


def lived(client: SecretClient, source: MemorySource, clock: Clock) -> None:
    """One secret is kept, and another is stale since its source is away."""
    client.get("b")
    client.get("a")
    source.away = True
    clock.now += 6
    client.tend()
    assert client.get("a").stale


def test_prometheus_is_told_counts_ages_and_sources(client: SecretClient, source: MemorySource, clock: Clock) -> None:
    registry = CollectorRegistry()
    registry.register(ClientCollector({"trainer": client}, per_secret=True))
    lived(client, source, clock)
    text = generate_latest(registry).decode()
    name = '{client="trainer"}'
    assert f"keyturn_client_reads_total{name} {client.statistics.shown()['reads']:.1f}" in text
    assert f"keyturn_client_kept{name} 2.0" in text
    assert f"keyturn_client_kept_stale{name} 1.0" in text
    assert 'keyturn_client_source_up{client="trainer",source="hub"} 0.0' in text
    assert 'keyturn_client_version{client="trainer",path="a",source="hub"} 3.0' in text
    assert "a-3" not in text
    for counted in ("misses", "renewals", "stale", "errors", "notices"):
        assert f"keyturn_client_{counted}_total{name}" in text


@pytest.mark.attack
def test_paths_are_in_metrics_only_on_request(client: SecretClient) -> None:
    registry = CollectorRegistry()
    registry.register(ClientCollector(client))
    client.get("b")
    assert "path=" not in generate_latest(registry).decode()


def test_several_clients_of_one_process_are_told_apart() -> None:
    registry = CollectorRegistry()
    with SecretClient([MemorySource()], poll=0) as first, SecretClient([MemorySource()], poll=0) as second:
        registry.register(ClientCollector({"first": first, "second": second}))
        text = generate_latest(registry).decode()
    assert 'keyturn_client_kept{client="first"} 0.0' in text
    assert 'keyturn_client_kept{client="second"} 0.0' in text


def test_opentelemetry_observes_the_same(client: SecretClient, source: MemorySource, clock: Clock) -> None:
    meter = Meter()
    instrument({"trainer": client}, per_secret=True, meter=meter)
    lived(client, source, clock)
    observed = meter.observed()
    assert observed["keyturn.client.kept"] == [(2, {"client": "trainer"})]
    assert observed["keyturn.client.source_up"] == [(0.0, {"client": "trainer", "source": "hub"})]
    assert observed["keyturn.client.kept_bytes"] == [(2 * len("passworda-3"), {"client": "trainer"})]
    (oldest,) = observed["keyturn.client.oldest_seconds"]
    assert 0 <= oldest[0] < 60
    ages = {attributes["path"] for _, attributes in observed["keyturn.client.age_seconds"]}
    assert ages == {"a", "b"}
