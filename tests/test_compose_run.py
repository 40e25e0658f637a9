"""The docker-compose.yml stack, run without containers.

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
from contextlib import ExitStack
from functools import reduce
from graphlib import TopologicalSorter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
import requests
import yaml
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from deployments.prefect_services import MARK
from keyturn.project.worker.scale_out import settings_remarks, unshared_settings
from local.compose_prepare import addresses
from local.environment import inherited
from local.openbao import binary
from local.postgres import PostgreSQL
from local.programs import find_program
from local.support.files import write_private
from local.support.ports import LOOPBACK, free_port, free_ports, in_use
from local.support.process import Process
from local.support.tls import Authority
from tests.support.compose import ANY_ADDRESS, GIVEN, HOME, PRODUCTION, ROOT, compose_file, interpolated
from tests.support.debian_postgres import DebianPostgreSQL

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

PATIENCE = 120
MODULES = {"prefect": "prefect", "keyturn": "keyturn.cli"}
PORTS = ("balancer", "redis", "api-1", "api-2", "worker-1", "revoker-1", "notary-1", "serve-1", "follower-1")
"""Those that listen in production; the second API does not run, and the balancer does without it."""
LOGINS_OF = {
    "prefect": "prefect",
    "worker-1": "worker",
    "revoker-1": "revoker",
    "notary-1": "notary",
    "serve-1": "serve",
    "follower-1": "worker",
}
"""Each login of production, and whose it is in the local stack."""
OTHERS = {
    "redis": ("redis-server", "redis-cli"),
    "balancer": ("haproxy",),
}
"""The programs of others that containers run."""
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
    """The services of the production file, with what an operator gives them; its mounts are followed to there.

    Of each pair the first runs: a test of the file sees that the second is the same.
    """

    def __init__(self, home: Path, given: Mapping[str, str]) -> None:
        self.home = home
        self._ends = []
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        whole = compose_file(PRODUCTION, given)
        self._configs = {name: (ROOT / config["file"]).read_text() for name, config in whole["configs"].items()}
        names = {*PORTS, "migrate", "services-1"} - {"api-2"}
        self.services = {name: self._here(name, whole["services"][name]) for name in names}
        for service in self.services.values():
            waits = {other: how for other, how in service.get("depends_on", {}).items() if other in names}
            service["depends_on"] = waits

    def _here(self, name: str, service: dict[str, Any]) -> dict[str, Any]:
        """One of them on loopback, with its own files, and its configuration next to it."""
        mounts = [mount for mount in service.pop("volumes") if isinstance(mount, dict)]
        (self.home / name).mkdir()
        self._moves = [
            # A name in a certificate is a name: on this machine it is another.
            (r"\bredis:6379", f"localhost:{self.ports['redis']}"),
            (r"\b6379\b", str(self.ports["redis"])),
            *((rf"\b{api}:4200", f"{LOOPBACK}:{self.ports[api]}") for api in ("api-1", "api-2")),
            (r"bind :4200", f"bind {LOOPBACK}:{self.ports['balancer']}"),
            (r"(?<![\w.-])4200(?![\w-])", str(self.ports["api-1" if name == "api-1" else "balancer"])),
            (r"(?<![\w.-])(8080|2774)(?![\w-])", str(self.ports.get(name, 0))),
            *((re.escape(mount["target"]), mount["source"]) for mount in mounts),
            (re.escape(HOME), str(self.home / name)),
            (re.escape(ANY_ADDRESS), LOOPBACK),
        ]
        for config in service.get("configs", ()):
            place = self.home / f"{name}.conf"
            place.write_text(self.moved(self._configs[config["source"]]))
            self._moves.append((re.escape(config["target"]), str(place)))
        (self.home / name / "redis").mkdir()
        moved: dict[str, Any] = json.loads(self.moved(json.dumps(service)))
        if name == "api-1":
            # All of them have one port in containers.
            moved["command"].append(f"--published-port={self.ports['balancer']}")
        return moved

    def environment(self, name: str) -> dict[str, str]:
        if name not in OTHERS:
            return super().environment(name)
        found = [find_program(one) for one in OTHERS[name]]
        libraries = {variable: value for one in found for variable, value in one.environment.items()}
        path = ":".join([*(str(one.path.parent) for one in found), os.environ["PATH"]])
        return inherited() | libraries | {"PATH": path} | dict(self.services[name].get("environment", {}))

    def command(self, name: str) -> list[str]:
        service = self.services[name]
        return [*service["entrypoint"], *service["command"]] if name in OTHERS else super().command(name)

    def healthy(self, name: str) -> bool:
        return "healthcheck" not in self.services[name] or super().healthy(name)


def certificates_of_redis(home: Path) -> None:
    """Those that the guide makes, by its own commands; but for the name, which is of this machine here."""
    guide = (ROOT / "docs" / "containers.md").read_text()
    (block,) = re.findall(r"```console\n(# days=.*?)```", guide, re.DOTALL)
    script = re.sub(r"(?m)^# ", "", block).replace("DNS:redis", "DNS:localhost")
    for folder in ("redis", "prefect"):
        (home / folder).mkdir(exist_ok=True)
    subprocess.run(["sh", "-euc", script], check=True, capture_output=True, cwd=home)


@pytest.fixture(scope="module")
def production(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """The production containers, as an operator of the local stack's hub would have them."""
    home = tmp_path_factory.mktemp("production")
    tls = Authority(containers.home / "tls" / "ca.pem", containers.home / "authority" / "ca.key")
    logins = home / "logins"
    tls.issue(logins / "prefect")
    certificates_of_redis(logins)
    tls.issue(home / "database-tls")
    certificate = tls.files_in(home / "database-tls")
    database = DebianPostgreSQL(home / "database", free_port(), durable=False, certificate=certificate)
    with ExitStack() as stack:
        stack.callback(database.stop)
        database.start()
        password = database.superuser_password
        secrets = {
            "prefect.password": "operator:of-the-tests",
            "encryption.key": Fernet.generate_key().decode(),
            "database.url": f"postgresql+asyncpg://postgres:{password}@localhost:{database.port}/postgres",
        }
        for name, role in LOGINS_OF.items():
            login = logins / name
            for file, text in secrets.items():
                write_private(login / file, text, 0o400)
            for held in (containers.home / role).glob("hub.*"):
                write_private(login / held.name, held.read_text(), 0o400)
            places = containers.environment("prefect-worker").items()
            named = re.compile("KEYTURN_(AWS|AZURE|GCP|KUBE|TRA|INF|POS|CON)|AWS_|AZURE_")
            lines = [f"{variable}={value}" for variable, value in places if named.match(variable)]
            write_private(login / "settings", "\n".join(lines), 0o400)
        allowed = [str(containers.home / "tls"), str(containers.home / "kubernetes")]
        write_private(home / "policy.yaml", json.dumps({"files": allowed}), 0o400)
        write_private(home / "audit" / "audit.log", "", 0o400)
        local = containers.environment("serve")
        made = Production(
            home,
            GIVEN
            | {
                "KEYTURN_LOGINS": str(logins),
                "KEYTURN_CATALOGUE_DIRECTORY": str(ROOT / "deployments" / "catalogue"),
                "KEYTURN_POLICY_FILE": str(home / "policy.yaml"),
                "KEYTURN_CA_FILE": str(tls.certificate),
                "KEYTURN_PREFECT_HOST": "localhost",
                "KEYTURN_AUDIT_DIRECTORY": str(home / "audit"),
                **{name: local[name] for name in ("VAULT_ADDR", "KEYTURN_LEDGER", "KEYTURN_LEDGER_NAME")},
            },
        )
        stack.callback(made.stop)
        made.start()
        yield made


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


@pytest.mark.attack
def test_the_applications_aws_key_only_reads_its_copies(containers: Containers) -> None:
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


@pytest.mark.attack
def test_prefect_refuses_requests_without_its_password(containers: Containers) -> None:
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
    # Each was healthy, by the check of its container; what they ask comes by the one address.
    trusted = production.environment("worker-1")["PREFECT_API_SSL_CERT_FILE"]
    url = f"https://localhost:{production.ports['balancer']}/api/work_pools/keyturn"
    assert requests.get(url, timeout=10, verify=trusted).status_code == HTTPStatus.UNAUTHORIZED
    settings = f"https://localhost:{production.ports['balancer']}/api/admin/settings"
    told = requests.get(settings, timeout=10, verify=trusted, auth=("operator", "of-the-tests")).json()["server"]
    assert [*unshared_settings(told), *settings_remarks(told)] == []


@pytest.mark.attack
def test_the_services_plan_in_a_redis_that_asks_for_a_certificate(production: Production) -> None:
    files = production.home / "logins" / "prefect"
    place: dict[str, Any] = {
        "host": "localhost",
        "port": production.ports["redis"],
        "db": 1,
        "ssl": True,
        "socket_timeout": 10,
    }
    own: dict[str, Any] = {"ssl_certfile": str(files / "redis.pem"), "ssl_keyfile": str(files / "redis.key")}
    with redis.Redis(**place, ssl_ca_certs=str(files / "redis.ca.pem"), **own) as client:
        assert client.get(MARK)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    with (
        redis.Redis(**place, ssl_ca_certs=str(files / "redis.ca.pem")) as stranger,
        pytest.raises(redis.exceptions.ConnectionError),
    ):
        stranger.ping()


@pytest.mark.parametrize("name", OTHERS)
def test_the_images_of_others_are_the_servers_that_the_tests_run(production: Production, name: str) -> None:
    (tag,) = re.findall(rf"{name.replace('balancer', 'haproxy')}:(\d+\.\d+)", PRODUCTION.read_text())
    words = [production.command(name)[0], "-v"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=production.environment(name))
    assert re.search(rf"\b(v=|version ){re.escape(tag)}\.", done.stdout)


def test_a_production_worker_reads_the_hub_with_its_own_login(production: Production) -> None:
    variables = production.environment("worker-1")
    done = subprocess.run(
        production.through_entrypoint(["keyturn", "status", "--json"]),
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    # 1: the worker's login can't see Prefect's side here, so workers are not known to be alive.
    assert done.returncode in (0, 1, 5), done.stderr
    assert {secret["path"] for secret in json.loads(done.stdout)["secrets"]} >= {"ml-training/database"}
