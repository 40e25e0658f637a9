"""The real services together: reached through the environment alone, on loopback alone, and durable."""

import dataclasses
import json
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import hvac
import pytest
import requests
from prefect.settings import PREFECT_API_SSL_CERT_FILE, temporary_settings

from deployments.prefect_exposure import OPEN, insist_on_guarded, without_login
from keyturn.core.errors import Denied
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.providers.aws.parameter_store import AwsParameterStore
from keyturn.providers.azure.store import AzureKeyVault
from keyturn.providers.gcp.store import GcpSecretManager
from keyturn.providers.kubernetes.store import Kubernetes
from local.environment import NAMESPACE
from local.home import Stack
from local.services import SERVICES, Service
from local.stack import down, environment, remove, status, up
from tests.deployments.stand_ins import serving
from tests.support.mounts import make_kv
from tests.support.programs import command_line

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

APPLICATIONS = ("trainer", "inference")

FOREIGN_REQUESTS = [
    ({"Content-Type": "application/json", "Origin": "https://elsewhere.example"}, 403),
    ({"Content-Type": "application/json", "Host": "elsewhere.example"}, 421),
    ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Content-Type": "text/plain"}, 415),
    ({}, 415),
]


def with_stand_ins() -> tuple[Service, ...]:
    """The real table, with small programs for the applications, which need what only bootstrap makes."""
    return tuple(dataclasses.replace(s, start=serving(s.name)) if s.name in APPLICATIONS else s for s in SERVICES)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack") / "home"
    yield up(home, lambda stack: None, services=with_stand_ins())
    remove(home)
    assert not home.exists()


@pytest.fixture
def reached(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's environment, set."""
    told = environment(stack)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


def test_every_store_takes_a_secret_from_an_sdk_that_knows_only_the_environment(reached: dict[str, str]) -> None:
    marks = OwnershipTags("a/b", 1, "0" * 64)
    azure = AzureKeyVault(
        "azure",
        vault_url=reached["KEYTURN_AZURE_VAULT_URL"],
        ca_file=reached["KEYTURN_AZURE_CA_FILE"],
        authority=reached["KEYTURN_AZURE_AUTHORITY"],
    )
    gcp = GcpSecretManager(
        "gcp",
        project=reached["KEYTURN_GCP_PROJECT"],
        endpoint=reached["KEYTURN_GCP_ENDPOINT"],
        ca_file=reached["KEYTURN_GCP_CA_FILE"],
        token_file=reached["KEYTURN_GCP_TOKEN_FILE"],
    )
    cluster = Kubernetes(
        "cluster",
        namespace=NAMESPACE,
        server=reached["KEYTURN_KUBERNETES_SERVER"],
        ca_file=reached["KEYTURN_KUBERNETES_CA_FILE"],
        token_file=reached["KEYTURN_KUBERNETES_TOKEN_FILE"],
        restart=True,
    )
    parameters = AwsParameterStore(
        "parameters", region=reached["AWS_REGION"], endpoint_url=reached["KEYTURN_AWS_ENDPOINT"]
    )
    for store in (azure, gcp, cluster, parameters):
        store.write("name", Sensitive("value"), marks, None)
        assert store.read("name").reveal() == "value"
        store.close()
    aws = boto3.Session().client("secretsmanager", endpoint_url=reached["KEYTURN_AWS_ENDPOINT"])
    aws.create_secret(Name="name", SecretString="value")
    assert aws.get_secret_value(SecretId="name")["SecretString"] == "value"
    aws.close()


def test_the_worker_serves_the_pool_of_a_prefect_server_that_reports_to_nobody(reached: dict[str, str]) -> None:
    api, prefect = reached["PREFECT_API_URL"], trusting(reached["PREFECT_API_SSL_CERT_FILE"])
    workers = prefect.post(f"{api}/work_pools/keyturn/workers/filter", json={}, timeout=10).json()
    assert {worker["name"] for worker in workers} == {"local", "notary", "revoker"}
    settings = prefect.get(f"{api}/admin/settings", timeout=10).json()["server"]
    assert settings["analytics_enabled"] is False
    assert settings["ui"]["api_url"] == api
    page = prefect.get(api.removesuffix("/api"), timeout=10)
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    # The UI sets its analytics up whatever that setting says: the browser is not to ask their host.
    asked = page.headers["content-security-policy"].split()
    assert asked[0] == "connect-src"
    assert {urlsplit(place).hostname for place in asked[2:]} == {"127.0.0.1", "localhost"}
    assert api.removesuffix("/api") in asked


@pytest.mark.parametrize(("headers", "status"), FOREIGN_REQUESTS)
def test_a_page_of_another_origin_may_not_use_the_prefect_server(
    reached: dict[str, str], headers: dict[str, str], status: int
) -> None:
    api, prefect = reached["PREFECT_API_URL"], trusting(reached["PREFECT_API_SSL_CERT_FILE"])
    answer = prefect.post(f"{api}/flows/filter", data=b"{}", headers=headers, timeout=10)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert prefect.post(f"{api}/flows/filter", json={}, timeout=10).status_code == 200


def test_the_prefect_server_without_a_password_is_known_as_such(reached: dict[str, str]) -> None:
    api, trusted = reached["PREFECT_API_URL"], reached["PREFECT_API_SSL_CERT_FILE"]
    with temporary_settings({PREFECT_API_SSL_CERT_FILE: trusted}):
        assert without_login(api) in OPEN
        with pytest.raises(Denied, match="PREFECT_SERVER_API_AUTH_STRING"):
            insist_on_guarded("https://prefect.example.com/api", {}, lambda _: without_login(api))


def trusting(ca_file: str) -> requests.Session:
    """A client that trusts this authority alone."""
    made = requests.Session()
    made.verify, made.trust_env = ca_file, False
    return made


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
def test_the_worker_does_not_hold_the_hubs_root_token(stack: Stack) -> None:
    worker = next(each for each in status(stack.home) if each.name == "prefect-worker")
    held = Path(f"/proc/{worker.pid}/environ").read_text()
    assert stack.hub.root_token not in held
    assert "KEYTURN_HUB_ROLE_ID_FILE=" in held


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into /proc")
def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    ours = {f"socket:[{inode}]" for inode in open_to_the_network()}
    for each in status(stack.home):
        descriptors = Path(f"/proc/{each.pid}/fd").iterdir()
        assert not ours & {os.readlink(descriptor) for descriptor in descriptors if descriptor.is_symlink()}, each.name


def open_to_the_network() -> list[str]:
    """Inodes of the sockets that listen on more than loopback, as /proc tells them."""
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return [row[9] for row in rows if row[3] == "0A" and row[1].partition(":")[0] not in loopback]


def test_no_secret_is_on_a_command_line_or_in_the_record(stack: Stack) -> None:
    told = environment(stack)
    token = Path(told["KEYTURN_KUBERNETES_TOKEN_FILE"]).read_text()
    kept = [stack.hub.root_token, stack.database.superuser_password, told["AZURE_CLIENT_SECRET"], token]
    listed = "".join(command_line(int(place.name)).decode(errors="replace") for place in Path("/proc").glob("[0-9]*"))
    assert "bao\0server" in listed
    shown = listed + (stack.home / "stack.json").read_text() + json.dumps(list(map(str, status(stack.home))))
    assert not any(secret in shown for secret in kept)


def test_every_server_shows_a_certificate_of_the_one_authority_and_speaks_to_nobody_in_clear(stack: Stack) -> None:
    trusted = ssl.create_default_context(cafile=str(stack.authority.certificate))
    for name in (service.name for service in SERVICES if service.listens and service.name not in APPLICATIONS):
        assert b"200" not in answer_in_clear(stack.ports[name]), name
        if name != "postgres":  # it begins in a way of its own
            with (
                socket.create_connection(("127.0.0.1", stack.ports[name]), 10) as connection,
                trusted.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
            ):
                assert secure.version() == "TLSv1.3", name


def answer_in_clear(port: int) -> bytes:
    """What a server says to a request without TLS."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(100)
        except ConnectionError:
            return b""  # it hung up


def test_only_their_owner_reads_the_keys(stack: Stack) -> None:
    keys = [stack.authority.key, *stack.home.glob("*/tls/server.key")]
    assert len(keys) == 1 + len([service for service in SERVICES if service.listens])
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_what_the_hub_holds_survives_a_restart_of_the_stack(stack: Stack) -> None:
    client = hvac.Client(url=stack.hub.address, token=stack.hub.root_token, verify=stack.hub.ca_file)
    make_kv(client, "kept")
    down(stack.home, services=with_stand_ins())
    assert not any(each.running for each in status(stack.home))
    again = up(stack.home, lambda stack: None, services=with_stand_ins())
    assert again == stack
    client = hvac.Client(url=again.hub.address, token=again.hub.root_token, verify=again.hub.ca_file)
    assert "kept/" in client.sys.list_mounted_secrets_engines()["data"]
