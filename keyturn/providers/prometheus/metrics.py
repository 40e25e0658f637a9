"""What a client tells of itself, for Prometheus's own library.

REGISTRY.register(ClientCollector(client))
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from keyturn.client.client import SecretClient
from keyturn.client.metrics import Kind, Metric, metrics, named

PREFIX: Final = "keyturn_client_"

Family = CounterMetricFamily | GaugeMetricFamily


class ClientCollector(Collector):
    """Reads the numbers of a client whenever Prometheus asks, or of several.

    Several are told apart by the label ``client``, which is their name, and are given to one collector together;
    ``per_secret`` is that of :func:`keyturn.client.metrics.metrics`.
    """

    def __init__(self, clients: SecretClient | Mapping[str, SecretClient], *, per_secret: bool = False) -> None:
        self._clients = named(clients)
        self._metrics = metrics(per_secret=per_secret)

    def collect(self) -> Iterator[Family]:
        """All of them as they are now."""
        return (self._family(metric, self._clients) for metric in self._metrics)

    def describe(self) -> Iterator[Family]:
        """Their names, without asking a client."""
        return (self._family(metric, {}) for metric in self._metrics)

    def _family(self, metric: Metric, clients: Mapping[str, SecretClient]) -> Family:
        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = kind(PREFIX + metric.name, metric.help, labels=["client", *metric.labels])
        for name, client in clients.items():
            for labels, value in metric.read(client).items():
                family.add_metric([name, *labels], value)
        return family


def exposition_of(client: SecretClient) -> Callable[[], str]:
    """A function that gives the numbers of one client as Prometheus reads them, from a registry of their own."""
    registry = CollectorRegistry()
    registry.register(ClientCollector(client))
    return lambda: generate_latest(registry).decode()
