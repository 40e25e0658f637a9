"""The stack that docker-compose.yml describes, run without containers: its own commands, variables and checks.

Only paths and ports are moved, and PostgreSQL comes from the package that the other tests use.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from deployments.local.environment import inherited
from deployments.local.openbao import binary
from deployments.local.postgres import PostgreSQL
from deployments.local.support.ports import LOOPBACK, free_ports
from deployments.local.support.process import Process
from deployments.local.support.tls import Authority
from tests.test_compose import ANY_ADDRESS, HOME, ROOT, interpolated

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="files")]

PATIENCE = 120
PORT_PAIR = re.compile(r"\b([a-z-]+)=(\d+)\b")


class Containers:
    """The services of the file, moved to ``home`` and to free ports, as plain processes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        text = interpolated((ROOT / "docker-compose.yml").read_text())
        told = yaml.safe_load(text)["services"]["prepare"]["environment"]["KEYTURN_PORTS"]
        named = (*PORT_PAIR.findall(told), ("health", "8080"), ("revoker-health", "8081"), ("notary-health", "8082"))
        moved = dict(zip(named, free_ports(len(named)), strict=True))
        self.ports = {name: port for (name, _), port in moved.items()}
        for (_, number), port in moved.items():
            text = re.sub(rf"(?<![\w.-]){number}(?![\w-])", str(port), text)
        text = text.replace("/etc/keyturn/catalogue", str(ROOT / "deployments" / "catalogue"))
        text = text.replace(HOME, str(home)).replace(ANY_ADDRESS, LOOPBACK)
        self.compose: dict[str, Any] = yaml.safe_load(text)
        self.services: dict[str, dict[str, Any]] = self.compose["services"]

    def environment(self, name: str) -> dict[str, str]:
        """What the container has: the image's variables and the service's own."""
        programs = {"PATH": f"{binary().parent}:{os.environ['PATH']}"}
        image = {"KEYTURN_HOME": str(self.home), "PREFECT_HOME": str(self.home / f"{name}-prefect")}
        own: dict[str, str] = self.services[name].get("environment", {})
        return inherited() | programs | image | own

    def start(self, running: ExitStack) -> None:
        """Start all of them, those side by side that wait for nobody else; ``running`` stops them."""
        waits = {name: set(service.get("depends_on", ())) for name, service in self.services.items()}
        order = TopologicalSorter(waits)
        order.prepare()
        with ThreadPoolExecutor() as pool:
            while ready := order.get_ready():
                list(pool.map(lambda name: self.run(name, running), ready))
                order.done(*ready)

    def run(self, name: str, running: ExitStack) -> None:
        """Start one, until its check succeeds; one that only prepares is waited for."""
        if name == "pod":
            return
        if name == "postgres":
            files = Authority(self.home / "tls" / "ca.pem", self.home / "authority" / "ca.key").files_in(
                self.home / name / "tls"
            )
            server = PostgreSQL(self.home / name, self.ports[name], durable=False, certificate=files)
            running.enter_context(server)
        elif self.services[name]["restart"] == "no":
            subprocess.run(self.command(name), check=True, env=self.environment(name), cwd=ROOT)
        else:
            process = Process(name, self.home / name)
            running.callback(process.stop)
            process.start(
                self.command(name),
                ready=lambda: self.healthy(name),
                environment=self.environment(name),
                cwd=ROOT,
                timeout=PATIENCE,
            )

    def command(self, name: str) -> list[str]:
        """What the container runs, through the image's entry point where it is Keyturn's."""
        service = self.services[name]
        if name == "openbao":
            configuration = self.home / "openbao.json"
            configuration.write_text(self.compose["configs"]["openbao"]["content"])
            return [str(binary()), *(w.replace("/etc/openbao.json", str(configuration)) for w in service["command"])]
        return ["sh", str(ROOT / "deployments" / "entrypoint.sh"), *self.with_python(service["command"])]

    def healthy(self, name: str) -> bool:
        """Whether the service's own check succeeds."""
        kind, *check = self.services[name]["healthcheck"]["test"]
        time.sleep(0.5)
        words = ["sh", "-c", check[0].replace("$$", "$")] if kind == "CMD-SHELL" else self.with_python(check)
        return subprocess.run(words, capture_output=True, check=False, env=self.environment(name)).returncode == 0

    def stats(self, name: str) -> dict[str, Any]:
        """What an application counts."""
        address, trusted = f"https://127.0.0.1:{self.ports[name]}/stats", str(self.home / "tls" / "ca.pem")
        return dict(requests.get(address, timeout=10, verify=trusted).json())

    @staticmethod
    def with_python(words: list[str]) -> list[str]:
        """The words, with this test's interpreter in the place of the image's."""
        program = {"python": [sys.executable], "prefect": [sys.executable, "-m", "prefect"]}
        return [*program.get(words[0], words[:1]), *words[1:]]


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    made = Containers(tmp_path_factory.mktemp("compose"))
    with ExitStack() as running:
        made.start(running)
        yield made


def test_the_applications_work_on_the_first_credential(containers: Containers) -> None:
    for name in ("trainer", "inference"):
        shown = containers.stats(name)
        assert shown["username"] == "ml_trainer_a"
        assert shown["served"] > 0


def test_the_worker_rotates_and_the_applications_follow(containers: Containers) -> None:
    path = "ml-training/database"
    run = ["prefect", "deployment", "run", "rotate-secret/rotate-secret", "--watch"]
    parameters = json.dumps({"path": path, "trigger": "force"})
    done = subprocess.run(
        containers.with_python([*run, "--params", parameters]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=containers.environment("prefect-worker") | {"PREFECT_HOME": str(containers.home / "client")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("trainer", "inference"):
        shown = containers.stats(name)
        assert shown["username"] == "ml_trainer_b"
        assert [notice["secret_path"] for notice in shown["acknowledged"]] == [path]
