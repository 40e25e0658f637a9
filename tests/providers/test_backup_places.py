"""Backups in S3, Azure Blob Storage, Google Cloud Storage and a directory, through the unmodified SDKs."""

import base64
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from azure.storage.blob import ContainerClient

from keyturn.catalogue.operator.backups import DirectoryPlaceSettings, S3PlaceSettings
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.backups import BackupPlace
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.backup_container import BackupContainer
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.gcp.backup_bucket import open_bucket
from keyturn.wiring.backups import open_place
from local.emulators.aws import LocalAws
from local.emulators.object_stores.azure import AzureBlobServer
from local.emulators.object_stores.gcs import GcsServer
from local.emulators.object_stores.state import ObjectState
from local.support.ports import free_port
from tests.contracts.backup_place import CHAIN, BackupPlaceContract
from tests.support.azurite import Azurite
from tests.support.sampling import deep

pytestmark = pytest.mark.sampled(3, of="file")

HOUR = timedelta(hours=1)
AZURITE_KEY = base64.b64encode(b"of no matter to anybody").decode()
REGION = "us-east-1"


@pytest.fixture
def bucket() -> str:
    """A new name."""
    return f"backups-{secrets.token_hex(4)}"


class TestDirectory(BackupPlaceContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> BackupPlace:
        return open_place(DirectoryPlaceSettings(kind="directory", directory=str(tmp_path / "backups")))

    def test_a_directory_that_others_may_write_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        place = BackupDirectory(tmp_path / "open")
        with pytest.raises(Invalid, match="others may write there"):
            place.put(f"{CHAIN}/00000000.manifest", b"content")
        with pytest.raises(Invalid, match="others may write there"):
            list(place.listed())
        with pytest.raises(Invalid, match="no name of an object"):
            place.get("../outside")


class TestS3(BackupPlaceContract):
    def made(self, aws: LocalAws, bucket: str, retain: str | None = None) -> BackupPlace:
        client = boto3.client("s3", region_name=REGION, endpoint_url=aws.endpoint_url)
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=retain is not None)
        client.close()
        settings = {"kind": "s3", "bucket": bucket, "prefix": "prod/", "region": REGION}
        return open_place(
            S3PlaceSettings.model_validate({**settings, "endpoint_url": aws.endpoint_url, "retain": retain})
        )

    @pytest.fixture
    def place(self, aws: LocalAws, bucket: str) -> BackupPlace:
        return self.made(aws, bucket)

    @pytest.fixture
    def locking(self, aws: LocalAws, bucket: str) -> BackupPlace:
        return self.made(aws, bucket, retain="1h")

    def test_a_bucket_that_is_not_there_is_named(self, aws: LocalAws) -> None:
        settings = {"kind": "s3", "bucket": "nowhere", "region": REGION, "endpoint_url": aws.endpoint_url}
        place = open_place(S3PlaceSettings.model_validate(settings))
        with pytest.raises(NotFound, match="s3://nowhere"):
            list(place.listed())


class TestAzureBlob(BackupPlaceContract):
    @pytest.fixture
    def state(self, bucket: str) -> ObjectState:
        return ObjectState({bucket: {}})

    @pytest.fixture
    def client(self, state: ObjectState, bucket: str) -> Iterator[ContainerClient]:
        key = {"account_name": "backups", "account_key": base64.b64encode(b"of no matter").decode()}
        with AzureBlobServer(state) as server:
            url = f"{server.url}/backups"
            transport = azure.open_transport(url, {})
            with ContainerClient(url, bucket, credential=key, transport=transport, **azure.SDK_SETTINGS) as client:
                yield client

    @pytest.fixture
    def place(self, client: ContainerClient) -> BackupPlace:
        return BackupContainer(client, "prod/")

    @pytest.fixture
    def locking(self, client: ContainerClient) -> BackupPlace:
        return BackupContainer(client, "prod/", retain=HOUR, mode="unlocked")

    def test_a_container_that_is_not_there_is_named(self, place: BackupPlace, state: ObjectState) -> None:
        state.buckets.clear()
        for look in (lambda: place.find("x"), lambda: list(place.listed()), lambda: place.put("x", b"")):
            with pytest.raises(NotFound, match="backups"):
                look()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Microsoft's own emulator, at its address with the account `backups`."""
    with Azurite(tmp_path_factory.mktemp("azurite"), free_port(), "backups", AZURITE_KEY) as server:
        yield server.url


@pytest.mark.skipif(not deep(), reason="half a gigabyte is fetched for it: make test-deep does that")
class TestAzurite(BackupPlaceContract):
    """It knows no immutability, so nothing is locked."""

    @pytest.fixture
    def client(self, azurite: str, bucket: str) -> Iterator[ContainerClient]:
        key = {"account_name": "backups", "account_key": AZURITE_KEY}
        transport = azure.open_transport(azurite, {})
        with ContainerClient(azurite, bucket, credential=key, transport=transport, **azure.SDK_SETTINGS) as client:
            yield client

    @pytest.fixture
    def place(self, client: ContainerClient) -> BackupPlace:
        client.create_container()
        return BackupContainer(client, "prod/")

    def test_a_container_that_is_not_there_is_named(self, client: ContainerClient) -> None:
        place = BackupContainer(client, "prod/")
        for look in (lambda: place.find("x"), lambda: list(place.listed()), lambda: place.put("x", b"")):
            with pytest.raises(NotFound, match="backups"):
                look()


class TestGcs(BackupPlaceContract):
    @pytest.fixture
    def server(self, bucket: str) -> Iterator[GcsServer]:
        with GcsServer(ObjectState({bucket: {}})) as server:
            yield server

    def made(self, server: GcsServer, retain: timedelta | None = None) -> BackupPlace:
        (name,) = server.emulator.buckets
        return open_bucket(name, "prod/", endpoint=f"127.0.0.1:{server.port}", retain=retain)

    @pytest.fixture
    def place(self, server: GcsServer) -> BackupPlace:
        return self.made(server)

    @pytest.fixture
    def locking(self, server: GcsServer) -> BackupPlace:
        return self.made(server, HOUR)

    def test_what_is_wrong_is_told_in_our_words(
        self, server: GcsServer, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.emulator.buckets.clear()
        with pytest.raises(NotFound, match="gs://"):
            list(place.listed())
        server.stop()
        with pytest.raises(Unavailable, match="not answer"):
            list(place.listed())
        with pytest.raises(Invalid, match="loopback"):
            open_bucket("x", "", endpoint="storage.example.com:80")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
        with pytest.raises(Denied, match="no application default credentials"):
            open_bucket("x", "")
