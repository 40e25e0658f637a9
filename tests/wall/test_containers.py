"""A container has only its own login and networks, and a read-only file system.

Read from the compose files, as Compose reads them. What the containers run is tried in tests/test_compose_run.py.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.compose import (
    GIVEN,
    HOME,
    LOCAL,
    PRODUCTION,
    ROOT,
    compose_file,
    named_volumes,
    options,
    written_volumes,
)

LOGINS = {
    "aws": {"prefect-worker", "revoker", "serve"},
    "aws-reader": {"inference"},
    "azure": {"azure", "prefect-worker", "revoker", "serve"},
    "kubernetes": {"kubernetes", "prefect-worker", "revoker", "serve"},
    "prefect-server": {"prefect-server", "prefect-worker", "revoker", "notary"},
    "worker": {"prefect-worker"},
    "revoker": {"revoker"},
    "notary": {"notary"},
    "serve": {"serve"},
    "trainer": {"trainer"},
    "inference": {"inference"},
    "openbao": {"openbao"},
    "postgres": {"postgres"},
}
"""Each volume that holds a login, and who reads it: besides whoever makes it."""

PREPARING = {"files", "prepare"}
MADE_BY_AWS = {"aws", "aws-reader"}
IN_ROOT = re.compile(r"privileged|cap_add|devices|pid|ipc|userns_mode|network_mode|volumes_from|cgroup_parent")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return compose_file(LOCAL)


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


@pytest.fixture(params=[LOCAL, PRODUCTION], ids=lambda file: str(file.name))
def confined(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The services of each file."""
    return dict(compose_file(request.param, GIVEN)["services"])


def holders(services: dict[str, Any], volume: str) -> set[str]:
    """The containers that the volume is mounted in."""
    return {name for name, service in services.items() if volume in named_volumes(service)}


@pytest.mark.parametrize("volume", LOGINS)
def test_no_container_has_the_login_of_another(services: dict[str, Any], volume: str) -> None:
    makers = {"aws"} if volume in MADE_BY_AWS else set()
    assert holders(services, volume) - PREPARING - makers == LOGINS[volume]
    # Whoever uses a login can't put another one in its place; not even the server that it leads to.
    writers = {name for name in holders(services, volume) if volume in written_volumes(services[name])}
    assert writers <= PREPARING | makers


def test_only_the_hub_and_the_setup_container_have_the_root_token(services: dict[str, Any]) -> None:
    assert holders(services, "openbao") == {"files", "openbao", "prepare"}
    for name, service in services.items():
        assert f"{HOME}/openbao" not in json.dumps(service.get("environment", {})), name


def test_the_key_of_the_authority_is_with_its_maker_alone(services: dict[str, Any]) -> None:
    assert holders(services, "authority") == {"files"}


def test_no_other_running_container_has_a_servers_private_files(services: dict[str, Any]) -> None:
    for volume in (name for service in services.values() for name in named_volumes(service)):
        if volume.startswith("server-"):
            assert holders(services, volume) == {"files", volume.removeprefix("server-")}, volume
    assert holders(services, "database") == {"files", "postgres"}
    assert holders(services, "prefect") == {"prefect-server"}


def test_the_seal_witness_keys_and_emulator_data_are_not_in_shared_credentials(
    services: dict[str, Any],
) -> None:
    hub = (ROOT / "local" / "containers" / "openbao.json").read_text()
    private = re.findall(rf"{HOME}/servers/openbao/(\S+?)\"", hub)
    assert {"seal.key", "raft", "audit.log", "tls/server.key", "tls/server.pem"} == set(private)
    for name in ("witness-1", "witness-2"):
        assert f"{HOME}/servers/{name}" in services[name]["command"]
    for name in ("aws", "azure", "gcp", "kubernetes"):
        assert options(services[name]["command"])["data"] == f"{HOME}/servers/{name}"


def test_only_workers_write_the_ledger_and_the_notary_has_no_cloud_login(
    services: dict[str, Any],
) -> None:
    assert holders(services, "ledger") == {"prepare", "prefect-worker", "revoker", "notary", "serve"}
    variables = services["notary"]["environment"]
    assert not {"AWS_SHARED_CREDENTIALS_FILE", "AZURE_CLIENT_SECRET_FILE"} & set(variables)


def test_a_process_in_a_container_becomes_no_more_than_it_is_and_writes_nothing_but_its_volumes(
    confined: dict[str, Any],
) -> None:
    for name, service in confined.items():
        assert re.fullmatch(r"100\d\d:100\d\d", service["user"]), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        allowed = {"network_mode"} if service.get("network_mode") == "none" else set()
        assert {key for key in service if IN_ROOT.fullmatch(key)} <= allowed, name
        assert "docker.sock" not in json.dumps(service), name
        assert all(":size=" in mount for mount in service["tmpfs"]), name
    assert "\nUSER 10001:10001\n" in (ROOT / "deployments" / "Dockerfile").read_text()


def test_no_container_uses_up_the_machines_resources(confined: dict[str, Any]) -> None:
    for name, service in confined.items():
        assert 0 < service["pids_limit"] <= 1024, name
        assert 0 < service["cpus"] <= 2, name
        # No swap: what is in memory gets on no disk. Nor does a core.
        assert service["memswap_limit"] == service["mem_limit"], name
        assert service["ulimits"] == {"core": 0}, name
        assert re.fullmatch(r"\d+s", service["stop_grace_period"]), name


# --- networks

ROW = re.compile(r"^\| `([a-z]+)` \| (.*?) \| (.*?) \|")
OPEN = {"page"}


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Each network of the table in the documents: who serves there, and who asks."""
    text = (ROOT / "docs" / "containers.md").read_text()
    section = text.split("### Networks of the containers")[1].split("\n### ")[0]
    rows = [match.groups() for line in section.splitlines() if (match := ROW.match(line))]
    return {
        network: (set(re.findall(r"`([\w-]+)`", serves)), set(re.findall(r"`([\w-]+)`", asks)))
        for network, serves, asks in rows
    }


def attached(services: dict[str, Any], network: str) -> set[str]:
    return {name for name, service in services.items() if network in service.get("networks", ())}


def test_the_networks_are_those_of_the_documents(compose: dict[str, Any], services: dict[str, Any]) -> None:
    table = documented()
    assert set(table) == set(compose["networks"])
    for network, (serves, asks) in table.items():
        assert attached(services, network) == serves | asks, network


def test_every_container_is_in_its_networks_alone(services: dict[str, Any]) -> None:
    for name, service in services.items():
        # Without either, it would be in a network with all that have neither.
        assert ("networks" in service) != (service.get("network_mode") == "none"), name


def test_only_the_pages_network_reaches_outside(compose: dict[str, Any], services: dict[str, Any]) -> None:
    inward = {name for name, network in compose["networks"].items() if network == {"internal": True}}
    assert set(compose["networks"]) - inward == OPEN
    assert attached(services, "page") == {"prefect-server"}


def test_nothing_but_prefects_page_is_published_and_that_on_this_machine(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"prefect-server": ["127.0.0.1:4200:4200"]}


def spoken_to(service: dict[str, Any]) -> Iterator[str]:
    """The hosts that its command and its variables name."""
    told = json.dumps([service.get("command"), service.get("environment")])
    yield from re.findall(r"(?:https://|=|\": \")([a-z][a-z0-9-]*):\d{4}", told)


def test_a_container_reaches_each_server_in_its_settings(services: dict[str, Any]) -> None:
    table = documented()
    asked = {(client, server) for serves, asks in table.values() for client in asks for server in serves}
    for name, service in services.items():
        hosts = set(spoken_to(service)) & set(services) - {name}
        # The notary loads a catalogue that names all places, and asks the hub, Prefect and the witnesses alone.
        hosts -= {"aws", "azure", "gcp", "kubernetes", "trainer", "inference"} if name == "notary" else set()
        # Whoever prepares the applications comes before them, and `files` speaks to nobody.
        hosts -= {"trainer", "inference"} if name == "prepare" else set()
        assert name == "files" or {(name, host) for host in hosts} <= asked, name


def test_an_application_reaches_no_cloud_but_its_copies_and_no_prefect(services: dict[str, Any]) -> None:
    for name in ("trainer", "inference"):
        reached = {other for network in services[name]["networks"] for other in attached(services, network)}
        assert not {"azure", "gcp", "kubernetes", "prefect-server", "witness-1", "witness-2"} & reached, name
    assert "openbao" not in {n for net in services["inference"]["networks"] for n in documented()[net][0]}


def test_a_witness_is_reached_by_the_notary_and_by_no_worker(services: dict[str, Any]) -> None:
    assert attached(services, "witnesses") == {"witness-1", "witness-2", "notary", "prepare"}
