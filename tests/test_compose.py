"""docker-compose.yml, checked without Docker: its rules and the resulting stack."""

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from local import environment
from local.compose_prepare import addresses
from local.home import Stack
from local.services import SERVICES
from local.support.files import kept_secret
from tests.support.compose import (
    ANY_ADDRESS,
    HOME,
    LOCAL,
    PRODUCTION,
    ROOT,
    VARIABLE,
    compose_file,
    named_volumes,
    options,
    specification,
)

OWN_IMAGE = re.compile(r"keyturn-demo:\d+\.\d+\.\d+")
EMULATORS = ("aws", "azure", "gcp", "kubernetes")
LISTENING = (*EMULATORS, "prefect-server", "trainer", "inference")
HELPERS = {"files", "prepare"}
"""Containers beside the stack's services: two that do one thing and end."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return compose_file()


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def test_the_containers_are_the_services_of_the_local_stack(services: dict[str, Any]) -> None:
    assert set(services) - HELPERS == {service.name for service in SERVICES}


def test_the_file_is_one_that_the_compose_specification_allows(compose: dict[str, Any]) -> None:
    assert list(specification().iter_errors(compose)) == []


def test_all_of_it_is_of_the_profile_demo_and_asks_for_no_variable(services: dict[str, Any]) -> None:
    assert {tuple(service["profiles"]) for service in services.values()} == {("demo",)}
    for file in (LOCAL, PRODUCTION):
        assert {kind for _, kind, _ in VARIABLE.findall(file.read_text())} == {"-"}, file.name


@pytest.mark.attack
def test_the_file_includes_production_and_the_two_share_nothing(compose: dict[str, Any]) -> None:
    assert compose["include"] == [PRODUCTION.name]
    included = compose_file(PRODUCTION)
    for kind in ("services", "networks", "volumes", "configs"):
        assert compose[kind].keys().isdisjoint(included[kind]), kind
    assert "name" not in included


def test_every_variable_is_a_text(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert {type(value) for value in service.get("environment", {}).values()} <= {str}, name


def test_every_image_is_named_by_an_exact_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image, name
        assert re.fullmatch(r"\d+(\.\d+)+(-\w+)?", tag), name
        assert ("build" in service) == bool(OWN_IMAGE.fullmatch(service["image"])), name


def test_the_images_of_others_are_the_servers_that_the_tests_run_against(services: dict[str, Any]) -> None:
    locked = (ROOT / "requirements.lock").read_text()
    assert f"\nopenbao-cli=={services['openbao']['image'].rpartition(':')[2]} " in locked


def test_keyturns_image_carries_its_version(services: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {service["image"] for service in services.values() if "build" in service}
    assert own == {f"keyturn-demo:{project['version']}"}
    assert all(service["build"]["target"] == "demo" for service in services.values() if "build" in service)


def test_a_login_to_postgresql_needs_its_password_also_over_loopback(services: dict[str, Any]) -> None:
    assert services["postgres"]["environment"]["POSTGRES_INITDB_ARGS"] == "--auth=scram-sha-256"


def test_dependencies_exist_and_can_be_waited_for(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            once = services[other]["restart"] == "no"
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy"), name
            assert once or "healthcheck" in services[other], name


def test_whoever_serves_is_checked_and_started_again(services: dict[str, Any]) -> None:
    for name, service in services.items():
        once = name in HELPERS
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert once or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_volumes_and_configurations_are_declared_and_used(compose: dict[str, Any], services: dict[str, Any]) -> None:
    used = {volume for service in services.values() for volume in named_volumes(service)}
    assert set(compose["volumes"]) == used
    asked = {config["source"] for service in services.values() for config in service.get("configs", ())}
    assert set(compose["configs"]) == asked
    assert all((ROOT / config["file"]).is_file() for config in compose["configs"].values())


def test_every_volume_is_mounted_where_the_image_gives_it_an_owner(services: dict[str, Any]) -> None:
    owned = re.search(r"for directory in ([\w ./\\\n-]+);", (ROOT / "deployments" / "Dockerfile").read_text())
    assert owned
    for name, service in services.items():
        for volume, target in named_volumes(service).items():
            place = "." if volume == "prepared" else volume.replace("server-", "servers/", 1)
            assert target == os.path.normpath(f"{HOME}/{place}"), name
            assert place in owned[1].split(), name


def test_each_server_has_a_certificate_of_its_own(services: dict[str, Any]) -> None:
    for name, volumes in ((name, named_volumes(services[name])) for name in LISTENING):
        assert options(services[name]["command"])["cert"].startswith(f"{volumes[f'server-{name}']}/tls/"), name
        assert options(services[name]["command"])["key"].startswith(f"{volumes[f'server-{name}']}/tls/"), name


def config(compose: dict[str, Any], name: str) -> str:
    return (ROOT / compose["configs"][name]["file"]).read_text()


def test_nothing_is_spoken_to_in_clear(compose: dict[str, Any], services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "http://" not in json.dumps({**service, "healthcheck": None}), name
    hub = json.loads(config(compose, "openbao"))
    assert hub["listener"]["tcp"]["tls_cert_file"].startswith(f"{HOME}/servers/openbao/tls/")
    assert "ssl=on" in services["postgres"]["command"]
    lines = [line.split() for line in config(compose, "pg_hba").splitlines() if not line.startswith("#")]
    assert {kind for kind, *_ in lines} == {"local", "hostssl"}
    assert {how for *_, how in lines} == {"scram-sha-256"}


def test_no_secret_stands_in_the_file(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            telling = re.search("(SECRET|PASSWORD|TOKEN|KEY)(_ID)?(_FILE)?$", variable)
            assert not telling or value.startswith(f"{HOME}/"), f"{name}: {variable}"


def program_of(command: list[str]) -> tuple[str, ...]:
    """What is run as a module, with the names of its commands; nothing for a program of others."""
    words = [word for word in command if not word.startswith("-")]
    if words[0] not in ("python", "prefect"):
        return ()
    module = words[1] if words[0] == "python" else words[0]
    # What an installation has: the folder `deployments` is on its path by `keyturn.project` alone.
    assert module.partition(".")[0] in ("keyturn", "prefect"), module
    if module == "keyturn.project":
        assert importlib.util.find_spec(words[2]), words[2]
        return (module, words[2])
    assert importlib.util.find_spec(module), module
    named = itertools.takewhile(str.isalpha, words[words.index(module) + 1 :])
    return (module, *named) if module in ("prefect", "keyturn.cli") else (module,)


def help_of(program: tuple[str, ...]) -> str:
    asked = [sys.executable, "-m", *program, "--help"]
    return subprocess.run(
        asked, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"}
    ).stdout


def test_every_command_is_one_that_its_program_takes(services: dict[str, Any]) -> None:
    programs = {name: program for name, service in services.items() if (program := program_of(service["command"]))}
    asked = sorted({*programs.values()})
    with ThreadPoolExecutor(2) as pool:
        shown = dict(zip(asked, pool.map(help_of, asked), strict=True))
    for name, program in programs.items():
        for option in filter(lambda word: word.startswith("--"), services[name]["command"]):
            assert re.search(rf"{option.partition('=')[0]}\b", shown[program]), f"{name}: {option}"


def test_each_process_is_given_what_the_local_stack_gives_it(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {name: service.get("environment", {}) for name, service in services.items()}
    # The tests have an operator's file of their own.
    monkeypatch.delenv("KEYTURN_POLICY")
    monkeypatch.setenv("KEYTURN_CATALOGUE", given["prefect-worker"]["KEYTURN_CATALOGUE"])
    places = addresses(services["prepare"]["environment"]["KEYTURN_SERVICES"])
    identity = given["azure"]["AZURE_TENANT_ID"], given["azure"]["AZURE_CLIENT_ID"]
    hosts = {name: host for name, (host, _) in places.items()}
    stack = Stack(tmp_path, {name: port for name, (_, port) in places.items()}, *identity, hosts)
    secret = kept_secret(stack.directory("azure") / "client.secret")

    def expected(variables: Mapping[str, str], container: str) -> dict[str, str]:
        """What is the same there: files lie elsewhere, a secret is given as a file, and the role has its own."""
        there = {name: value.replace(str(tmp_path), HOME) for name, value in variables.items()}
        if there.pop("AZURE_CLIENT_SECRET", None) == secret:
            there["AZURE_CLIENT_SECRET_FILE"] = f"{HOME}/azure/client.secret"
        if "KEYTURN_HUB_ROLE_ID_FILE" in there:
            login = f"{HOME}/{container.removeprefix('prefect-')}/hub"
            there["KEYTURN_HUB_ROLE_ID_FILE"] = f"{login}.role-id"
            there["KEYTURN_HUB_SECRET_ID_FILE"] = f"{login}.secret-id"
        return there

    server, notary = environment.prefect_server(stack), environment.notary(stack)
    # What is published is what its own pages are.
    pages = {name: server.pop(name) for name in list(server) if name.endswith(("UI_API_URL", "ALLOWED_ORIGINS"))}
    # The notary has no login to a cloud, and what runs on none to Prefect.
    cloud_logins = {*environment.azure(stack), *environment.aws(stack)} - {*given["notary"]}
    assert all("https://127.0.0.1:4200" in given["prefect-server"][name] for name in pages)
    for container, variables in (
        ("prefect-worker", environment.worker(stack)),
        ("revoker", environment.worker(stack)),
        ("notary", {name: value for name, value in notary.items() if name not in cloud_logins}),
        ("serve", {name: value for name, value in environment.worker(stack).items() if "PREFECT" not in name}),
        ("trainer", environment.hub(stack)),
        ("inference", environment.aws_reader(stack)),
        ("prefect-server", server),
    ):
        assert expected(variables, container).items() <= {"DO_NOT_TRACK": "1", **given[container]}.items(), container


def test_services_listen_where_the_others_are_told(services: dict[str, Any]) -> None:
    places = addresses(services["prepare"]["environment"]["KEYTURN_SERVICES"])
    for name in (*LISTENING, *environment.WITNESSES):
        assert places[name] == (name, int(options(services[name]["command"])["port"]))
        assert options(services[name]["command"])["host"] == ANY_ADDRESS


def test_no_container_waits_for_itself(services: dict[str, Any]) -> None:
    waits = {name: set(service.get("depends_on", ())) for name, service in services.items()}
    assert set(TopologicalSorter(waits).static_order()) == set(services)
