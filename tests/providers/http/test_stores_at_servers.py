"""Recipes of stores against the real servers that they are for: etcd, Podman and Prefect."""

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from keyturn.catalogue.recipes.expand import store_settings
from keyturn.catalogue.recipes.library import StoreLibrary
from keyturn.catalogue.stores.http import HttpStoreSettings
from keyturn.core.errors import Unavailable
from keyturn.core.ports.rest import Answer
from keyturn.core.ports.stores import Store
from keyturn.providers.http.store import HttpStore
from keyturn.providers.http.store_calls import StoreCalls
from keyturn.wiring.registry import open_store
from local.debian import release
from local.programs import find_program
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process
from tests.contracts.store import Raw, StoreContract
from tests.support import prefect_server
from tests.support.etcd import Etcd
from tests.support.programs import seeming_root

pytestmark = [pytest.mark.slow, pytest.mark.sampled(6, of="file")]

LIBRARY = StoreLibrary()
FOLDER = "apps/contract"


class StoreAtServer(StoreContract):
    kind = "http-store"
    past_versions = 0
    page_size = 12
    recipe = ""

    @pytest.fixture
    def parameters(self) -> dict[str, Any]:
        raise NotImplementedError

    @pytest.fixture
    def login(self) -> str:
        return "unused"

    @pytest.fixture(autouse=True)
    def opened(self, parameters: dict[str, Any], login: str, tmp_path: Path) -> HttpStoreSettings:
        (tmp_path / "login").write_text(login)
        found = store_settings(LIBRARY[self.recipe], parameters)
        data = {**found, "recipe": self.recipe, "token_file": str(tmp_path / "login")}
        self._settings = HttpStoreSettings.model_validate(data)
        return self._settings

    @property
    def settings(self) -> HttpStoreSettings:
        return self._settings

    @pytest.fixture
    def store(self, opened: HttpStoreSettings) -> Iterator[Store]:
        with closing(open_store("copies", opened)) as store:
            yield store

    @pytest.fixture
    def remote(self) -> str:
        return f"contract-{secrets.token_hex(6)}"

    @pytest.fixture
    def tampered(self, foreign: Raw) -> Raw:
        return foreign


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as serving:
        yield serving


class TestEtcd(StoreAtServer):
    recipe = "etcd"
    hides_past = True

    @pytest.fixture
    def parameters(self, etcd: Etcd) -> dict[str, Any]:
        return {"url": etcd.url, "folder": f"{FOLDER}/{secrets.token_hex(4)}"}

    @pytest.fixture
    def login(self, etcd: Etcd) -> str:
        return json.dumps({name: etcd.admin[name].reveal() for name in ("username", "password")})

    @pytest.fixture
    def foreign(self, etcd: Etcd, parameters: dict[str, Any]) -> Raw:
        def put(name: str, value: str) -> None:
            key = f"{parameters['folder']}/copies/{name}".encode()
            token = etcd.token(etcd.admin)
            encoded = {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value.encode()).decode()}
            etcd.ask("kv/put", token or "", **encoded)

        return put


class Podman:
    """Podman's service on loopback, whose files are under ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = Process("podman", directory)
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"

    def __enter__(self) -> "Podman":
        podman = find_program("podman")
        places = [f"--root={self._directory / 'root'}", f"--runroot={self._directory / 'run'}", "--storage-driver=vfs"]
        # As another user it would need setuid programs, to map many users; one is enough for secrets.
        service = ["system", "service", "--time=0", f"tcp:{LOOPBACK}:{self._port}"]
        command = [*seeming_root(), str(podman.path), *places, *service]
        environment = {**os.environ, **podman.environment, "HOME": str(self._directory)}
        usr = (podman.root or Path("/")) / "usr"
        (settings := self._directory / "containers.conf").write_text(
            f"[engine]\nconmon_path = ['{usr}/bin/conmon']\nhelper_binaries_dir = ['{usr}/lib/podman']\n"
            # Other locks are in memory that all of Podman's processes share.
            f"lock_type = 'file'\nruntime = 'crun'\n[engine.runtimes]\ncrun = ['{usr}/bin/crun']\n"
        )
        environment["CONTAINERS_CONF"] = str(settings)
        self._process.start(command, ready=self._answers, environment=environment, cwd=self._directory)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/_ping", timeout=5).ok
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with Podman(tmp_path_factory.mktemp("podman")) as serving:
        yield serving


@pytest.mark.skipif("bookworm" in release(), reason="Podman 4 of Debian 12 shows no value of a secret")
class TestPodman(StoreAtServer):
    recipe = "podman-secrets"

    @pytest.fixture
    def parameters(self, podman: Podman) -> Iterator[dict[str, Any]]:
        yield {"url": podman.url}
        for secret in requests.get(f"{podman.url}/v5.0.0/libpod/secrets/json", timeout=30).json():
            requests.delete(f"{podman.url}/v5.0.0/libpod/secrets/{secret['ID']}", timeout=30)

    @pytest.fixture
    def foreign(self, podman: Podman) -> Raw:
        def put(name: str, value: str) -> None:
            requests.post(
                f"{podman.url}/v5.0.0/libpod/secrets/create",
                params={"name": name, "replace": "true"},
                data=value.encode(),
                headers={"content-type": "application/octet-stream"},
                timeout=30,
            ).raise_for_status()

        return put


def patient(calls: StoreCalls) -> Callable[..., Answer]:
    """The store's calls, again where the server answers 503: its SQLite is locked now and then, as pushes find, too."""

    def ask(*arguments: Any) -> Answer:
        for _ in range(20):
            try:
                return StoreCalls.ask(calls, *arguments)
            except Unavailable:
                time.sleep(0.2)
        return StoreCalls.ask(calls, *arguments)

    return ask


def patient_session() -> requests.Session:
    """The same for a test's own requests."""
    session = requests.Session()
    retry = Retry(total=20, backoff_factor=0.1, backoff_max=0.5, status_forcelist=[503], allowed_methods=None)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


class TestPrefect(StoreAtServer):
    recipe = "prefect-secret-blocks"
    ours, theirs = "ours", "theirs"
    http = patient_session()

    @pytest.fixture
    def store(self, opened: HttpStoreSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        with closing(open_store("copies", opened)) as store:
            assert isinstance(store, HttpStore)
            monkeypatch.setattr(store._calls, "ask", patient(store._calls))
            yield store

    @pytest.fixture
    def login(self) -> str:
        return json.dumps({"authorization": "Bearer unused"})

    @pytest.fixture
    def api(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
        return prefect_server.shared(request.config, tmp_path_factory).url

    @pytest.fixture
    def parameters(self, api: str) -> Iterator[dict[str, Any]]:
        self.http.post(f"{api}/block_types/install_system_block_types", timeout=60).raise_for_status()
        kind = self.http.get(f"{api}/block_types/slug/secret", timeout=30).json()["id"]
        asked = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        schema = self.http.post(f"{api}/block_schemas/filter", json=asked, timeout=30).json()[0]["id"]
        yield {"url": api, "block_type": kind, "block_schema": schema}
        for block in self._blocks(api):
            self.http.delete(f"{api}/block_documents/{block['id']}", timeout=30)

    def _blocks(self, api: str) -> Any:
        return self.http.get(f"{api}/block_types/slug/secret/block_documents", timeout=30).json()

    @pytest.fixture
    def foreign(self, api: str, parameters: dict[str, Any]) -> Raw:
        def put(name: str, value: str) -> None:
            data = {"data": {"value": value}}
            if there := [block["id"] for block in self._blocks(api) if block["name"] == name]:
                self.http.patch(f"{api}/block_documents/{there[0]}", json=data, timeout=30).raise_for_status()
            else:
                ids = {"block_type_id": parameters["block_type"], "block_schema_id": parameters["block_schema"]}
                made = {"name": name, **ids, **data}
                self.http.post(f"{api}/block_documents/", json=made, timeout=30).raise_for_status()

        return put
