"""Metrics of a client or a serving process for Prometheus's own library.

REGISTRY.register(ClientCollector(client))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from keyturn.client.client import SecretClient
from keyturn.client.metrics import Distribution, Histogram, Kind, Metric, metrics, named

PREFIX: Final = "keyturn_client_"
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
T = TypeVar("T")


class NumbersCollector(Collector, Generic[T]):
    """Reads the metrics of ``subjects`` at each scrape; the values of ``labels`` identify each subject."""

    def __init__(
        self,
        prefix: str,
        numbers: Sequence[Metric[T] | Histogram[T]],
        subjects: Mapping[tuple[str, ...], T],
        labels: tuple[str, ...] = (),
    ) -> None:
        self._prefix = prefix
        self._metrics = numbers
        self._subjects = subjects
        self._labels = labels

    def collect(self) -> Iterator[Family]:
        return (self._family(metric, self._subjects) for metric in self._metrics)

    def describe(self) -> Iterator[Family]:
        return (self._family(metric, {}) for metric in self._metrics)

    def _family(self, metric: Metric[T] | Histogram[T], subjects: Mapping[tuple[str, ...], T]) -> Family:
        kind: Any = HistogramMetricFamily
        if isinstance(metric, Metric):
            kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family: Family = kind(self._prefix + metric.name, metric.help, labels=[*self._labels, *metric.labels])
        add: Any = family.add_metric
        for texts, subject in subjects.items():
            for labels, value in metric.read(subject).items():
                numbers = (_buckets(value), value.sum) if isinstance(value, Distribution) else (value,)
                add([*texts, *labels], *numbers)
        return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    counted = zip(distribution.bounds, distribution.counts, strict=True)
    return [*((str(bound), float(count)) for bound, count in counted), ("+Inf", distribution.count)]


class ClientCollector(NumbersCollector[SecretClient]):
    """Reads the metrics of one or several clients, whose names the label ``client`` holds."""

    def __init__(self, clients: SecretClient | Mapping[str, SecretClient], *, per_secret: bool = False) -> None:
        subjects: dict[tuple[str, ...], SecretClient] = {(name,): client for name, client in named(clients).items()}
        super().__init__(PREFIX, metrics(per_secret=per_secret), subjects, ("client",))


def exposition_of(client: SecretClient) -> Callable[[], str]:
    return exposition(ClientCollector(client))


def exposition(*collectors: Collector) -> Callable[[], str]:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return lambda: generate_latest(registry).decode()
