"""Drift of Kubernetes Secrets: values, keys, labels and annotations."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import kubernetes.client
import pytest
from kubernetes.client.exceptions import ApiException

from keyturn.core.plan import Action
from keyturn.core.ports.stores import TAG_FINGERPRINT, TAG_MANAGED_BY, TAG_SOURCE
from keyturn.providers.kubernetes.marks import ANNOTATIONS
from local.emulators.kubernetes import Account, Emulator, Server
from tests.providers.kubernetes.test_store import api
from tests.sync.drift.suite import CHANGED, ERASED, STRIPPED, TAKEN, THEIRS, Act, DriftContract

pytestmark = pytest.mark.sampled(10, of="file")

NAMESPACE = "apps"


@dataclass
class Kubectl:
    """Somebody with kubectl."""

    client: Any

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A Secret, or other values for its keys."""
        if self.served(name) is not None:
            self._patch(name, {"stringData": fields})
        else:
            self.client.create_namespaced_secret(NAMESPACE, {"metadata": {"name": name}, "stringData": fields})

    def strip(self, name: str) -> None:
        """Remove every label and annotation of Keyturn's."""
        without = {"labels": {TAG_MANAGED_BY: None}, "annotations": dict.fromkeys(ANNOTATIONS)}
        self._patch(name, {"metadata": without})

    def unlabel(self, name: str) -> None:
        """Remove the label alone."""
        self._patch(name, {"metadata": {"labels": {TAG_MANAGED_BY: None}}})

    def strip_source(self, name: str) -> None:
        """Remove one annotation."""
        self._patch(name, {"metadata": {"annotations": {TAG_SOURCE: None}}})

    def strip_fingerprint(self, name: str) -> None:
        """Remove another one."""
        self._patch(name, {"metadata": {"annotations": {TAG_FINGERPRINT: None}}})

    def add_a_key(self, name: str) -> None:
        """Put another key beside those that are there."""
        self._patch(name, {"stringData": {"y": "2"}})

    def remove_a_key(self, name: str) -> None:
        """Remove a key."""
        self._patch(name, {"data": {"x": None}})

    def restore(self, name: str) -> None:
        """Delete it and make it again as it was, labels and annotations too, as backup tools do."""
        there = self.client.read_namespaced_secret(name, NAMESPACE)
        self.erase(name)
        beside = {"labels": there.metadata.labels, "annotations": there.metadata.annotations}
        body = {"metadata": {"name": name, **beside}, "data": there.data, "type": there.type}
        self.client.create_namespaced_secret(NAMESPACE, body, field_manager="velero")

    def make_anew(self, name: str) -> None:
        """Delete it and make one with another value and no marks."""
        self.erase(name)
        self.put(name, THEIRS)

    def erase(self, name: str) -> None:
        """Delete it."""
        self.client.delete_namespaced_secret(name, NAMESPACE)

    def served(self, name: str) -> Any:
        """What a pod finds."""
        try:
            data = self.client.read_namespaced_secret(name, NAMESPACE).data
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        return {key: base64.b64decode(text).decode() for key, text in (data or {}).items()}

    def _patch(self, name: str, change: dict[str, Any]) -> None:
        self.client.patch_namespaced_secret(name, NAMESPACE, change, field_manager="kubectl")


KEY_ADDED = Act("key-added", Kubectl.add_a_key)
KEY_REMOVED = Act("key-removed", Kubectl.remove_a_key)


@pytest.fixture(scope="module")
def cluster(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    accounts = (Account("keyturn", "keyturn's token"),)
    emulator = Emulator(tmp_path_factory.mktemp("cluster"), accounts, namespaces=(NAMESPACE,))
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


def settings_for(cluster: Server, pki: Path, tmp_path: Path) -> dict[str, Any]:
    """The store's entry, with Keyturn's own account."""
    token_file = tmp_path / "token"
    token_file.write_text("keyturn's token\n")
    signing_in = {"ca_file": str(pki / "ca.pem"), "token_file": str(token_file)}
    return {"kind": "kubernetes", "namespace": NAMESPACE, "server": cluster.url, **signing_in}


class TestKubernetes(DriftContract):
    acts: ClassVar[tuple[Act, ...]] = (
        CHANGED,
        STRIPPED,
        TAKEN,
        ERASED,
        Act("label-removed", Kubectl.unlabel),
        Act("source-removed", Kubectl.strip_source),
        Act("fingerprint-removed", Kubectl.strip_fingerprint, Action.UPDATE),
        KEY_ADDED,
        KEY_REMOVED,
        Act("made-anew", Kubectl.make_anew, Action.CONFLICT),
    )
    restores = (Kubectl.restore,)
    sync: ClassVar = {"separator": "-"}

    @pytest.fixture
    def settings(self, cluster: Server, pki: Path, tmp_path: Path) -> dict[str, Any]:
        return settings_for(cluster, pki, tmp_path)

    @pytest.fixture
    def hands(self, cluster: Server, pki: Path) -> Iterator[Kubectl]:
        with api(cluster, pki) as client:
            yield Kubectl(kubernetes.client.CoreV1Api(client))


class TestKubernetesBesideOthers(TestKubernetes):
    """Others' keys in the same Secret are no drift, and stay."""

    acts = (CHANGED, STRIPPED, TAKEN, ERASED, KEY_REMOVED, replace(KEY_ADDED, found=Action.IN_SYNC))

    @pytest.fixture
    def settings(self, cluster: Server, pki: Path, tmp_path: Path) -> dict[str, Any]:
        return settings_for(cluster, pki, tmp_path) | {"merge": True}
