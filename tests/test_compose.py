"""The containers of docker-compose.yml, without Docker: their file's rules, and the stack that their commands make."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local import environment
from deployments.local.compose_prepare import ports
from deployments.local.home import Stack
from deployments.local.services import SERVICES
from deployments.local.support.files import kept_secret

ROOT = Path(__file__).parents[1]
HOME = "/var/lib/keyturn"
OWN_IMAGE = re.compile(r"keyturn:\d+\.\d+\.\d+")
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  looked for, not bound to
LISTENING = ("aws", "azure", "gcp", "kubernetes", "prefect-server", "trainer", "inference")
HELPERS = {"pod", "files", "prepare"}
"""Containers beside the stack's services: who holds the network, and two that do one thing and end.

Witnesses are left to whoever runs some elsewhere: their keys are known only once they have started.
"""


def interpolated(text: str, given: Mapping[str, str] = {}) -> str:
    """Compose's own variables filled in: the value given, else the default that the file names."""
    return re.sub(r"(?<!\$)\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1]) or found[2], text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(interpolated((ROOT / "docker-compose.yml").read_text())))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def options(command: list[str]) -> dict[str, str]:
    """The ``--name=value`` arguments."""
    return dict(argument.removeprefix("--").split("=", 1) for argument in command if argument.startswith("--"))


def named_volumes(service: Mapping[str, Any]) -> dict[str, str]:
    """Each named volume's place in the container."""
    mounts = [mount.split(":") for mount in service.get("volumes", ())]
    return {source: target for source, target, *_ in mounts if not source.startswith(".")}


def test_the_containers_are_the_services_of_the_local_stack(services: dict[str, Any]) -> None:
    assert set(services) - HELPERS == {service.name for service in SERVICES} - set(environment.WITNESSES)


def test_only_what_compose_knows_is_written(compose: dict[str, Any], services: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "configs", "volumes"}
    known = {"image", "build", "command", "entrypoint", "environment", "volumes", "configs", "healthcheck", "ports"}
    known |= {"depends_on", "network_mode", "restart", "init", "cap_drop", "security_opt", "user"}
    for name, service in services.items():
        assert set(service) <= known, name
        assert {type(value) for value in service.get("environment", {}).values()} <= {str}, name


def test_every_image_has_a_fixed_tag(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image, name
        assert re.fullmatch(r"\d[\w.-]*", tag), name
        assert ("build" in service) == bool(OWN_IMAGE.fullmatch(service["image"])), name


def test_the_images_of_others_are_the_servers_that_the_tests_run_against(services: dict[str, Any]) -> None:
    locked = (ROOT / "requirements.lock").read_text()
    assert f"\nopenbao-cli=={services['openbao']['image'].rpartition(':')[2]} " in locked


def test_keyturns_image_carries_its_version(services: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {service["image"] for service in services.values() if "build" in service}
    assert own == {f"keyturn:{project['version']}"}


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"pod": ["127.0.0.1:4200:4200"]}
    assert {service.get("network_mode") for name, service in services.items() if name != "pod"} == {"service:pod"}


def test_only_prefects_page_listens_beyond_loopback(services: dict[str, Any]) -> None:
    said = {name: json.dumps([s.get("command"), s.get("environment")]) for name, s in services.items()}
    assert {name for name, text in said.items() if ANY_ADDRESS in text} == {"prefect-server"}
    assert "listen_addresses=127.0.0.1" in services["postgres"]["command"]


def test_a_login_to_postgresql_needs_its_password_also_over_loopback(services: dict[str, Any]) -> None:
    assert services["postgres"]["environment"]["POSTGRES_INITDB_ARGS"] == "--auth=scram-sha-256"


def test_nobody_is_root_and_nobody_becomes_more_than_they_are(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in service or service["user"] == "10001:10001", name
    assert "\nUSER 10001:10001\n" in (ROOT / "deployments" / "Dockerfile").read_text()


def test_dependencies_exist_and_can_be_waited_for(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            once = services[other]["restart"] == "no"
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy"), name
            assert once or "healthcheck" in services[other], name


def test_whoever_serves_is_checked_and_started_again(services: dict[str, Any]) -> None:
    for name, service in services.items():
        once = name in ("files", "prepare")
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert once or name == "pod" or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_volumes_and_configurations_are_declared_and_used(compose: dict[str, Any], services: dict[str, Any]) -> None:
    used = {volume for service in services.values() for volume in named_volumes(service)}
    assert set(compose["volumes"]) == used
    asked = {config["source"] for service in services.values() for config in service.get("configs", ())}
    assert set(compose["configs"]) == asked


def test_every_volume_is_mounted_where_the_image_gives_it_an_owner(services: dict[str, Any]) -> None:
    owned = re.search(r"for directory in ([\w -]+);", (ROOT / "deployments" / "Dockerfile").read_text())
    assert owned
    for name, service in services.items():
        for volume, target in named_volumes(service).items():
            assert target == f"{HOME}/{volume}", name
            assert volume in owned[1].split(), name


def test_an_application_holds_no_login_but_its_own(services: dict[str, Any]) -> None:
    assert set(named_volumes(services["trainer"])) == {"trainer", "tls"}
    assert set(named_volumes(services["inference"])) == {"aws", "inference", "tls"}
    holders = {name for name, service in services.items() if "openbao" in named_volumes(service)}
    assert holders == {"files", "openbao", "prepare"}


def test_nobody_but_its_maker_holds_the_authoritys_key_and_each_server_its_own(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "authority" in named_volumes(service)} == {"files"}
    for name, volumes in ((name, named_volumes(services[name])) for name in LISTENING):
        assert options(services[name]["command"])["cert"].startswith(f"{volumes[name]}/tls/"), name
        assert options(services[name]["command"])["key"].startswith(f"{volumes[name]}/tls/"), name


def test_nothing_is_spoken_to_in_clear(compose: dict[str, Any], services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "http://" not in json.dumps({**service, "healthcheck": None}), name
    hub = json.loads(compose["configs"]["openbao"]["content"])
    assert hub["listener"]["tcp"]["tls_cert_file"].startswith(f"{HOME}/openbao/tls/")
    assert "ssl=on" in services["postgres"]["command"]
    allowed = [line.split()[0] for line in compose["configs"]["pg_hba"]["content"].splitlines()]
    assert set(allowed) == {"local", "hostssl"}


def test_no_secret_stands_in_the_file(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            telling = re.search("(SECRET|PASSWORD|TOKEN|KEY)(_ID)?(_FILE)?$", variable)
            assert not telling or value.startswith(f"{HOME}/"), f"{name}: {variable}"


def test_every_command_is_one_that_its_program_takes(services: dict[str, Any]) -> None:
    for name, service in services.items():
        words = [word for word in service["command"] if not word.startswith("-")]
        if words[0] not in ("python", "prefect"):
            continue
        program = words[1:2] if words[0] == "python" else words
        assert importlib.util.find_spec(program[0]), name
        asked = [sys.executable, "-m", *program, "--help"]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
        for option in filter(lambda word: word.startswith("--"), service["command"]):
            assert re.search(rf"{option.partition('=')[0]}\b", shown.stdout), f"{name}: {option}"


def test_each_process_is_given_what_the_local_stack_gives_it(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = services["prefect-worker"]["environment"]
    # The tests have an operator's file of their own.
    monkeypatch.delenv("KEYTURN_POLICY")
    monkeypatch.setenv("KEYTURN_CATALOGUE", given["KEYTURN_CATALOGUE"])
    listening = ports(services["prepare"]["environment"]["KEYTURN_PORTS"])
    stack = Stack(tmp_path, listening, given["AZURE_TENANT_ID"], given["AZURE_CLIENT_ID"])
    secret = kept_secret(stack.directory("azure") / "client.secret")

    def moved(variables: Mapping[str, str]) -> dict[str, str]:
        there = {name: value.replace(str(tmp_path), HOME) for name, value in variables.items()}
        return {
            "AZURE_CLIENT_SECRET_FILE" if value == secret else name: (
                f"{HOME}/azure/client.secret" if value == secret else value
            )
            for name, value in there.items()
        }

    assert moved(environment.worker(stack)).items() <= given.items()
    assert (
        moved(environment.worker(stack, environment.REVOKER_ROLE)).items() <= services["revoker"]["environment"].items()
    )
    assert moved(environment.notary(stack)).items() <= services["notary"]["environment"].items()
    assert moved(environment.prefect_server(stack)).items() <= services["prefect-server"]["environment"].items()
    assert moved(environment.aws(stack)).items() <= services["inference"]["environment"].items()
    assert moved(environment.hub(stack)).items() <= services["trainer"]["environment"].items()


def test_services_listen_where_the_others_are_told(services: dict[str, Any]) -> None:
    listening = ports(services["prepare"]["environment"]["KEYTURN_PORTS"])
    for name in LISTENING:
        assert options(services[name]["command"])["port"] == str(listening[name])


def test_no_container_waits_for_itself(services: dict[str, Any]) -> None:
    waits = {name: set(service.get("depends_on", ())) for name, service in services.items()}
    assert set(TopologicalSorter(waits).static_order()) == set(services)
