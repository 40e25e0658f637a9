"""The containers of docker-compose.production.yml, without Docker: what they ask for, and what each of them has."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support.compose import GIVEN, HOME, PRODUCTION, ROOT, VARIABLE, Refused, compose_file, options, specification

LOGIN = "/run/keyturn/login"
ENTRYPOINT = ROOT / "deployments" / "entrypoint.sh"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(compose_file(PRODUCTION, GIVEN)["services"])


def source(service: dict[str, Any], target: str) -> str:
    """What is mounted there, to be read alone, and refused where it does not exist."""
    (mount,) = [m for m in service["volumes"] if isinstance(m, dict) and m["target"] == target]
    assert mount["read_only"] is True
    assert mount["bind"] == {"create_host_path": False}
    return str(mount["source"])


def test_the_file_is_one_that_the_compose_specification_allows() -> None:
    assert list(specification().iter_errors(compose_file(PRODUCTION, GIVEN))) == []


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_missing_is_refused_by_its_name_with_what_it_is(name: str) -> None:
    without = {variable: value for variable, value in GIVEN.items() if variable != name}
    with pytest.raises(Refused, match=rf"required variable {name} is missing a value: \w{{1,}} \w+"):
        compose_file(PRODUCTION, without)


def test_nothing_else_has_to_be_given_and_no_default_leads_anywhere() -> None:
    found = [(name, kind, rest) for name, kind, rest in VARIABLE.findall(PRODUCTION.read_text())]
    assert {name for name, kind, _ in found if kind == "?"} == set(GIVEN)
    assert {rest for _, kind, rest in found if kind == "-"} == {"", "4200", "10015"}


def test_it_holds_nothing_of_the_local_stack(services: dict[str, Any]) -> None:
    assert set(services) == {"prefect-server", "bootstrap", "worker", "revoker", "notary", "serve"}
    text = json.dumps(services)
    assert not re.search("emulators|compose_prepare|consumer|openbao|root.token|build", text)
    assert {service["image"] for service in services.values()} == {GIVEN["KEYTURN_IMAGE"]}


def test_each_has_a_user_and_a_login_of_its_own(services: dict[str, Any]) -> None:
    users = {name: service["user"] for name, service in services.items()}
    assert users.pop("bootstrap") == users["worker"]
    assert len(set(users.values())) == len(users)
    assert not {"0:0", "root", "10001:10001"} & set(users.values())
    logins = {name: source(services[name], LOGIN) for name in users}
    assert logins == {
        "prefect-server": "/etc/keyturn/prefect",
        "worker": "/etc/keyturn/worker",
        "revoker": "/etc/keyturn/revoker",
        "notary": "/etc/keyturn/notary",
        "serve": "/etc/keyturn/serve",
    }
    for name, service in services.items():
        assert all(f"uid={service['user'].split(':')[0]}," in mount for mount in service["tmpfs"][1:]), name


def test_a_worker_takes_catalogue_policy_and_authorities_from_the_operator_and_writes_none(
    services: dict[str, Any],
) -> None:
    for name in ("worker", "revoker", "notary", "bootstrap", "serve"):
        variables = services[name]["environment"]
        assert source(services[name], variables["KEYTURN_CATALOGUE"]) == GIVEN["KEYTURN_CATALOGUE_DIRECTORY"]
        assert source(services[name], variables["KEYTURN_POLICY"]) == GIVEN["KEYTURN_POLICY_FILE"]
        for variable in {"VAULT_CACERT", "PREFECT_API_SSL_CERT_FILE"} & set(variables):
            assert source(services[name], variables[variable]) == GIVEN["KEYTURN_CA_FILE"]


def test_prefect_has_a_password_a_key_and_a_database_with_tls_and_no_secret_stands_in_the_file(
    services: dict[str, Any],
) -> None:
    server = services["prefect-server"]["environment"]
    for name in ("API_AUTH_STRING", "ENCRYPTION_KEY", "DATABASE_CONNECTION_URL"):
        assert server[f"PREFECT_SERVER_{name}_FILE"].startswith(LOGIN)
    assert server["PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"] == "true"
    for service in services.values():
        for variable, value in service["environment"].items():
            secret = re.search("(SECRET|PASSWORD|TOKEN|AUTH_STRING|KEY)(_ID)?(_FILE)?$", variable)
            assert not secret or value.startswith(f"{LOGIN}/"), variable


def test_only_prefect_is_published_on_this_machine_and_a_worker_serves_nobody(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"prefect-server": ["127.0.0.1:4200:4200"]}
    for name in ("worker", "revoker", "notary"):
        assert services[name]["environment"]["PREFECT_WORKER_WEBSERVER_HOST"] == "127.0.0.1"


def test_the_revokers_entries_wait_on_a_disk_that_is_its_own(services: dict[str, Any]) -> None:
    place = services["revoker"]["environment"]["KEYTURN_LEDGER_SPOOL"].rpartition("/")[0]
    assert f"spool:{place}" in services["revoker"]["volumes"]
    user = services["revoker"]["user"].split(":")[0]
    dockerfile = (ROOT / "deployments" / "Dockerfile").read_text()
    assert f"install -d -o {user} -g {user} -m 0700 {HOME}/spool" in dockerfile


def test_what_watches_the_hub_runs_nothing_else_and_knows_no_password_of_prefect(services: dict[str, Any]) -> None:
    serve = services["serve"]
    assert [word for word in serve["command"] if "only" in word] == ["--only=access/*", "--only=merge/*"]
    assert serve["networks"] == ["outside"]
    assert not [name for name in serve["environment"] if "PREFECT" in name]
    assert serve["environment"]["VAULT_CACERT"]
    assert serve["environment"]["KEYTURN_SERVE_LISTEN"].startswith("127.0.0.1:")


def test_it_reads_the_hubs_audit_files_with_a_group_and_writes_its_trail_alone(services: dict[str, Any]) -> None:
    serve, declared = services["serve"], (ROOT / "deployments" / "Dockerfile").read_text()
    file = options(serve["command"])["audit-file"]
    assert source(serve, file.rpartition("/")[0]) == GIVEN["KEYTURN_AUDIT_DIRECTORY"]
    assert serve["group_add"] == ["10015"]
    assert compose_file(PRODUCTION, GIVEN | {"KEYTURN_AUDIT_GROUP": "988"})["services"]["serve"]["group_add"] == ["988"]
    assert [mount for mount in serve["volumes"] if isinstance(mount, str)] == [f"watch:{HOME}/watch"]
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
    assert all(f"\n{name}=" in guide for name in GIVEN)
    declared = PRODUCTION.read_text()
    files = {
        file for line in re.findall(r"# (hub\.role-id.*|prefect\.password.*)", declared) for file in line.split(", ")
    }
    assert all(file in guide for file in files)
    users = {"10011": "worker", "10012": "revoker", "10013": "notary", "10014": "prefect", "10015": "serve"}
    for user, role in users.items():
        assert f'user: "{user}:{user}"' in declared
        assert f"{role}:{user}" in guide
