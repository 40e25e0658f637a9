"""The emulator of Google Cloud Secret Manager behaves as the service's documentation says, seen through its SDK."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions as api
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.cloud.secretmanager_v1.types import Secret, SecretVersion
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

from keyturn.providers.gcp.client import crc32c
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

PROJECT = "keyturn-tests"
PARENT = f"projects/{PROJECT}"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}
State = SecretVersion.State


def command(port: int, data: Path, *options: str) -> list[str]:
    """How an operator starts the emulator."""
    module = "local.emulators.gcp_secret_manager"
    return [sys.executable, "-W", "error", "-m", module, "--port", str(port), "--data", str(data), *options]


@contextmanager
def running(port: int, data: Path, *options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """An emulator that is ready, and stopped at the end; it must have said nothing but that it is ready."""
    process = subprocess.Popen(
        command(port, data, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)
    assert said == ("", "")
    assert process.returncode == 0


@contextmanager
def connected(port: int) -> Iterator[SecretManagerServiceClient]:
    """The official client on the emulator's port."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    with SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel)) as client:
        yield client


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    with running(number, tmp_path_factory.mktemp("gcp")):
        yield number


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[SecretManagerServiceClient]:
    with connected(port) as connection:
        yield connection


@pytest.fixture
def new_id() -> str:
    return f"secret-{secrets.token_hex(6)}"


@pytest.fixture
def secret(client: SecretManagerServiceClient, new_id: str) -> Secret:
    """A fresh secret without versions."""
    return create(client, PARENT, new_id, AUTOMATIC)


def create(client: SecretManagerServiceClient, parent: str, secret_id: str, secret: dict[str, Any]) -> Secret:
    return client.create_secret(request={"parent": parent, "secret_id": secret_id, "secret": secret})


def add(client: SecretManagerServiceClient, secret: Secret, data: bytes = b"value") -> SecretVersion:
    return client.add_secret_version(request={"parent": secret.name, "payload": {"data": data}})


def update(client: SecretManagerServiceClient, secret: Secret, etag: str = "", **fields: Any) -> Secret:
    wanted = {"name": secret.name, "etag": etag, **fields}
    return client.update_secret(request={"secret": wanted, "update_mask": {"paths": list(fields)}})


def listed(client: SecretManagerServiceClient, project: str, wanted: str) -> list[str]:
    found = client.list_secrets(request={"parent": f"projects/{project}", "filter": wanted})
    return sorted(one.name.rpartition("/")[2] for one in found)


# The process


def test_everything_is_still_there_after_a_restart(tmp_path: Path) -> None:
    number = free_port()
    with running(number, tmp_path), connected(number) as client:
        secret = create(client, PARENT, "kept", {**AUTOMATIC, "labels": {"a": "b"}})
        version = add(client, secret, b"kept value")
    with running(number, tmp_path), connected(number) as client:
        assert client.get_secret(name=secret.name) == secret
        assert client.access_secret_version(name=version.name).payload.data == b"kept value"
        assert add(client, secret).name.endswith("/versions/2")


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    number, data = free_port(), tmp_path / "made" / "here"
    with running(number, data), connected(number) as client:
        add(client, create(client, PARENT, "private", AUTOMATIC))
        assert data.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in data.iterdir()} == {0o600}


def test_a_second_server_on_the_same_port_says_so_and_fails(port: int, tmp_path: Path) -> None:
    second = subprocess.run(command(port, tmp_path), capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode != 0
    assert second.stdout == ""
    assert second.stderr == f"gcp_secret_manager: port {port} is in use\n"


def test_a_required_token_that_is_not_in_the_environment_is_an_error(tmp_path: Path) -> None:
    options = ("--require-token-env", "KEYTURN_TEST_ABSENT")
    asked = subprocess.run(command(1, tmp_path, *options), capture_output=True, text=True, timeout=30, check=False)
    assert asked.returncode != 0
    assert "KEYTURN_TEST_ABSENT" in asked.stderr


def test_only_the_required_token_is_admitted(tmp_path: Path) -> None:
    number, token = free_port(), secrets.token_hex(8)
    options = ("--require-token-env", "KEYTURN_TEST_TOKEN")
    with running(number, tmp_path, *options, KEYTURN_TEST_TOKEN=token), connected(number) as client:
        request = {"parent": PARENT}
        with pytest.raises(api.Unauthenticated):
            client.list_secrets(request=request)
        with pytest.raises(api.PermissionDenied):
            client.list_secrets(request=request, metadata=[("authorization", "Bearer another")])
        assert not list(client.list_secrets(request=request, metadata=[("authorization", f"Bearer {token}")]))


def test_calls_above_the_quota_are_told_how_long_to_wait(tmp_path: Path) -> None:
    number = free_port()
    with running(number, tmp_path, "--requests-per-minute", "3"), connected(number) as client:
        for _ in range(3):
            client.list_secrets(parent=PARENT)
        with pytest.raises(api.ResourceExhausted) as caught:
            client.list_secrets(parent=PARENT)
    delays = [detail.retry_delay.ToSeconds() for detail in caught.value.details if isinstance(detail, RetryInfo)]
    assert len(delays) == 1
    assert 50 <= delays[0] <= 60


# Secrets


def test_a_created_secret_has_a_name_by_project_number_a_time_and_an_etag(
    client: SecretManagerServiceClient, new_id: str
) -> None:
    tags = {"labels": {"team": "payments"}, "annotations": {"Note.x": "Any text: é"}}
    created = create(client, PARENT, new_id, {**AUTOMATIC, **tags})
    _, number, _, name = created.name.split("/")
    assert number.isdigit()
    assert name == new_id
    assert abs(created.create_time.timestamp() - time.time()) < 5
    assert created.etag.startswith('"')
    assert dict(created.labels) == tags["labels"]
    assert dict(created.annotations) == tags["annotations"]
    assert client.get_secret(name=f"{PARENT}/secrets/{new_id}") == created
    assert client.get_secret(name=created.name) == created


def test_a_user_managed_replication_is_kept_and_described_on_versions(
    client: SecretManagerServiceClient, new_id: str
) -> None:
    replicas = [{"location": "europe-west1"}, {"location": "us-east1"}]
    wanted = {"replication": {"user_managed": {"replicas": replicas}}}
    created = create(client, PARENT, new_id, wanted)
    assert [replica.location for replica in created.replication.user_managed.replicas] == ["europe-west1", "us-east1"]
    status = add(client, created).replication_status
    assert [replica.location for replica in status.user_managed.replicas] == ["europe-west1", "us-east1"]


def test_a_name_that_is_taken_already_exists(client: SecretManagerServiceClient, secret: Secret, new_id: str) -> None:
    with pytest.raises(api.AlreadyExists) as caught:
        create(client, PARENT, new_id, AUTOMATIC)
    assert isinstance(caught.value, api.Conflict)


@pytest.mark.parametrize("illegal", ["", "a/b", "a.b", "a b", "é", "x" * 256])
def test_an_illegal_secret_id_is_refused(client: SecretManagerServiceClient, illegal: str) -> None:
    with pytest.raises(api.InvalidArgument):
        create(client, PARENT, illegal, AUTOMATIC)


@pytest.mark.parametrize("legal", ["x" * 255, "A_b-9"])
def test_a_legal_secret_id_is_accepted(client: SecretManagerServiceClient, legal: str) -> None:
    assert create(client, PARENT, legal, AUTOMATIC).name.endswith(f"/{legal}")


@pytest.mark.parametrize("parent", ["", "keyturn-tests", "projects/", "projects/UPPER-CASE", "projects/a/locations/b"])
def test_an_illegal_parent_is_refused(client: SecretManagerServiceClient, parent: str, new_id: str) -> None:
    with pytest.raises(api.InvalidArgument):
        create(client, parent, new_id, AUTOMATIC)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"replication": {}}, id="no replication"),
        pytest.param({"replication": {"user_managed": {}}}, id="no replica"),
        pytest.param({"replication": {"user_managed": {"replicas": [{"location": "a"}] * 2}}}, id="replica twice"),
        pytest.param({"labels": {"Upper": "x"}}, id="upper-case label key"),
        pytest.param({"labels": {"1st": "x"}}, id="label key starts with a digit"),
        pytest.param({"labels": {"key": "Upper"}}, id="upper-case label value"),
        pytest.param({"labels": {"key": "a.b"}}, id="dot in a label value"),
        pytest.param({"labels": {"key": "x" * 64}}, id="long label value"),
        pytest.param({"labels": {"k" * 64: "x"}}, id="long label key"),
        pytest.param({"labels": {f"key{n}": "x" for n in range(65)}}, id="65 labels"),
        pytest.param({"annotations": {"-x": "x"}}, id="annotation key starts with a dash"),
        pytest.param({"annotations": {"k" * 64: "x"}}, id="long annotation key"),
        pytest.param({"annotations": {"key": "x" * (16 * 1024 - 3)}}, id="16 KiB of annotations"),
        pytest.param({"version_aliases": {"live": 1}}, id="alias of no version"),
        pytest.param({"ttl": {"seconds": 30}}, id="short ttl"),
        pytest.param({"version_destroy_ttl": {"seconds": 60}}, id="short destruction delay"),
    ],
)
def test_a_wrong_field_is_refused_and_nothing_is_created(
    client: SecretManagerServiceClient, new_id: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(api.InvalidArgument):
        create(client, PARENT, new_id, {**AUTOMATIC, **wrong})
    with pytest.raises(api.NotFound):
        client.get_secret(name=f"{PARENT}/secrets/{new_id}")


def test_the_largest_labels_and_annotations_are_accepted(client: SecretManagerServiceClient, new_id: str) -> None:
    tags = {
        "labels": {f"k{number:062}": "é" * 63 for number in range(64)},
        "annotations": {"key": "x" * (16 * 1024 - 4)},
    }
    created = create(client, PARENT, new_id, {**AUTOMATIC, **tags})
    assert len(created.labels) == 64


def test_what_the_emulator_lacks_is_unimplemented_and_not_pretended(
    client: SecretManagerServiceClient, new_id: str
) -> None:
    with pytest.raises(api.MethodNotImplemented):
        create(client, PARENT, new_id, {**AUTOMATIC, "topics": [{"name": "projects/p/topics/t"}]})


# Regional secrets

REGIONAL = f"{PARENT}/locations/europe-west3"
KEY = "projects/keys/locations/europe-west3/keyRings/ring/cryptoKeys/key"


def test_a_regional_secret_has_a_name_of_its_own_and_no_replication(
    client: SecretManagerServiceClient, secret: Secret
) -> None:
    name = secret.name.rpartition("/")[2]
    regional = create(client, REGIONAL, name, {"labels": {"of": name}})
    elsewhere = create(client, f"{PARENT}/locations/us-central1", name, {"labels": {"of": name}})
    number = secret.name.split("/")[1]
    assert regional.name == f"projects/{number}/locations/europe-west3/secrets/{name}"
    version = add(client, regional, b"regional")
    assert version.name == f"{regional.name}/versions/1"
    assert "replication_status" not in version
    add(client, secret, b"global")
    assert client.access_secret_version(name=f"{REGIONAL}/secrets/{name}/versions/latest").payload.data == b"regional"
    assert client.access_secret_version(name=f"{secret.name}/versions/latest").payload.data == b"global"
    listing = client.list_secrets(request={"parent": REGIONAL, "filter": f"labels.of={name}"})
    assert [one.name for one in listing] == [regional.name]
    assert listed(client, PROJECT, f"labels.of={name}") == []
    client.delete_secret(name=regional.name)
    assert client.get_secret(name=elsewhere.name) == elsewhere


def test_a_regional_secret_is_encrypted_with_a_key_of_its_own_location(
    client: SecretManagerServiceClient, new_id: str
) -> None:
    made = create(client, REGIONAL, new_id, {"customer_managed_encryption": {"kms_key_name": KEY}})
    told = add(client, made).customer_managed_encryption.kms_key_version_name
    assert told == f"{KEY}/cryptoKeyVersions/1"


@pytest.mark.parametrize(
    ("parent", "secret"),
    [
        pytest.param(REGIONAL, AUTOMATIC, id="a replication"),
        pytest.param(f"{PARENT}/locations/europe", {}, id="no location"),
        pytest.param(
            f"{PARENT}/locations/us-central1",
            {"customer_managed_encryption": {"kms_key_name": KEY}},
            id="another location's key",
        ),
        pytest.param(PARENT, {}, id="a global one without replication"),
    ],
)
def test_a_secret_that_does_not_fit_its_place_is_refused(
    client: SecretManagerServiceClient, new_id: str, parent: str, secret: dict[str, Any]
) -> None:
    with pytest.raises(api.InvalidArgument):
        create(client, parent, new_id, secret)


def test_an_update_replaces_the_masked_fields_and_gives_a_new_etag(
    client: SecretManagerServiceClient, secret: Secret
) -> None:
    first = update(client, secret, labels={"a": "1", "b": "2"}, annotations={"x": "y"})
    second = update(client, secret, labels={"b": "3"})
    assert dict(second.labels) == {"b": "3"}
    assert dict(second.annotations) == {"x": "y"}
    assert len({secret.etag, first.etag, second.etag}) == 3
    assert update(client, secret, labels={"b": "3"}).etag != second.etag


def test_an_update_with_an_old_etag_fails_its_precondition(client: SecretManagerServiceClient, secret: Secret) -> None:
    current = update(client, secret, etag=secret.etag, labels={"a": "1"})
    with pytest.raises(api.FailedPrecondition) as caught:
        update(client, secret, etag=secret.etag, labels={"a": "2"})
    assert isinstance(caught.value, api.BadRequest)
    assert client.get_secret(name=secret.name) == current


@pytest.mark.parametrize("paths", [[], ["replication"], ["name"], ["etag"], ["labels.a"], ["nothing"]])
def test_a_mask_that_names_nothing_updatable_is_refused(
    client: SecretManagerServiceClient, secret: Secret, paths: list[str]
) -> None:
    with pytest.raises(api.InvalidArgument):
        client.update_secret(
            request={"secret": {"name": secret.name, "labels": {"a": "1"}}, "update_mask": {"paths": paths}}
        )


def test_an_illegal_update_changes_nothing(client: SecretManagerServiceClient, secret: Secret) -> None:
    with pytest.raises(api.InvalidArgument):
        update(client, secret, labels={"ok": "1"}, annotations={"not ok": "1"})
    assert client.get_secret(name=secret.name) == secret


def test_a_ttl_becomes_an_expire_time_and_can_be_removed(client: SecretManagerServiceClient, secret: Secret) -> None:
    set_once = update(client, secret, ttl={"seconds": 3600})
    assert 3590 < set_once.expire_time.timestamp() - time.time() <= 3600
    assert "ttl" not in set_once
    assert "expire_time" not in client.update_secret(
        request={"secret": {"name": secret.name}, "update_mask": {"paths": ["expire_time"]}}
    )


def test_a_deleted_secret_is_gone_with_its_versions(
    client: SecretManagerServiceClient, secret: Secret, new_id: str
) -> None:
    version = add(client, secret)
    client.delete_secret(name=secret.name)
    for call in (client.get_secret, client.delete_secret):
        with pytest.raises(api.NotFound):
            call(name=secret.name)
    with pytest.raises(api.NotFound):
        client.access_secret_version(name=version.name)
    again = create(client, PARENT, new_id, AUTOMATIC)
    assert add(client, again).name.endswith("/versions/1")


def test_a_delete_with_an_old_etag_fails_its_precondition(client: SecretManagerServiceClient, secret: Secret) -> None:
    current = update(client, secret, labels={"a": "1"})
    with pytest.raises(api.FailedPrecondition):
        client.delete_secret(request={"name": secret.name, "etag": secret.etag})
    client.delete_secret(request={"name": secret.name, "etag": current.etag})


# Listings


def test_a_listing_is_newest_first_and_whole_across_pages(client: SecretManagerServiceClient) -> None:
    parent = f"projects/{fresh_project()}"
    made = [create(client, parent, f"s{n}", AUTOMATIC).name for n in range(7)]
    pages = list(client.list_secrets(request={"parent": parent, "page_size": 3}).pages)
    assert [len(page.secrets) for page in pages] == [3, 3, 1]
    assert [one.name for page in pages for one in page.secrets] == made[::-1]
    assert {page.total_size for page in pages} == {7}
    assert pages[-1].next_page_token == ""


def test_a_last_page_that_is_full_has_no_next(client: SecretManagerServiceClient) -> None:
    parent = f"projects/{fresh_project()}"
    for number in range(4):
        create(client, parent, f"s{number}", AUTOMATIC)
    assert [len(page.secrets) for page in client.list_secrets(request={"parent": parent, "page_size": 2}).pages] == [
        2,
        2,
    ]


def test_a_listing_survives_what_is_created_and_deleted_meanwhile(client: SecretManagerServiceClient) -> None:
    parent = f"projects/{fresh_project()}"
    for number in range(4):
        create(client, parent, f"s{number}", AUTOMATIC)
    pages = client.list_secrets(request={"parent": parent, "page_size": 2}).pages
    first = [one.name.rpartition("/")[2] for one in next(pages).secrets]
    create(client, parent, "s4", AUTOMATIC)
    client.delete_secret(name=f"{parent}/secrets/s2")
    assert first == ["s3", "s2"]
    assert [one.name.rpartition("/")[2] for one in next(pages).secrets] == ["s1", "s0"]


def test_a_token_of_another_listing_is_refused(client: SecretManagerServiceClient) -> None:
    parent = f"projects/{fresh_project()}"
    for number in range(3):
        create(client, parent, f"s{number}", AUTOMATIC)
    page = next(client.list_secrets(request={"parent": parent, "page_size": 1}).pages)
    for token, wanted in ((page.next_page_token, "name:s"), ("nonsense", ""), ("é", "")):
        with pytest.raises(api.InvalidArgument):
            client.list_secrets(request={"parent": parent, "page_token": token, "filter": wanted})
    with pytest.raises(api.InvalidArgument):
        client.list_secrets(request={"parent": parent, "page_size": -1})


def test_a_filtered_listing_has_no_total(client: SecretManagerServiceClient, secret: Secret, new_id: str) -> None:
    page = next(client.list_secrets(request={"parent": PARENT, "filter": f"name:{new_id}"}).pages)
    assert [one.name for one in page.secrets] == [secret.name]
    assert page.total_size == 0


def fresh_project() -> str:
    return f"keyturn-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def catalogue(client: SecretManagerServiceClient) -> str:
    """A project with four different secrets."""
    project = fresh_project()
    user_managed = {"replication": {"user_managed": {"replicas": [{"location": "europe-west1"}]}}}
    wanted: dict[str, dict[str, Any]] = {
        "db-live": {**AUTOMATIC, "labels": {"env": "production", "team": "db"}, "annotations": {"a.b": "Hello World"}},
        "db-test": {**AUTOMATIC, "labels": {"env": "staging", "team": "db"}},
        "web-live": {**user_managed, "labels": {"env": "production"}},
        "bare": AUTOMATIC,
    }
    for name, secret in wanted.items():
        create(client, f"projects/{project}", name, secret)
    return project


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("name:db", ["db-live", "db-test"]),
        ("name:DB-L", ["db-live"]),
        ("name=bare", ["bare"]),
        ("labels.env=production", ["db-live", "web-live"]),
        ("labels.env!=production", ["db-test"]),
        ("labels.env:prod", ["db-live", "web-live"]),
        ('labels.env="production"', ["db-live", "web-live"]),
        ("labels.env=prod", []),
        ("labels:team", ["db-live", "db-test"]),
        ("labels.team:*", ["db-live", "db-test"]),
        ("NOT labels.team:*", ["bare", "web-live"]),
        ("-labels.team:*", ["bare", "web-live"]),
        ('annotations.a.b="Hello World"', ["db-live"]),
        ("annotations.a.b:hello", ["db-live"]),
        ("labels.env=production AND labels.team=db", ["db-live"]),
        ("name:bare OR name:web", ["bare", "web-live"]),
        ("labels.env=staging OR labels.env=production AND name:db", ["db-live", "db-test"]),
        ("name:bare OR (labels.env=production AND labels.team=db)", ["bare", "db-live"]),
        ("labels.env=(staging OR production)", ["db-live", "db-test", "web-live"]),
        ("replication.automatic:*", ["bare", "db-live", "db-test"]),
        ("replication.user_managed.replicas.location:europe-west1", ["web-live"]),
        ("replication.userManaged:*", ["web-live"]),
        ("create_time>2021-01-01T06:00:00Z AND name:bare", ["bare"]),
        ('create_time<"2021-01-01T06:00:00Z"', []),
    ],
)
def test_a_filter_chooses(client: SecretManagerServiceClient, catalogue: str, wanted: str, found: list[str]) -> None:
    assert listed(client, catalogue, wanted) == found


@pytest.mark.parametrize(
    "wrong",
    [
        "mysecret",
        "name:",
        "name",
        ":x",
        "name:a name:b",
        "(name:a",
        "name:a)",
        "name:a AND",
        "NOT",
        "name=(a OR )",
        'name:"open',
        "nothing:x",
        "name.x:y",
        "nothing:*",
        "name~x",
        "name:a*b",
        "name<x",
        "replication.automatic=x",
        "create_time>yesterday",
        "create_time>2021-01-01T06:00:00",
        "create_time:2021-01-01T06:00:00Z",
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(client: SecretManagerServiceClient, wrong: str) -> None:
    with pytest.raises(api.InvalidArgument):
        client.list_secrets(request={"parent": PARENT, "filter": wrong})


# Versions


def test_the_checksum_is_castagnolis() -> None:
    # Source: RFC 3720, B.4.
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def test_versions_count_from_one_and_leave_the_secrets_etag(client: SecretManagerServiceClient, secret: Secret) -> None:
    first, second = add(client, secret, b"one"), add(client, secret, b"two")
    assert [first.name, second.name] == [f"{secret.name}/versions/1", f"{secret.name}/versions/2"]
    assert first.state == second.state == State.ENABLED
    assert first.etag != second.etag
    assert client.get_secret(name=secret.name).etag == secret.etag


def test_a_payload_comes_back_with_its_checksum(client: SecretManagerServiceClient, secret: Secret) -> None:
    data = bytes(range(256))
    unchecked = client.add_secret_version(request={"parent": secret.name, "payload": {"data": data}})
    checked = client.add_secret_version(
        request={"parent": secret.name, "payload": {"data": data, "data_crc32c": crc32c(data)}}
    )
    assert not unchecked.client_specified_payload_checksum
    assert checked.client_specified_payload_checksum
    for version in (unchecked, checked):
        answer = client.access_secret_version(name=version.name)
        assert answer.name == version.name
        assert answer.payload.data == data
        assert answer.payload.data_crc32c == crc32c(data)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({}, id="none"),
        pytest.param({"data": b""}, id="empty"),
        pytest.param({"data": b"x" * 65_537}, id="over 64 KiB"),
        pytest.param({"data": b"value", "data_crc32c": 1}, id="wrong checksum"),
        pytest.param({"data": b"value", "data_crc32c": 0}, id="wrong checksum 0"),
    ],
)
def test_a_wrong_payload_is_refused_and_not_repeated(
    client: SecretManagerServiceClient, secret: Secret, payload: dict[str, Any]
) -> None:
    with pytest.raises(api.InvalidArgument) as caught:
        client.add_secret_version(request={"parent": secret.name, "payload": payload})
    assert "value" not in str(caught.value)
    assert not list(client.list_secret_versions(parent=secret.name))


def test_64_kib_are_accepted(client: SecretManagerServiceClient, secret: Secret) -> None:
    add(client, secret, b"x" * 65_536)
    assert len(client.access_secret_version(name=f"{secret.name}/versions/latest").payload.data) == 65_536


def test_latest_is_the_newest_version_whatever_its_state(client: SecretManagerServiceClient, secret: Secret) -> None:
    add(client, secret, b"one")
    newest = add(client, secret, b"two")
    client.disable_secret_version(name=newest.name)
    assert client.get_secret_version(name=f"{secret.name}/versions/latest").name == newest.name
    with pytest.raises(api.FailedPrecondition):
        client.access_secret_version(name=f"{secret.name}/versions/latest")


def test_versions_that_do_not_exist_are_not_found(client: SecretManagerServiceClient, secret: Secret) -> None:
    for which in ("latest", "1", "0", "99999999999999999999", "no-alias"):
        with pytest.raises(api.NotFound):
            client.get_secret_version(name=f"{secret.name}/versions/{which}")
    with pytest.raises(api.NotFound):
        client.access_secret_version(name=f"{PARENT}/secrets/absent/versions/latest")
    with pytest.raises(api.NotFound):
        client.add_secret_version(request={"parent": f"{PARENT}/secrets/absent", "payload": {"data": b"x"}})


def test_an_alias_stands_for_its_version_in_get_and_access(client: SecretManagerServiceClient, secret: Secret) -> None:
    add(client, secret, b"one")
    add(client, secret, b"two")
    assert dict(update(client, secret, version_aliases={"stable": 1}).version_aliases) == {"stable": 1}
    name = f"{secret.name}/versions/stable"
    assert client.get_secret_version(name=name).name.endswith("/versions/1")
    assert client.access_secret_version(name=name).payload.data == b"one"
    with pytest.raises(api.InvalidArgument):
        client.disable_secret_version(name=name)


@pytest.mark.parametrize("alias", ["latest", "NEW", "1st", "", "a.b", "x" * 64])
def test_an_illegal_alias_is_refused(client: SecretManagerServiceClient, secret: Secret, alias: str) -> None:
    add(client, secret)
    with pytest.raises(api.InvalidArgument):
        update(client, secret, version_aliases={alias: 1})


def test_a_disabled_version_is_not_served_until_it_is_enabled(
    client: SecretManagerServiceClient, secret: Secret
) -> None:
    version = add(client, secret)
    disabled = client.disable_secret_version(name=version.name)
    assert disabled.state == State.DISABLED
    assert disabled.etag != version.etag
    with pytest.raises(api.FailedPrecondition, match="is in DISABLED state"):
        client.access_secret_version(name=version.name)
    assert client.enable_secret_version(name=version.name).state == State.ENABLED
    assert client.access_secret_version(name=version.name).payload.data == b"value"


def test_a_destroyed_version_stays_destroyed(client: SecretManagerServiceClient, secret: Secret) -> None:
    version = add(client, secret)
    destroyed = client.destroy_secret_version(name=version.name)
    assert destroyed.state == State.DESTROYED
    assert abs(destroyed.destroy_time.timestamp() - time.time()) < 5
    calls: list[Callable[..., Any]] = [
        client.access_secret_version,
        client.enable_secret_version,
        client.disable_secret_version,
        client.destroy_secret_version,
    ]
    for call in calls:
        with pytest.raises(api.FailedPrecondition, match="is in DESTROYED state"):
            call(name=version.name)
    assert client.get_secret_version(name=version.name) == destroyed
    assert add(client, secret).name.endswith("/versions/2")


def test_a_destroyed_payload_is_on_disk_no_more(tmp_path: Path) -> None:
    number, value = free_port(), secrets.token_hex(16).encode()
    with running(number, tmp_path), connected(number) as client:
        secret = create(client, PARENT, "gone", AUTOMATIC)
        client.destroy_secret_version(name=add(client, secret, value).name)
    assert all(value not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_delayed_destruction_disables_first_and_can_be_called_off(
    client: SecretManagerServiceClient, secret: Secret
) -> None:
    update(client, secret, version_destroy_ttl={"seconds": 86_400})
    version = add(client, secret)
    waiting = client.destroy_secret_version(name=version.name)
    assert waiting.state == State.DISABLED
    assert 86_390 < waiting.scheduled_destroy_time.timestamp() - time.time() <= 86_400
    enabled = client.enable_secret_version(name=version.name)
    assert enabled.state == State.ENABLED
    assert "scheduled_destroy_time" not in enabled


def test_a_version_changes_only_under_its_current_etag(client: SecretManagerServiceClient, secret: Secret) -> None:
    version = add(client, secret)
    current = client.enable_secret_version(request={"name": version.name, "etag": version.etag})
    for call in (client.disable_secret_version, client.enable_secret_version, client.destroy_secret_version):
        with pytest.raises(api.FailedPrecondition):
            call(request={"name": version.name, "etag": version.etag})
    assert client.disable_secret_version(request={"name": version.name, "etag": current.etag}).state == State.DISABLED


def test_versions_are_listed_newest_first_and_by_state(client: SecretManagerServiceClient, secret: Secret) -> None:
    versions = [add(client, secret) for _ in range(4)]
    client.disable_secret_version(name=versions[1].name)
    client.destroy_secret_version(name=versions[2].name)

    def numbers(wanted: str) -> list[str]:
        found = client.list_secret_versions(request={"parent": secret.name, "filter": wanted})
        return [version.name.rpartition("/")[2] for version in found]

    assert numbers("") == ["4", "3", "2", "1"]
    assert numbers("state:ENABLED") == ["4", "1"]
    assert numbers("state=(ENABLED OR DISABLED)") == ["4", "2", "1"]
    assert numbers("NOT state:DESTROYED AND create_time>2021-01-01T00:00:00Z") == ["4", "2", "1"]
    with pytest.raises(api.InvalidArgument):
        numbers("state:LOST")
    pages = list(client.list_secret_versions(request={"parent": secret.name, "page_size": 3}).pages)
    assert [(len(page.versions), page.total_size) for page in pages] == [(3, 4), (1, 4)]


# IAM


def test_a_policy_is_kept_and_guarded_by_its_etag(client: SecretManagerServiceClient, secret: Secret) -> None:
    empty = client.get_iam_policy(request={"resource": secret.name})
    assert not empty.bindings
    binding = {"role": "roles/secretmanager.secretAccessor", "members": ["user:a@example.com"]}
    kept = client.set_iam_policy(
        request={"resource": secret.name, "policy": {"bindings": [binding], "etag": empty.etag}}
    )
    assert client.get_iam_policy(request={"resource": secret.name}) == kept
    assert kept.etag != empty.etag
    with pytest.raises(api.Aborted):
        client.set_iam_policy(request={"resource": secret.name, "policy": {"etag": empty.etag}})
    with pytest.raises(api.InvalidArgument):
        client.set_iam_policy(request={"resource": secret.name, "policy": {"bindings": [{"role": ""}]}})


def test_permissions_are_those_of_the_service(client: SecretManagerServiceClient, secret: Secret) -> None:
    asked = ["secretmanager.versions.access", "secretmanager.secrets.update"]
    answer = client.test_iam_permissions(request={"resource": secret.name, "permissions": asked})
    assert list(answer.permissions) == asked
    with pytest.raises(api.InvalidArgument):
        client.test_iam_permissions(request={"resource": secret.name, "permissions": ["storage.objects.get"]})
    with pytest.raises(api.NotFound):
        client.get_iam_policy(request={"resource": f"{PARENT}/secrets/absent"})
