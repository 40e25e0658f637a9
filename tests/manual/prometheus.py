"""A real Prometheus on loopback, which scrapes a stack's `keyturn serve` and one of its workers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from local import environment
from local.home import Stack
from local.programs import find_program
from local.support.ports import free_port
from tests.cli.command import ROOT
from tests.support.hooks import eventually
from tools.metrics_page import RULES

PATIENCE: Final = 240.0
"""Seconds until everything has been scraped once; a worker of Prefect begins late on a busy machine."""
INTERVAL: Final = "1m"
"""What stands here for the interval that Grafana puts in."""

RUNS: Final = "a worker that has run nothing yet has no series of runs"
TROUBLE: Final = "there is a series once something went wrong"
GRANTS: Final = "told by the part that gives access, which needs a login of its own"
DRILLS: Final = "no drill was held yet"
INCIDENTS: Final = "there was no incident yet"
EMPTY: Final[Mapping[str, str]] = {
    "sum(max by (stage) (keyturn_grants))": GRANTS,
    "max(keyturn_grants_waiting)": GRANTS,
    "sum by (level) (increase(keyturn_alerts_total[1h]))": TROUBLE,
    "sum by (source) (increase(keyturn_serve_reaction_failures_total[1h]))": TROUBLE,
    'max by (store, state) (keyturn_copies{state!="in sync"})': TROUBLE,
    "max by (store) (keyturn_copies_failing_seconds)": TROUBLE,
    "sum by (code) (increase(keyturn_failures_total[1h]))": TROUBLE,
    "sum by (store, code) (increase(keyturn_push_failures_total[1h]))": TROUBLE,
    "histogram_quantile(0.9, sum by (le, kind) (rate(keyturn_incident_revoke_seconds_bucket[24h])))": INCIDENTS,
    "histogram_quantile(0.9, sum by (le, kind) (rate(keyturn_incident_close_seconds_bucket[24h])))": INCIDENTS,
    "sum by (kind, outcome) (increase(keyturn_incidents_total[24h]))": INCIDENTS,
    "max(keyturn_hub_setup_sound)": "the example's catalogue does not declare the hub, so nobody compares it",
    "time() - max(keyturn_drill_last_time_seconds)": DRILLS,
    "max(keyturn_drill_last_duration_seconds)": DRILLS,
    "max(keyturn_restore_drill_last_recovery_seconds)": DRILLS,
    "max(keyturn_restore_drill_last_point_age_seconds)": DRILLS,
    "max(keyturn_restore_drill_last_entries)": DRILLS,
    "min by (owner, classification) (keyturn_secret_earliest_end_seconds)": "the example has no credential that ends",
    "min by (authority) (keyturn_authority_end_seconds)": "the example has no authority",
    "sum by (flow) (increase(keyturn_worker_runs_begun_total[1h]))": RUNS,
    'sum by (flow, outcome) (increase(keyturn_worker_runs_ended_total{outcome!="completed"}[1h]))': RUNS,
    "histogram_quantile(0.95, sum by (le, flow) (rate(keyturn_worker_run_duration_seconds_bucket[1h])))": RUNS,
}
"""Panels that may be empty in a stack where all is well, with why."""


@dataclass(frozen=True)
class Scraper:
    """A Prometheus that runs, and how many processes it scrapes."""

    url: str
    targets: int

    def ask(self, path: str, **parameters: str) -> Any:
        """What it answers. Fails where it does not take the question."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=60)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def rows(self, expression: str) -> list[dict[str, Any]]:
        """What an expression comes to now."""
        result: list[dict[str, Any]] = self.ask("query", query=expression.replace("$__rate_interval", INTERVAL))[
            "result"
        ]
        return result

    def await_all_up(self) -> None:
        """Until every process was scraped, and the numbers of the workspace are told."""
        wanted = (
            f"count(up == 1) == {self.targets}",
            "keyturn_look_up{area='copies'}",
            "keyturn_worker_nursery_up == 1",
        )
        assert eventually(self._ready, PATIENCE), self.url
        assert eventually(lambda: all(self.rows(each) for each in wanted), PATIENCE), self.ask("targets")

    def _ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=60).status_code == 200
        except requests.ConnectionError:
            return False  # it begins

    def rule_health(self) -> dict[str, str]:
        """Whether each alert was evaluated: `ok`, `err`, or `unknown` where it was not yet."""
        assert eventually(lambda: "unknown" not in self._health().values(), PATIENCE)
        return self._health()

    def _health(self) -> dict[str, str]:
        return {rule["name"]: rule["health"] for group in self.ask("rules")["groups"] for rule in group["rules"]}


def dashboards() -> dict[str, list[str]]:
    """The expressions of each dashboard."""
    boards = {file.stem: json.loads(file.read_text()) for file in (ROOT / "deployments" / "dashboards").glob("*.json")}
    return {
        name: [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        for name, board in boards.items()
    }


@contextmanager
def scraping(stack: Stack, directory: Path) -> Iterator[Scraper]:
    """A Prometheus with our alerts; a worker more, whose numbers can be asked for."""
    worker, port = f"127.0.0.1:{free_port()}", free_port()
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "keyturn", "static_configs": [{"targets": [serving(stack), worker]}]}],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    server = find_program("prometheus")
    arguments = [
        str(server.path),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    variables = environment.inherited() | environment.worker(stack) | {"KEYTURN_WORKER_METRICS": worker}
    start = ["-m", "prefect", "worker", "start", "--pool=keyturn", "--work-queue=default", "--type=keyturn"]
    with (
        running([sys.executable, *start, "--name=scraped"], variables, directory / "worker.log"),
        running(arguments, {**os.environ, **server.environment}, directory / "prometheus.log"),
    ):
        yield Scraper(f"http://127.0.0.1:{port}", 2)


def serving(stack: Stack) -> str:
    """Where the stack's `keyturn serve` is asked."""
    (log,) = stack.directory("serve").glob("*.log")
    addresses = re.findall(r"listening: http://(\S+)", log.read_text())
    return str(addresses[-1])


@contextmanager
def running(arguments: list[str], variables: Mapping[str, str], log: Path) -> Iterator[None]:
    """A process, ended with this."""
    with log.open("w") as stream:
        process = subprocess.Popen(arguments, env=dict(variables), cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
