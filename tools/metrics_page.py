"""``python -m tools.metrics_page``: every metric that Keyturn exports, as in ``docs/metrics.md``."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from keyturn.client.metrics import Histogram, Kind, Metric
from keyturn.project.worker.metrics import PREFIX as WORKER_PREFIX
from keyturn.project.worker.metrics import worker_metrics
from keyturn.serving.numbers.board import board_metrics
from keyturn.serving.numbers.displayed import PREFIX, SHOWN, TOLD_BY
from keyturn.serving.numbers.process import PREFIX as SERVE_PREFIX
from keyturn.serving.numbers.process import build_metric, serving_metrics

RULES: Final = Path(__file__).parents[1] / "deployments" / "prometheus" / "rules.yaml"
NAME: Final = re.compile(r"\bkeyturn_[a-z0-9_]+")

PAGE: Final = """# Metrics

[`keyturn serve`](operations.md#prometheus) exports these metrics at `/metrics` for Prometheus, and a \
[worker](prefect.md) at the address in `KEYTURN_WORKER_METRICS`. `python -m tools.metrics_page` generates this page. \
The metrics of an application's client are in [the client's guide](client.md).

- A metric that could not be determined is absent, never 0.
- No label holds a value of a secret. Paths are labels only with `keyturn serve --per-secret`.
- One process at a time exports the metrics of the whole workspace: aggregate over instances, as in \
`max by (owner) (keyturn_secrets_late)`.

The alerts are those of [deployments/prometheus/rules.yaml](../deployments/prometheus/rules.yaml), and dashboards for \
Grafana are in [deployments/dashboards](../deployments/dashboards)."""


@dataclass(frozen=True)
class Exported:
    """One number, by its whole name without what Prometheus adds to it."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]

    @property
    def series(self) -> frozenset[str]:
        """The names that an expression may ask for."""
        if self.kind == "histogram":
            return frozenset(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return frozenset({f"{self.name}_total" if self.kind == "counter" else self.name})

    @property
    def shown(self) -> str:
        """As people ask for it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def exported(prefix: str, metric: Metric[Any] | Histogram[Any]) -> Exported:
    """One metric by its definition."""
    kind = "histogram" if isinstance(metric, Histogram) else "counter" if metric.kind is Kind.COUNTER else "gauge"
    return Exported(f"{prefix}{metric.name}", kind, metric.help, metric.labels)


def of_workspace() -> Mapping[str, list[Exported]]:
    """The metrics of the part ``numbers``, by area."""
    by_name = {metric.name: exported(PREFIX, metric) for metric in board_metrics()}
    sections: dict[str, list[Exported]] = defaultdict(list)
    for shown in SHOWN:
        sections[shown.area].append(by_name.pop(shown.name))
    return {"": [exported(PREFIX, build_metric()), *by_name.values()], **sections}


def all_exported() -> list[Exported]:
    """Every number of a process that serves and of a worker."""
    whole = [metric for section in of_workspace().values() for metric in section]
    return [*whole, *of_process(), *of_worker()]


def of_process() -> list[Exported]:
    """The metrics of each process of `keyturn serve`."""
    return [exported(SERVE_PREFIX, metric) for metric in serving_metrics()]


def of_worker() -> list[Exported]:
    """The metrics of a worker."""
    return [exported(WORKER_PREFIX, metric) for metric in worker_metrics()]


def alerts_by_series() -> Mapping[str, list[str]]:
    """Which alerts ask for a series, by its name."""
    alerts: dict[str, list[str]] = defaultdict(list)
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            for name in dict.fromkeys(NAME.findall(rule["expr"])):
                alerts[name].append(rule["alert"])
    return alerts


def table(metrics: list[Exported], alerts: Mapping[str, list[str]]) -> str:
    """One section's numbers."""
    rows = ["| metric | kind | labels | meaning | alerts |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        named = dict.fromkeys(alert for series in sorted(metric.series) for alert in alerts.get(series, ()))
        asked = ", ".join(f"`{alert}`" for alert in named) or "-"
        rows.append(f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.help} | {asked} |")
    return "\n".join(rows)


def sections() -> Iterator[str]:
    """The page, a piece at a time."""
    alerts = alerts_by_series()
    yield PAGE
    whole = dict(of_workspace())
    yield f"## Of the process and its looks\n\n{table(whole.pop(''), alerts)}"
    for area, metrics in whole.items():
        told_by = next(text for each, text in TOLD_BY.items() if str(each) == str(area))
        yield f"## {str(area).capitalize()}\n\n{told_by} The area is `{area}`.\n\n{table(metrics, alerts)}"
    yield f"## Of one `keyturn serve`\n\nSince it began.\n\n{table(of_process(), alerts)}"
    yield f"## Of one worker\n\nSince it began.\n\n{table(of_worker(), alerts)}"


def metrics_page() -> str:
    """All of it, with the last line's end."""
    return "\n\n".join(sections()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
