"""A client's metrics as OpenTelemetry instruments, which need only its API.

instrument(client)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from keyturn.client.client import SecretClient
from keyturn.client.metrics import Kind, Metric, metrics, named

PREFIX: Final = "keyturn.client."


def instrument(
    clients: SecretClient | Mapping[str, SecretClient], *, per_secret: bool = False, meter: Meter | None = None
) -> None:
    """Observe the metrics of clients, named by the attribute ``client``, by ``meter`` or the global provider."""
    meter = meter or get_meter("keyturn")
    for metric in metrics(per_secret=per_secret):
        kind = metric.kind is Kind.COUNTER
        create = meter.create_observable_counter if kind else meter.create_observable_gauge
        create(PREFIX + metric.name, [_observe(metric, named(clients))], metric.unit, metric.help)


def _observe(
    metric: Metric[SecretClient], clients: Mapping[str, SecretClient]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for name, client in clients.items():
            for labels, value in metric.read(client).items():
                yield Observation(value, {"client": name, **dict(zip(metric.labels, labels, strict=True))})

    return observe
