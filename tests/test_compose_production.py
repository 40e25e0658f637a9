"""docker-compose.production.yml, checked without Docker: required settings and isolation."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from deployments.production_check import PRODUCTION_VARIABLES
from keyturn.project.worker.scale_out import shared_settings
from local.environment import RETENTION
from tests.production.topology import WORKERS
from tests.support.compose import (
    GIVEN,
    HOME,
    LOGINS,
    PRODUCTION,
    ROOT,
    VARIABLE,
    compose_file,
    named_volumes,
    options,
    specification,
)

LOGIN = "/run/keyturn/login"
ENTRYPOINT = ROOT / "deployments" / "entrypoint.sh"
ONCE = {"check", "migrate", "bootstrap"}
PAIRS = ("api", "services", "worker", "serve", "follower")
RUN_FLOWS = {"worker-1": "default", "worker-2": "default", "revoker-1": "emergency", "notary-1": "notary"}
SERVE = {"serve-1", "serve-2", "follower-1", "follower-2"}
OF_PREFECT = {"migrate", "api-1", "api-2", "services-1", "services-2"}
ASK = {*RUN_FLOWS, *SERVE, "bootstrap"}
USERS = {"worker": 10011, "revoker": 10012, "notary": 10013, "prefect": 10014, "serve": 10015, "follower": 10016}
USERS |= {"redis": 10020, "balancer": 10021}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(compose_file(PRODUCTION, GIVEN)["services"])


def source(service: dict[str, Any], target: str) -> str:
    """What is mounted there, to be read alone, and refused where it does not exist."""
    (mount,) = [m for m in service["volumes"] if isinstance(m, dict) and m["target"] == target]
    assert mount["read_only"] is True
    assert mount["bind"] == {"create_host_path": False}
    return str(mount["source"])


def user(service: dict[str, Any]) -> int:
    number, _, group = str(service["user"]).partition(":")
    assert number == group
    return int(number)


def test_the_file_is_one_that_the_compose_specification_allows() -> None:
    for given in (GIVEN, {}):
        assert list(specification().iter_errors(compose_file(PRODUCTION, given))) == []


def check(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """The container `check`, told this."""
    service = compose_file(PRODUCTION, variables)["services"]["check"]
    command = [sys.executable, *service["command"][1:]]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=service["environment"], cwd=ROOT, timeout=60
    )


@pytest.mark.attack
def test_a_missing_setting_is_refused_with_its_name_and_purpose() -> None:
    assert PRODUCTION_VARIABLES.keys() == GIVEN.keys()
    done = check({})
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == len(GIVEN)
    for name in GIVEN:
        assert [
            line for line in lines if re.match(rf"check: required variable {name} is missing a value: \w+ \w+", line)
        ]


def test_what_is_given_is_enough() -> None:
    done = check(GIVEN)
    assert (done.returncode, done.stderr) == (0, "")


WRONG = {
    "KEYTURN_IMAGE": "registry.example.com/keyturn:0.2.0",
    "KEYTURN_REDIS_IMAGE": "redis:latest",
    "KEYTURN_HAPROXY_IMAGE": "haproxy@sha256:12",
    "KEYTURN_PREFECT_HOST": "https://prefect.example.com",
    "VAULT_ADDR": "http://vault.example.com:8200",
    "KEYTURN_LEDGER": "postgresql://keyturn:fFy7-secret@db.example.com/keyturn_ledger",
}


@pytest.mark.attack
def test_an_invalid_setting_is_refused_and_not_shown() -> None:
    done = check(GIVEN | WRONG)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split()[3] for line in lines] == list(WRONG)
    assert "fFy7-secret" not in done.stderr


def test_nothing_starts_before_it_is_checked(services: dict[str, Any]) -> None:
    assert "depends_on" not in services["check"]
    for name in services.keys() - {"check"}:
        waits, seen = [name], set[str]()
        while waits:
            seen.add(one := waits.pop())
            waits += services[one].get("depends_on", {})
        assert "check" in seen, name


def test_nothing_has_to_be_given_to_read_the_file_and_no_default_leads_anywhere() -> None:
    found = {name: rest for name, _, rest in VARIABLE.findall(PRODUCTION.read_text()) if rest}
    leading = {name: rest for name, rest in found.items() if not name.endswith("_IMAGE")}
    assert leading == {
        "KEYTURN_LOGINS": LOGINS,
        "KEYTURN_CATALOGUE_DIRECTORY": "/etc/keyturn/catalogue",
        "KEYTURN_POLICY_FILE": "/etc/keyturn/policy.yaml",
        "KEYTURN_CA_FILE": "/etc/keyturn/ca.pem",
        "KEYTURN_AUDIT_DIRECTORY": "/var/log/openbao",
        "KEYTURN_AUDIT_GROUP": "10015",
        "KEYTURN_PREFECT_HOST": "prefect.invalid",
        "KEYTURN_PREFECT_PORT": "4200",
    }


def test_it_holds_nothing_of_the_local_stack(services: dict[str, Any]) -> None:
    assert {tuple(service["profiles"]) for name, service in services.items() if name != "bootstrap"} == {
        ("production",)
    }
    text = json.dumps({name: {**service, "volumes": None} for name, service in services.items()})
    assert not re.search("emulators|compose_prepare|consumer|openbao|root.token|build", text)
    images = {name: service["image"] for name, service in services.items()}
    assert images.pop("redis") == GIVEN["KEYTURN_REDIS_IMAGE"]
    assert images.pop("balancer") == GIVEN["KEYTURN_HAPROXY_IMAGE"]
    assert set(images.values()) == {GIVEN["KEYTURN_IMAGE"]}


def test_it_is_the_topology_of_many_servers(services: dict[str, Any]) -> None:
    others = {"check", "migrate", "bootstrap", "redis", "balancer", "revoker-1", "notary-1"}
    assert set(services) == others | {f"{name}-{number}" for name in PAIRS for number in (1, 2)}
    queues = {name: options(services[name]["command"]).get("work-queue") for name in RUN_FLOWS}
    assert queues == RUN_FLOWS
    assert {(name, queue) for name, queue, _ in WORKERS} <= {
        (name.replace("notary-1", "notary"), q) for name, q in queues.items()
    }
    for name in RUN_FLOWS:
        assert options(services[name]["command"])["name"] == name


@pytest.mark.parametrize("name", PAIRS)
def test_the_second_is_as_the_first_but_for_its_name_and_its_login(services: dict[str, Any], name: str) -> None:
    first, second = (json.dumps({**services[f"{name}-{number}"], "depends_on": None}) for number in (1, 2))
    assert first.replace(f"{name}-1", f"{name}-2") == second


def test_prefects_servers_are_told_what_the_servers_of_the_tests_are_told(services: dict[str, Any]) -> None:
    told = {name: services[name]["environment"] for name in OF_PREFECT}
    address = told["api-1"]["PREFECT_SERVER_DOCKET_URL"], told["api-1"]["PREFECT_REDIS_MESSAGING_URL"]
    common = shared_settings(*address) | RETENTION
    for name, variables in told.items():
        assert common.items() <= variables.items(), name
        of_pages = {variable for variable in variables if "_UI_" in variable or variable.endswith("ALLOWED_ORIGINS")}
        assert {variable: variables[variable] for variable in variables.keys() - of_pages} == told["services-1"]
    assert {url.partition("?")[0] for url in address} == {"rediss://redis:6379/0", "rediss://redis:6379/1"}
    assert options(services["api-1"]["command"]).keys() >= {"port", "name", "cert", "key"}
    assert "--no-services" in services["api-1"]["command"]
    assert services["migrate"]["command"] == ["prefect", "server", "database", "upgrade", "--yes"]


def test_they_boot_in_the_order_that_many_servers_need(services: dict[str, Any]) -> None:
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    assert waits["migrate"].keys() == {"redis"}
    assert waits["api-1"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name in ("api-2", "services-1", "services-2", "balancer"):
        assert waits[name] == {"api-1": {"condition": "service_healthy"}}, name
    for name in (*RUN_FLOWS, "bootstrap"):
        assert waits[name] == {"balancer": {"condition": "service_healthy"}}, name
    for name, service in services.items():
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        for other, how in waits[name].items():
            once = other in ONCE
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy"), name
            assert once or "healthcheck" in services[other], name


@pytest.mark.attack
def test_redis_accepts_only_clients_with_a_certificate_and_keeps_its_data(services: dict[str, Any]) -> None:
    lines = (ROOT / "deployments" / "containers" / "redis.conf").read_text().splitlines()
    told = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert (told["port"], told["tls-port"], told["tls-auth-clients"]) == ("0", "6379", "yes")
    assert (told["appendonly"], told["maxmemory-policy"]) == ("yes", "noeviction")
    assert f"redis:{told['dir']}" in services["redis"]["volumes"]
    assert f"redis:{told['dir']}" in services["check"]["volumes"]
    assert f"install -d -o 10020 -g 10020 -m 0700 {told['dir']}" in (ROOT / "deployments" / "Dockerfile").read_text()
    for name in OF_PREFECT:
        asked = services[name]["environment"]["PREFECT_SERVER_DOCKET_URL"].partition("?")[2]
        files = dict(part.split("=") for part in asked.split("&"))
        assert files.keys() == {"ssl_certfile", "ssl_keyfile", "ssl_ca_certs"}
        assert all(file.startswith(f"{LOGIN}/redis.") for file in files.values())


def test_the_balancer_asks_each_api_whether_it_is_ready_and_trusts_no_other(services: dict[str, Any]) -> None:
    config = (ROOT / "deployments" / "containers" / "haproxy.cfg").read_text()
    assert re.findall(r"(?m)^  server (\S+) (\S+)$", config) == [("api-1", "api-1:4200"), ("api-2", "api-2:4200")]
    assert "uri /api/ready " in config
    assert "verify required ca-file /etc/keyturn/ca.pem verifyhost" in config
    assert source(services["balancer"], "/etc/keyturn/ca.pem") == "/etc/keyturn/ca.pem"
    assert services["balancer"]["networks"]["address"]["aliases"] == [GIVEN["KEYTURN_PREFECT_HOST"]]
    for name in RUN_FLOWS:
        assert services[name]["environment"]["PREFECT_API_URL"] == f"https://{GIVEN['KEYTURN_PREFECT_HOST']}:4200/api"


def test_each_is_in_the_networks_of_those_whom_it_asks(services: dict[str, Any]) -> None:
    networks = {name: set(service.get("networks", ())) for name, service in services.items()}
    servers = {"servers", "shared", "outside"}
    assert networks == {
        "check": set(),
        "redis": {"shared"},
        "balancer": {"address", "servers", "production-page"},
        "bootstrap": {"address"},
        **dict.fromkeys(("api-1", "api-2"), servers),
        **{key: {"shared", "outside"} for key in ("migrate", "services-1", "services-2")},
        **{key: {"address", "outside"} for key in RUN_FLOWS},
        **{key: {"outside"} for key in SERVE},
    }
    declared = compose_file(PRODUCTION, GIVEN)["networks"]
    assert {name for name, network in declared.items() if not network} == {"outside", "production-page"}


def test_each_has_a_login_of_its_own_and_a_user_for_its_role(services: dict[str, Any]) -> None:
    logins = {name: source(services[name], LOGIN) for name in services.keys() - {"check", "balancer"}}
    assert logins.pop("bootstrap") == logins["worker-1"]
    assert {logins.pop(name) for name in OF_PREFECT} == {f"{LOGINS}/prefect"}
    assert logins == {name: f"{LOGINS}/{name}" for name in logins}
    assert logins.keys() == {*RUN_FLOWS, *SERVE, "redis"}
    for name, service in services.items():
        role = "prefect" if name in OF_PREFECT | {"check"} else re.sub(r"-\d$|^bootstrap$", "", name) or "worker"
        assert user(service) == USERS[role], name
        assert all(f"uid={user(service)}," in mount for mount in service["tmpfs"][1:]), name
    assert len({*USERS.values()}) == len(USERS)
    assert not {0, 10001} & {*USERS.values()}


def test_a_worker_takes_catalogue_policy_and_authorities_from_the_operator_and_writes_none(
    services: dict[str, Any],
) -> None:
    for name in ASK:
        variables = services[name]["environment"]
        assert source(services[name], variables["KEYTURN_CATALOGUE"]) == "/etc/keyturn/catalogue"
        assert source(services[name], variables["KEYTURN_POLICY"]) == "/etc/keyturn/policy.yaml"
        for variable in {"VAULT_CACERT", "PREFECT_API_SSL_CERT_FILE"} & set(variables):
            assert source(services[name], variables[variable]) == "/etc/keyturn/ca.pem"


def test_prefect_has_a_password_a_key_and_a_database_with_tls_and_no_secret_stands_in_the_file(
    services: dict[str, Any],
) -> None:
    for process in OF_PREFECT:
        server = services[process]["environment"]
        for name in ("API_AUTH_STRING", "ENCRYPTION_KEY", "DATABASE_CONNECTION_URL"):
            assert server[f"PREFECT_SERVER_{name}_FILE"].startswith(LOGIN)
        assert server["PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"] == "true"
    for service in services.values():
        for variable, value in service.get("environment", {}).items():
            secret = re.search("(SECRET|PASSWORD|TOKEN|AUTH_STRING|KEY)(_ID)?(_FILE)?$", variable)
            assert not secret or value.startswith(f"{LOGIN}/"), variable


def test_only_prefect_is_published_on_this_machine_and_a_worker_serves_nobody(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"balancer": ["127.0.0.1:4200:4200"]}
    for name in RUN_FLOWS:
        assert services[name]["environment"]["PREFECT_WORKER_WEBSERVER_HOST"] == "127.0.0.1"


def test_the_revokers_entries_wait_on_a_disk_that_is_its_own(services: dict[str, Any]) -> None:
    place = services["revoker-1"]["environment"]["KEYTURN_LEDGER_SPOOL"].rpartition("/")[0]
    assert f"spool:{place}" in services["revoker-1"]["volumes"]
    number = user(services["revoker-1"])
    dockerfile = (ROOT / "deployments" / "Dockerfile").read_text()
    assert f"install -d -o {number} -g {number} -m 0700 {HOME}/spool" in dockerfile


@pytest.mark.attack
def test_the_hub_watcher_runs_nothing_else_and_has_no_prefect_password(services: dict[str, Any]) -> None:
    parts = {name: [word for word in services[name]["command"] if "only" in word] for name in SERVE}
    assert parts["serve-1"] == ["--only=access/*", "--only=merge/*"]
    assert parts["follower-1"] == ["--only=follow", "--only=numbers"]
    for serve in (services[name] for name in SERVE):
        assert not [name for name in serve["environment"] if "PREFECT" in name]
        assert serve["environment"]["VAULT_CACERT"]
        assert serve["environment"]["KEYTURN_SERVE_LISTEN"].startswith("127.0.0.1:")


def test_it_reads_the_hubs_audit_files_with_a_group_and_writes_its_trail_alone(services: dict[str, Any]) -> None:
    serve, declared = services["serve-1"], (ROOT / "deployments" / "Dockerfile").read_text()
    file = options(serve["command"])["audit-file"]
    assert source(serve, file.rpartition("/")[0]) == "/var/log/openbao"
    assert serve["group_add"] == ["10015"]
    given = compose_file(PRODUCTION, GIVEN | {"KEYTURN_AUDIT_GROUP": "988"})["services"]
    assert given["serve-1"]["group_add"] == ["988"]
    assert named_volumes(serve) == {"watch": f"{HOME}/watch"}
    for variable in ("KEYTURN_TRAIL", "KEYTURN_ACCESS_LOGS", "XDG_STATE_HOME"):
        assert f"{serve['environment'][variable]}/".startswith(f"{HOME}/watch/")
    assert f"install -d -o 10015 -g 10015 -m 0700 {HOME}/watch" in declared


def entrypoint(variables: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    path = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(["sh", ENTRYPOINT, *words], capture_output=True, text=True, check=False, env=path | variables)


def test_a_file_of_a_login_that_is_not_there_is_named_and_nothing_starts() -> None:
    done = entrypoint({"PREFECT_API_AUTH_STRING_FILE": f"{LOGIN}/prefect.password"}, "echo", "started")
    assert done.returncode == 1
    assert "started" not in done.stdout
    assert f"PREFECT_API_AUTH_STRING_FILE names {LOGIN}/prefect.password" in done.stderr


def test_a_secret_of_any_characters_is_passed_on_as_it_is(tmp_path: Any) -> None:
    secret = "a \"b\" $HOME `id` \\ %s; exit 3 # 'x'"
    (tmp_path / "key").write_text(f"{secret}\n")
    done = entrypoint(
        {"PREFECT_SERVER_ENCRYPTION_KEY_FILE": str(tmp_path / "key")}, "printenv", "PREFECT_SERVER_ENCRYPTION_KEY"
    )
    assert done.stdout == f"{secret}\n"


def test_the_guide_names_all_that_has_to_be_given() -> None:
    guide = (ROOT / "docs" / "containers.md").read_text().split("## On your own hub")[1]
    assert all(f"\n{name}=" in guide for name in (*GIVEN, "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"))
    declared = PRODUCTION.read_text()
    listed = re.findall(r"# ((?:hub\.role-id|prefect\.password|ca\.pem)\S*, .*)", declared)
    assert all(file in guide for line in listed for file in line.split(", "))
    for role, number in USERS.items():
        assert role == "balancer" or f"{role}:{number}" in guide
