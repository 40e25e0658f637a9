"""The stack that docker-compose.yml describes, run without containers: its own commands, variables and checks.

Only paths and ports are moved, and PostgreSQL comes from the package that the other tests use.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from functools import reduce
from graphlib import TopologicalSorter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from deployments.local.compose_prepare import addresses
from deployments.local.environment import inherited
from deployments.local.openbao import binary
from deployments.local.postgres import PostgreSQL
from deployments.local.support.files import write_private
from deployments.local.support.ports import LOOPBACK, free_ports, in_use
from deployments.local.support.process import Process
from deployments.local.support.tls import Authority
from tests.support.compose import ANY_ADDRESS, GIVEN, HOME, PRODUCTION, ROOT, compose_file, interpolated

pytestmark = [pytest.mark.slow, pytest.mark.sampled(14, of="files")]

PATIENCE = 120
MODULES = {"prefect": "prefect", "keyturn": "keyturn.cli"}
ROLES = ("prefect", "worker", "revoker", "notary", "serve")
HEALTH_PORTS = {"prefect-worker": "health", "revoker": "revoker-health", "notary": "notary-health"}
HEALTH_NUMBERS = {"health": 8080, "revoker-health": 8081, "notary-health": 8082}


class Containers:
    """The services of the file, moved to ``home`` and to free ports, as plain processes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._ends: list[list[Callable[[], None]]] = []
        text = interpolated((ROOT / "docker-compose.yml").read_text())
        services = addresses(yaml.safe_load(text)["services"]["prepare"]["environment"]["KEYTURN_SERVICES"])
        named = {name: port for name, (_, port) in services.items()} | HEALTH_NUMBERS
        self.ports = dict(zip(named, free_ports(len(named)), strict=True))
        self._moves: list[tuple[str, str]] = [
            *((rf"(?<![\w.-]){named[name]}(?![\w-])", str(port)) for name, port in self.ports.items()),
            *((rf"(?<![\w./-]){name}:(?=\d)", f"{LOOPBACK}:") for name in services),
            (r"(?<=//)(" + "|".join(services) + r"):(?=\d)", f"{LOOPBACK}:"),
            (r"(?<=HOST: )postgres\b", LOOPBACK),
            (re.escape("/etc/keyturn/catalogue"), str(ROOT / "deployments" / "catalogue")),
            (re.escape("/run/keyturn"), str(home)),
            (re.escape(HOME), str(home)),
            (re.escape(ANY_ADDRESS), LOOPBACK),
        ]
        self.compose: dict[str, Any] = yaml.safe_load(self.moved(text))
        self.services: dict[str, dict[str, Any]] = self.compose["services"]

    def moved(self, text: str) -> str:
        """What the text says, on loopback and in this home."""
        return reduce(lambda result, move: re.sub(move[0], move[1], result), self._moves, text)

    def environment(self, name: str) -> dict[str, str]:
        """What the container has: the image's variables and the service's own."""
        programs = {"PATH": f"{binary().parent}:{os.environ['PATH']}"}
        image = {"KEYTURN_HOME": str(self.home), "PREFECT_HOME": str(self.home / f"{name}-prefect")}
        own: dict[str, str] = self.services[name].get("environment", {})
        return inherited() | programs | image | own

    def start(self) -> None:
        """Start all of them, those side by side that wait for nobody else."""
        waits = {name: set(service.get("depends_on", ())) for name, service in self.services.items()}
        order = TopologicalSorter(waits)
        order.prepare()
        with ThreadPoolExecutor() as pool:
            while ready := order.get_ready():
                self._ends.append([])
                list(pool.map(self.run, ready))
                order.done(*ready)

    def stop(self) -> None:
        """Stop them, those at once that were started so, and the last first: a worker says goodbye to its server."""
        with ThreadPoolExecutor() as pool:
            for ends in reversed(self._ends):
                list(pool.map(lambda end: end(), ends))

    def run(self, name: str) -> None:
        """Start one, until its check succeeds; one that only prepares is waited for."""
        if name == "postgres":
            authority = Authority(self.home / "tls" / "ca.pem", self.home / "authority" / "ca.key")
            files = authority.files_in(self.home / "servers" / name / "tls")
            server = PostgreSQL(self.home / name, self.ports[name], durable=False, certificate=files)
            self._ends[-1].append(server.stop)
            server.start()
        elif self.services[name]["restart"] == "no":
            subprocess.run(self.command(name), check=True, env=self.environment(name), cwd=ROOT)
        else:
            process = Process(name, self.home / name)
            self._ends[-1].append(process.stop)
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
            configuration.write_text(self.moved((ROOT / self.compose["configs"][name]["file"]).read_text()))
            return [str(binary()), *(w.replace("/etc/openbao.json", str(configuration)) for w in service["command"])]
        return self.through_entrypoint(service["command"])

    def healthy(self, name: str) -> bool:
        """Whether the service's own check succeeds. Each look is a process, so there is none before it can listen."""
        port = self.ports.get(HEALTH_PORTS.get(name, name))
        if port and not in_use(port):
            return False
        kind, *check = self.services[name]["healthcheck"]["test"]
        words = ["sh", "-c", check[0].replace("$$", "$")] if kind == "CMD-SHELL" else self.with_python(check)
        return subprocess.run(words, capture_output=True, check=False, env=self.environment(name)).returncode == 0

    def stats(self, name: str) -> dict[str, Any]:
        """What an application counts."""
        address, trusted = f"https://127.0.0.1:{self.ports[name]}/stats", str(self.home / "tls" / "ca.pem")
        return dict(requests.get(address, timeout=10, verify=trusted).json())

    def through_entrypoint(self, words: list[str]) -> list[str]:
        """What the image does first, and then the words."""
        return ["sh", str(ROOT / "deployments" / "entrypoint.sh"), *self.with_python(words)]

    @staticmethod
    def with_python(words: list[str]) -> list[str]:
        """The words, with this test's interpreter in the place of the image's."""
        program = {"python": [sys.executable]}
        program |= {name: [sys.executable, "-m", module] for name, module in MODULES.items()}
        return [*program.get(words[0], words[:1]), *words[1:]]


class Production(Containers):
    """The services of the production file, with what an operator gives them; its mounts are followed to there."""

    def __init__(self, home: Path, given: Mapping[str, str]) -> None:
        self.home = home
        self._ends = []
        numbers = {"prefect-server": 4200, "worker": 8080, "revoker-health": 8081, "notary-health": 8082, "serve": 2774}
        self.ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
        ports = [(rf"(?<![\w.-]){numbers[name]}(?![\w-])", str(port)) for name, port in self.ports.items()]
        self.services = {}
        for name, service in compose_file(PRODUCTION, given)["services"].items():
            mounts = [mount for mount in service.pop("volumes") if isinstance(mount, dict)]
            binds = [(re.escape(mount["target"]), mount["source"]) for mount in mounts]
            places = [(re.escape(HOME), str(home / name)), (re.escape(ANY_ADDRESS), LOOPBACK)]
            self._moves = [*ports, *binds, *places]
            self.services[name] = json.loads(self.moved(json.dumps(service)))
        # Registering takes as long as all the rest, and is done in the local stack's containers.
        del self.services["bootstrap"]


@pytest.fixture(scope="module")
def production(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """The production containers, as an operator of the local stack's hub would have them.

    Their Prefect server is on SQLite: the package that tests have PostgreSQL from lacks an extension that it asks for.
    """
    home = tmp_path_factory.mktemp("production")
    tls = Authority(containers.home / "tls" / "ca.pem", containers.home / "authority" / "ca.key")
    tls.issue(home / "prefect-login")
    secrets = {
        "prefect.password": "operator:of-the-tests",
        "encryption.key": Fernet.generate_key().decode(),
        "database.url": f"sqlite+aiosqlite:///{home}/prefect.db",
    }
    for role in ROLES:
        login = home / f"{role}-login"
        for name, text in secrets.items():
            write_private(login / name, text, 0o400)
        for file in (containers.home / role).glob("hub.*"):
            write_private(login / file.name, file.read_text(), 0o400)
        places = containers.environment("prefect-worker").items()
        lines = [f"{name}={value}" for name, value in places if re.match("KEYTURN_(AWS|AZURE|GCP|KUBE|TRA|INF)", name)]
        write_private(login / "settings", "\n".join(lines), 0o400)
    write_private(home / "policy.yaml", "limits: {}\n", 0o400)
    write_private(home / "audit" / "audit.log", "", 0o400)
    local = containers.environment("serve")
    given = GIVEN | {
        "KEYTURN_CATALOGUE_DIRECTORY": str(ROOT / "deployments" / "catalogue"),
        "KEYTURN_POLICY_FILE": str(home / "policy.yaml"),
        "KEYTURN_CA_FILE": str(tls.certificate),
        "KEYTURN_PREFECT_HOST": "localhost",
        "KEYTURN_AUDIT_DIRECTORY": str(home / "audit"),
        **{name: local[name] for name in ("VAULT_ADDR", "KEYTURN_LEDGER", "KEYTURN_LEDGER_NAME")},
        **{f"KEYTURN_{role.upper()}_LOGIN": str(home / f"{role}-login") for role in ROLES},
    }
    made = Production(home, given)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    made = Containers(tmp_path_factory.mktemp("compose"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_applications_work_on_the_first_credential(containers: Containers) -> None:
    for name in ("trainer", "inference"):
        shown = containers.stats(name)
        assert shown["username"] == "ml_trainer_a"
        assert shown["served"] > 0


def deployment_run(containers: Containers, deployment: str, **parameters: str) -> "subprocess.CompletedProcess[str]":
    """What a person's command comes to, with the login to Prefect that the workers have."""
    run = ["prefect", "deployment", "run", deployment, "--watch", "--params", json.dumps(parameters)]
    return subprocess.run(
        containers.through_entrypoint(run),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=containers.environment("prefect-worker") | {"PREFECT_HOME": str(containers.home / "client")},
    )


def test_the_worker_rotates_and_the_applications_follow(containers: Containers) -> None:
    path = "ml-training/database"
    done = deployment_run(containers, "rotate-secret/rotate-secret", path=path, trigger="force")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("trainer", "inference"):
        shown = containers.stats(name)
        assert shown["username"] == "ml_trainer_b"
        assert [notice["secret_path"] for notice in shown["acknowledged"]] == [path]


def test_the_notary_signs_and_both_witnesses_cosign(containers: Containers) -> None:
    done = deployment_run(containers, "keep-ledger/keep-ledger")
    assert done.returncode == 0, done.stdout + done.stderr
    verify = ["python", "-m", "keyturn.cli", "ledger", "verify", "--witnesses", "2"]
    verified = subprocess.run(
        containers.through_entrypoint(verify),
        capture_output=True,
        text=True,
        check=False,
        env=containers.environment("notary"),
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_application_s_key_to_aws_reads_its_copies_and_does_nothing_else(containers: Containers) -> None:
    variables = containers.environment("inference")
    parser = ConfigParser(interpolation=None)
    parser.read(variables["AWS_SHARED_CREDENTIALS_FILE"])
    client = boto3.client(
        "secretsmanager",
        endpoint_url=variables["KEYTURN_AWS_ENDPOINT"],
        region_name=variables["AWS_REGION"],
        verify=variables["AWS_CA_BUNDLE"],
        aws_access_key_id=parser["default"]["aws_access_key_id"],
        aws_secret_access_key=parser["default"]["aws_secret_access_key"],
    )
    assert client.get_secret_value(SecretId="ml-database-credentials")["SecretString"]
    for call in (
        lambda: client.put_secret_value(SecretId="ml-database-credentials", SecretString="theirs"),
        lambda: client.delete_secret(SecretId="ml-database-credentials"),
        client.list_secrets,
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_prefect_lets_nobody_in_without_its_password(containers: Containers) -> None:
    url = f"https://127.0.0.1:{containers.ports['prefect-server']}/api/deployments/filter"
    trusted = str(containers.home / "tls" / "ca.pem")
    for guessed in (None, ("", "guessed")):
        answer = requests.post(url, json={}, auth=guessed, timeout=10, verify=trusted)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_each_container_s_login_is_its_own_and_read_by_nobody_else(containers: Containers) -> None:
    logins = sorted(containers.home.glob("*/hub.secret-id"))
    assert [login.parent.name for login in logins] == ["notary", "revoker", "serve", "trainer", "worker"]
    assert len({login.read_text() for login in logins}) == len(logins)
    assert {login.stat().st_mode & 0o777 for login in logins} == {0o400}
    assert {login.parent.stat().st_mode & 0o077 for login in logins} == {0}


def test_the_production_containers_start_with_what_an_operator_gives_them(production: Production) -> None:
    # Each was healthy, by the check of its container.
    assert set(production.services) == {"prefect-server", "worker", "revoker", "notary", "serve"}
    trusted = production.environment("worker")["PREFECT_API_SSL_CERT_FILE"]
    url = f"https://localhost:{production.ports['prefect-server']}/api/work_pools/keyturn"
    assert requests.get(url, timeout=10, verify=trusted).status_code == HTTPStatus.UNAUTHORIZED


def test_a_production_worker_reads_the_hub_with_its_own_login(production: Production) -> None:
    variables = production.environment("worker")
    done = subprocess.run(
        production.through_entrypoint(["python", "-m", "keyturn.cli", "status", "--json"]),
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert done.returncode == 0, done.stderr
    assert {secret["path"] for secret in json.loads(done.stdout)["secrets"]} >= {"ml-training/database"}
