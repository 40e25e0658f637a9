"""Drift in Google Cloud Secret Manager, whose listing does not show what becomes of versions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from google.api_core import exceptions as api
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from keyturn.core.errors import Unavailable
from keyturn.core.plan import Action
from keyturn.core.ports.stores import TAG_FINGERPRINT, TAG_MANAGED_BY, TAG_VERSION
from keyturn.providers.gcp.store import GcpSecretManager
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from local.support.ports import free_port
from tests.deployments.emulators.test_gcp_secret_manager import connected, running
from tests.support.hooks import raising
from tests.sync.drift.site import Look, RealSite
from tests.sync.drift.suite import (
    CHANGED,
    ERASED,
    OURS,
    STRIPPED,
    TAKEN,
    Act,
    DriftContract,
    assert_in_step,
    said_of,
)

pytestmark = pytest.mark.sampled(9, of="file")

PROJECT = "keyturn-drift"


@dataclass
class Gcloud:
    """Somebody with gcloud."""

    client: SecretManagerServiceClient

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A new version; the secret too, where there is none."""
        data = json.dumps(fields, separators=(",", ":")).encode()
        try:
            self._add(name, data)
        except api.NotFound:
            secret: dict[str, Any] = {"replication": {"automatic": {}}}
            self.client.create_secret(
                request={"parent": f"projects/{PROJECT}", "secret_id": name, "secret": secret},
            )
            self._add(name, data)

    def strip(self, name: str) -> None:
        """Remove the label."""
        self._without(name, "labels", TAG_MANAGED_BY)

    def strip_version(self, name: str) -> None:
        """Remove one annotation."""
        self._without(name, "annotations", TAG_VERSION)

    def strip_fingerprint(self, name: str) -> None:
        """Remove another one."""
        self._without(name, "annotations", TAG_FINGERPRINT)

    def disable(self, name: str) -> None:
        """Disable the version that is served."""
        self.client.disable_secret_version(name=self._latest(name))

    def strip_and_disable(self, name: str) -> None:
        """Remove the label, and disable the version."""
        self.strip(name)
        self.disable(name)

    def disable_and_enable(self, name: str) -> None:
        """Disable the version that is served, and enable it again."""
        version = self._latest(name)
        self.client.disable_secret_version(name=version)
        self.client.enable_secret_version(name=version)

    def roll_back(self, name: str) -> None:
        """Add the value of the oldest version again that can be read."""
        versions = self.client.list_secret_versions(request={"parent": self._path(name), "filter": "state:ENABLED"})
        self._add(name, self.client.access_secret_version(name=list(versions)[-1].name).payload.data)

    def destroy(self, name: str) -> None:
        """Destroy the version that is served."""
        self.client.destroy_secret_version(name=self._latest(name))

    def erase(self, name: str) -> None:
        """Delete the secret with every version."""
        self.client.delete_secret(name=self._path(name))

    def served(self, name: str) -> Any:
        """What an application gets; None where the latest version is not enabled, or there is none."""
        try:
            told = self.client.access_secret_version(name=f"{self._path(name)}/versions/latest")
        except (api.NotFound, api.FailedPrecondition):
            return None
        return json.loads(told.payload.data)

    def versions(self, name: str) -> int:
        """How many there are."""
        return len(list(self.client.list_secret_versions(parent=self._path(name))))

    def _add(self, name: str, data: bytes) -> None:
        self.client.add_secret_version(request={"parent": self._path(name), "payload": {"data": data}})

    def _latest(self, name: str) -> str:
        return self.client.get_secret_version(name=f"{self._path(name)}/versions/latest").name

    def _path(self, name: str) -> str:
        return f"projects/{PROJECT}/secrets/{name}"

    def _without(self, name: str, part: str, key: str) -> None:
        held = dict(getattr(self.client.get_secret(name=self._path(name)), part))
        held.pop(key, None)  # a history may remove it twice
        secret = {"name": self._path(name), part: held}
        self.client.update_secret(request={"secret": secret, "update_mask": {"paths": [part]}})


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    with running(number, tmp_path_factory.mktemp("gcp"), "--largest-page", "25"):
        yield number


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[SecretManagerServiceClient]:
    with connected(port) as connection:
        yield connection


class TestGcpSecretManager(DriftContract):
    acts = (
        replace(CHANGED, listed=Action.IN_SYNC),
        STRIPPED,
        TAKEN,
        ERASED,
        Act("disabled", Gcloud.disable, listed=Action.IN_SYNC),
        Act("stripped-and-disabled", Gcloud.strip_and_disable, Action.CONFLICT),
        Act("destroyed", Gcloud.destroy, listed=Action.IN_SYNC),
        Act("version-annotation-removed", Gcloud.strip_version),
        Act("fingerprint-removed", Gcloud.strip_fingerprint, Action.UPDATE),
    )
    restores = (Gcloud.disable_and_enable, Gcloud.roll_back)
    sync: ClassVar = {"separator": "-"}

    @pytest.fixture
    def settings(self, port: int) -> dict[str, Any]:
        return {"kind": "gcp-secret-manager", "project": PROJECT, "endpoint": f"127.0.0.1:{port}"}

    @pytest.fixture
    def hands(self, client: SecretManagerServiceClient) -> Gcloud:
        return Gcloud(client)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("step", ["_add", "_update"])
    def test_a_creation_that_ended_between_its_calls_is_finished_with_one_version(
        self, site: RealSite, hands: Gcloud, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        path = site.write("a", **OURS)
        with monkeypatch.context() as ends:
            ends.setattr(GcpSecretManager, step, raising(Unavailable("write", "it", "the process is gone")))
            assert [one.kind for one in site.run()] == ["Unavailable"]
        assert said_of(site, path) == dict.fromkeys(Look, Action.DRIFTED)
        assert [one.error for one in site.run()] == [""]
        assert_in_step(site, hands, path)
        assert hands.versions(site.remote(path)) == 1

    def test_a_copy_that_a_run_finds_half_made_by_another_is_finished_with_one_version(
        self, site: RealSite, hands: Gcloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = site.write("a", **OURS)
        workspace = site.workspace
        planned = plan(workspace, unseen=True)
        with monkeypatch.context() as ends:
            ends.setattr(GcpSecretManager, "_add", raising(Unavailable("write", "it", "the process is gone")))
            site.run()
        assert planned.work[0].action is Action.CREATE
        assert [one.error for one in carry_out(workspace, planned, local_executor(Applier(workspace)))] == [""]
        assert_in_step(site, hands, path)
        assert hands.versions(site.remote(path)) == 1
