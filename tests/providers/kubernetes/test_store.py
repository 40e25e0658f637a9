"""Kubernetes Secrets: the store contract, against a local API server or a real cluster.

``KEYTURN_TEST_KUBERNETES_NAMESPACE`` names a namespace to use by the kubeconfig file, or by the pod's own account.
"""

import base64
import json
import logging
import os
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest
import trustme
import yaml
from pytest_httpserver import HTTPServer

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Throttled, Unavailable, UnsupportedOperation
from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import Detail, Details, RemoteSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.store_limits import KUBERNETES
from keyturn.core.text.details import KUBECTL_APPLIED, SHOWN
from keyturn.providers.kubernetes.client import APPLY, MERGE, Doing, Namespace
from keyturn.providers.kubernetes.cluster import settings_for
from keyturn.providers.kubernetes.store import Kubernetes
from local.emulators.kubernetes import Account, Emulator, Server, rules
from local.emulators.kubernetes.messages import Answer, Request
from local.support.ports import free_port
from tests.contracts.merging import MergingCases, Owner
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put

pytestmark = pytest.mark.sampled(9, of="file")

NAMESPACE = "apps"
CLUSTER_NAMESPACE = os.environ.get("KEYTURN_TEST_KUBERNETES_NAMESPACE", "")

ALL = ("get", "list", "create", "patch", "delete")
ACCOUNTS = (
    Account("keyturn", "keyturn's token"),
    Account("reader", "reader's token", rules(secrets=("get", "list"))),
    Account("writer", "writer's token", rules(secrets=ALL)),
)

Open = Callable[..., Kubernetes]


class Heard(Emulator):
    """Keeps what it answered."""

    said = ""

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        self.said += answer.content().decode()
        return answer


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def as_fields(**fields: Any) -> Sensitive:
    """The text that the flows push for a secret with these fields."""
    return payload(SecretFields(fields))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate for loopback, its key, the authority that signed it, and another one."""
    where = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(where / "ca.pem")
    trustme.CA().cert_pem.write_to_path(where / "other-ca.pem")
    issued.private_key_pem.write_to_path(where / "key.pem")
    issued.cert_chain_pems[0].write_to_path(where / "cert.pem")
    return where


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(pki: Path, data: Path) -> Iterator[Server]:
    emulator = Emulator(data, ACCOUNTS, namespaces=(NAMESPACE,))
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


@pytest.fixture
def opened(cluster: Server, pki: Path, tmp_path: Path) -> Iterator[Open]:
    """Opens stores at the cluster, as ``user``, and closes them."""
    stores: list[Kubernetes] = []

    def open_one(user: str = "keyturn", **settings: Any) -> Kubernetes:
        token = tmp_path / f"{user}.token"
        token.write_text(f"{user}'s token\n")
        given = {
            "namespace": NAMESPACE,
            "server": cluster.url,
            "ca_file": str(pki / "ca.pem"),
            "token_file": str(token),
        }
        stores.append(Kubernetes("k8s", **{**given, **settings}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@contextmanager
def api(cluster: Server, pki: Path) -> Iterator[Any]:
    settings = kubernetes.client.Configuration(host=cluster.url, ssl_ca_cert=str(pki / "ca.pem"))
    settings.api_key["BearerToken"] = "Bearer keyturn's token"
    client: Any = kubernetes.client.ApiClient(settings)
    yield client
    client.close()


class KubernetesContract(StoreContract):
    """What is the same against either server; ``raw`` is the official client, that knows nothing of Keyturn."""

    kind = KUBERNETES
    page_size = 500
    past_versions = 0
    namespace = NAMESPACE

    @pytest.fixture
    def takes(self) -> frozenset[Detail]:
        """What changes like everywhere: a Secret's type never does, and has tests of its own."""
        return SHOWN[KUBERNETES]

    @pytest.fixture
    def foreign(self, raw: Any) -> Raw:
        def create(name: str, value: str) -> None:
            raw.create_namespaced_secret(self.namespace, {"metadata": {"name": name}, "stringData": {"value": value}})

        return create

    @pytest.fixture
    def tampered(self, raw: Any) -> Raw:
        return lambda name, value: raw.patch_namespaced_secret(name, self.namespace, {"stringData": {"value": value}})


@pytest.mark.skipif(not CLUSTER_NAMESPACE, reason="KEYTURN_TEST_KUBERNETES_NAMESPACE is not set")
class TestKubernetesInACluster(KubernetesContract):
    namespace = CLUSTER_NAMESPACE

    @pytest.fixture
    def raw(self) -> Iterator[Any]:
        settings = kubernetes.client.Configuration()
        kubernetes.config.load_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        client: Any = kubernetes.client.ApiClient(settings)
        yield kubernetes.client.CoreV1Api(client)
        client.close()

    @pytest.fixture
    def store(self) -> Iterator[Kubernetes]:
        store = Kubernetes("k8s", namespace=CLUSTER_NAMESPACE)
        yield store
        store.close()

    @pytest.fixture
    def remote(self, raw: Any) -> Iterator[str]:
        remote = f"keyturn-test-{secrets.token_hex(6)}"
        yield remote
        for found in raw.list_namespaced_secret(CLUSTER_NAMESPACE).items:
            if found.metadata.name.startswith(remote):
                raw.delete_namespaced_secret(found.metadata.name, CLUSTER_NAMESPACE)


class LocalContract(KubernetesContract):
    @pytest.fixture
    def raw(self, cluster: Server, pki: Path) -> Iterator[Any]:
        with api(cluster, pki) as client:
            yield kubernetes.client.CoreV1Api(client)


class TestKubernetesBesideOthers(LocalContract):
    """The contract holds as well where others' keys stay."""

    @pytest.fixture
    def store(self, opened: Open) -> Kubernetes:
        return opened(merge=True)


class TestKubernetes(MergingCases, LocalContract):
    """The contract, and what only Kubernetes has."""

    @pytest.fixture
    def store(self, opened: Open) -> Kubernetes:
        return opened()

    keeps_versions = False

    @pytest.fixture
    def owner(self, raw: Any) -> Owner:
        def act(name: str, changes: Mapping[str, str | None]) -> None:
            encoded = {key: base64.b64encode(text.encode()).decode() if text else None for key, text in changes.items()}
            try:
                raw.patch_namespaced_secret(name, NAMESPACE, {"data": encoded})
            except kubernetes.client.ApiException:
                raw.create_namespaced_secret(NAMESPACE, {"metadata": {"name": name}, "data": encoded})

        return act

    # data

    def test_fields_become_keys_and_come_back_as_the_same_text(self, store: Kubernetes, raw: Any, remote: str) -> None:
        value = as_fields(username="ada", password="p", port=5432, tls=True, hosts=["a", "b"], note="5", none=None)
        put(store, remote, value)
        told = raw.read_namespaced_secret(remote, NAMESPACE)
        assert {key: base64.b64decode(text).decode() for key, text in told.data.items()} == {
            "username": "ada",
            "password": "p",
            "port": "5432",
            "tls": "true",
            "hosts": '["a","b"]',
            "note": "5",
            "none": "null",
        }
        assert told.type == "Opaque"
        assert store.read(remote) == value

    @pytest.mark.parametrize(
        "text", ['{"a": "b"}', "{}", '{"b":"1","a":"2"}', '["a"]', '{"a":"1","a":"1"}', '{"a":"1"']
    )
    def test_other_json_is_kept_whole(self, store: Kubernetes, raw: Any, remote: str, text: str) -> None:
        put(store, remote, Sensitive(text))
        assert raw.read_namespaced_secret(remote, NAMESPACE).data == {"value": encoded(text)}
        assert store.read(remote) == Sensitive(text)

    def test_a_field_called_value_is_told_from_a_text(self, store: Kubernetes, remote: str) -> None:
        put(store, remote, as_fields(value="x"))
        assert store.read(remote) == as_fields(value="x")
        put(store, remote, Sensitive("x"), version=2)
        assert store.read(remote) == Sensitive("x")

    @pytest.mark.parametrize("key", ["a b", "", "ä", ".", "..", "..data", "a/b", "k" * 254])
    def test_an_illegal_key_is_invalid_before_anything_is_written(
        self, store: Kubernetes, remote: str, key: str
    ) -> None:
        value = as_fields(**{key: "x", "fine": fresh_value().reveal()})
        with pytest.raises(Invalid, match="key") as caught:
            store.write(remote, value, marks_for(value), None)
        assert json.loads(value.reveal())["fine"] not in str(caught.value)
        assert store.describe(remote) is None

    def test_the_type_follows_from_the_keys(self, store: Kubernetes, raw: Any, remote: str) -> None:
        kinds = {
            "kubernetes.io/tls": as_fields(**{"tls.crt": "c", "tls.key": "k"}),
            "kubernetes.io/dockerconfigjson": as_fields(**{".dockerconfigjson": {"auths": {}}}),
            "Opaque": as_fields(**{"tls.crt": "c", "tls.key": "k", "more": "m"}),
        }
        kinds_with_ca = {"kubernetes.io/tls": as_fields(**{"tls.crt": "c", "tls.key": "k", "ca.crt": "a"})}
        for version, (kind, value) in enumerate([*kinds.items(), *kinds_with_ca.items()], 1):
            put(store, remote, value, version)
            assert raw.read_namespaced_secret(remote, NAMESPACE).type == kind
            assert store.read(remote) == value

    def test_another_type_keeps_what_others_wrote_beside_it(self, store: Kubernetes, raw: Any, remote: str) -> None:
        first = put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"labels": {"team": "payments"}}})
        value = as_fields(**{"tls.crt": "c", "tls.key": "k"})
        second = put(store, remote, value, version=2)
        assert raw.read_namespaced_secret(remote, NAMESPACE).metadata.labels["team"] == "payments"
        assert second.version_id.partition("/")[0] != first.version_id.partition("/")[0]
        assert second == store.describe(remote)

    @pytest.mark.parametrize(
        ("kind", "fields", "lacking"),
        [
            ("kubernetes.io/ssh-auth", {"ssh-privatekey": "k", "known_hosts": "h"}, "ssh-privatekey"),
            ("kubernetes.io/basic-auth", {"username": "u", "password": "p"}, "username and password"),
            ("kubernetes.io/tls", {"tls.crt": "c", "tls.key": "k", "more": "m"}, "tls.crt and tls.key"),
            ("Opaque", {"tls.crt": "c", "tls.key": "k"}, ""),
        ],
    )
    def test_a_type_that_is_asked_for_is_made_and_stays(
        self, store: Kubernetes, raw: Any, remote: str, kind: str, fields: dict[str, str], lacking: str
    ) -> None:
        value, asked = as_fields(**fields), Details(content_type=kind)
        written = put(store, remote, value, details=asked)
        assert raw.read_namespaced_secret(remote, NAMESPACE).type == kind
        assert (written, written.details) == (found(store, remote), asked)
        put(store, remote, as_fields(**{**fields, "extra": "x"}), version=2)
        assert raw.read_namespaced_secret(remote, NAMESPACE).type == kind
        if lacking:
            with pytest.raises(Invalid, match=f"a Secret of the type {kind} needs {lacking}"):
                put(store, f"{remote}-2", as_fields(other="o"), details=asked)
            assert store.describe(f"{remote}-2") is None

    def test_a_copy_of_another_type_is_told_and_never_deleted(self, store: Kubernetes, raw: Any, remote: str) -> None:
        value, asked = as_fields(username="u", password="p"), Details(content_type="kubernetes.io/basic-auth")
        before = put(store, remote, value)
        with pytest.raises(UnsupportedOperation):
            store.relabel(remote, marks_for(value), asked, before)
        with pytest.raises(Invalid, match=f"the type Opaque, not kubernetes.io/basic-auth.*delete secret {remote}"):
            put(store, remote, value, details=asked)
        assert found(store, remote) == before
        raw.delete_namespaced_secret(remote, NAMESPACE)
        assert put(store, remote, value, details=asked).details == asked

    def test_what_could_not_be_created_again_is_not_deleted(self, store: Kubernetes, remote: str) -> None:
        old = fresh_value()
        put(store, remote, old)
        value = as_fields(**{".dockerconfigjson": "no JSON"})
        with pytest.raises(Invalid):
            put(store, remote, value, version=2)
        assert store.read(remote) == old

    def test_an_immutable_secret_is_invalid_to_change(self, store: Kubernetes, raw: Any, remote: str) -> None:
        put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"immutable": True})
        with pytest.raises(Invalid):
            put(store, remote, fresh_value(), version=2)

    def test_binary_data_is_refused_by_read(self, store: Kubernetes, raw: Any, remote: str) -> None:
        body = {"metadata": {"name": remote}, "data": {"value": base64.b64encode(b"\xff\x00").decode()}}
        raw.create_namespaced_secret(NAMESPACE, body)
        with pytest.raises(Invalid, match="binary"):
            store.read(remote)

    # changes by others

    def test_no_value_travels_back_but_to_read(self, opened: Open, pki: Path, tmp_path: Path, remote: str) -> None:
        emulator = Heard(tmp_path / "heard", ACCOUNTS)
        with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
            store = opened(server=server.url, namespace="default")
            value = fresh_value()
            put(store, remote, value)
            put(store, remote, value, version=2)
            assert list(store.list_managed()) == list(store.list_all()) == [store.describe(remote)]
            assert encoded(value.reveal()) not in emulator.said
            store.read(remote)
            assert encoded(value.reveal()) in emulator.said

    def test_an_edit_of_metadata_is_no_change_of_the_value(self, store: Kubernetes, raw: Any, remote: str) -> None:
        written = put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"annotations": {"note": "n"}}})
        assert store.describe(remote) == written
        assert written in list(store.list_managed())

    def test_a_foreign_key_is_drift_that_a_write_removes(self, store: Kubernetes, raw: Any, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "t"}})
        assert not found(store, remote).intact
        assert not any(copy.name == remote and copy.intact for copy in store.list_managed())
        assert put(store, remote, value).intact
        assert raw.read_namespaced_secret(remote, NAMESPACE).data.keys() == {"value"}

    def test_a_removed_key_is_drift_that_a_write_mends(self, store: Kubernetes, raw: Any, remote: str) -> None:
        value = as_fields(a="1", b="2")
        put(store, remote, value)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"data": {"a": None}}, _content_type=MERGE)
        assert not found(store, remote).intact
        assert put(store, remote, value).intact
        assert store.read(remote) == value

    def test_a_value_that_others_set_back_becomes_ours_again(
        self, store: Kubernetes, remote: str, tampered: Raw
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        tampered(remote, "other")
        tampered(remote, value.reveal())
        assert not found(store, remote).intact
        assert put(store, remote, value).intact
        assert found(store, remote).intact

    def test_what_others_apply_as_string_data_shows_and_is_mended(
        self, store: Kubernetes, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        pause_to_another_second()
        body = {"apiVersion": "v1", "kind": "Secret", "stringData": {"value": "other"}}
        raw.patch_namespaced_secret(remote, NAMESPACE, body, _content_type=APPLY, field_manager="gitops", force=True)
        assert store.read(remote) == Sensitive("other")
        assert not found(store, remote).intact
        pause_to_another_second()
        assert put(store, remote, value).intact
        assert found(store, remote).intact
        assert store.read(remote) == value

    def test_a_book_of_fields_that_was_cleared_is_written_again(self, store: Kubernetes, raw: Any, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"managedFields": [{}]}}, _content_type=MERGE)
        assert not found(store, remote).intact
        assert put(store, remote, value).intact
        assert found(store, remote).intact

    def test_a_secret_adopted_with_the_same_value_is_ours_afterwards(
        self, store: Kubernetes, remote: str, foreign: Raw
    ) -> None:
        value = fresh_value()
        foreign(remote, value.reveal())
        assert put(store, remote, value).intact
        assert found(store, remote) == RemoteSecret(remote, found(store, remote).version_id, marks_for(value))

    def test_a_secret_adopted_loses_the_keys_that_it_had(self, store: Kubernetes, raw: Any, remote: str) -> None:
        raw.create_namespaced_secret(NAMESPACE, {"metadata": {"name": remote}, "stringData": {"old": "o", "b": "x"}})
        value = as_fields(a="1", b="2")
        put(store, remote, value)
        assert raw.read_namespaced_secret(remote, NAMESPACE).data == {"a": encoded("1"), "b": encoded("2")}

    def test_a_secret_that_waits_for_its_finalizer_is_not_intact(
        self, store: Kubernetes, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"finalizers": ["example.com/hold"]}})
        store.delete(remote)
        assert not found(store, remote).intact
        assert all(copy.name != remote for copy in store.list_all())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"finalizers": None}}, _content_type=MERGE)
        assert store.describe(remote) is None

    # somebody was faster

    def test_writing_what_has_changed_since_it_was_found_is_a_conflict(
        self, store: Kubernetes, remote: str, tampered: Raw
    ) -> None:
        put(store, remote, fresh_value())
        before = store.describe(remote)
        tampered(remote, "other")
        value = fresh_value()
        with pytest.raises(Conflict) as caught:
            store.write(remote, value, marks_for(value, 2), before)
        assert_silent(caught.value, value, store, remote)

    def test_creating_over_somebody_elses_secret_is_a_conflict(
        self, store: Kubernetes, remote: str, foreign: Raw
    ) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        with pytest.raises(Conflict) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    def test_two_runs_that_create_the_same_version_agree(self, store: Kubernetes, remote: str) -> None:
        value = fresh_value()
        marks = marks_for(value)
        assert store.write(remote, value, marks, None) == store.write(remote, value, marks, None)

    def test_a_copy_from_a_listing_is_looked_at_again(self, store: Kubernetes, raw: Any, remote: str) -> None:
        put(store, remote, fresh_value())
        listed = next(copy for copy in store.list_managed() if copy.name == remote)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"annotations": {"note": "n"}}})
        value = fresh_value()
        assert store.write(remote, value, marks_for(value, 2), listed).intact
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"labels": {"keyturn-managed-by": "them"}}})
        with pytest.raises(Conflict, match="marks"):
            store.write(remote, value, marks_for(value, 3), listed)

    # details

    def test_labels_and_annotations_change_and_those_of_others_stay(
        self, store: Kubernetes, raw: Any, remote: str
    ) -> None:
        theirs = {"labels": {"theirs": "1", "team": "theirs"}, "annotations": {"team": "Theirs", "x": "y"}}
        apply(raw, remote, stringData={"value": "theirs"})
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": theirs})
        value = fresh_value()
        put(store, remote, value, details=Details({"team": "pay", "cost": "7"}, {"note": "A b", "owner": "Zoë"}))
        before = found(store, remote)
        data = raw.read_namespaced_secret(remote, NAMESPACE).data
        second = Details({"cost": "8"}, {"owner": "Ann", "reloader.example.com/match": "true"})
        marks = replace(marks_for(value), tags=second.names)
        labelled = store.relabel(remote, marks, second, before)
        listed = next(copy for copy in store.list_managed() if copy.name == remote)
        assert labelled == found(store, remote) == listed == RemoteSecret(remote, before.version_id, marks)
        shown = Details({"theirs": "1", "cost": "8"}, {"team": "Theirs", "x": "y", **second.annotations})
        assert [copy.details for copy in (labelled, found(store, remote), listed)] == [shown] * 3
        assert raw.read_namespaced_secret(remote, NAMESPACE).data == data
        store.relabel(remote, marks_for(value), Details(), listed)
        assert raw.read_namespaced_secret(remote, NAMESPACE).metadata.labels == {
            "theirs": "1",
            "keyturn-managed-by": "keyturn",
        }
        assert found(store, remote) == RemoteSecret(remote, before.version_id, marks_for(value))

    def test_what_has_changed_since_it_was_found_is_not_relabelled(
        self, store: Kubernetes, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        listed = next(copy for copy in store.list_managed() if copy.name == remote)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"value": "theirs"}})
        marks, details = replace(marks_for(value), tags=("team",)), Details({"team": "pay"})
        for copy, error in (
            (written, Conflict),
            (listed, Conflict),
            (found(store, remote), UnsupportedOperation),
        ):
            with pytest.raises(error):
                store.relabel(remote, marks, details, copy)
        assert not found(store, remote).intact
        assert "team" not in raw.read_namespaced_secret(remote, NAMESPACE).metadata.labels

    # what is not ours to manage

    def test_what_the_cluster_keeps_for_itself_is_not_listed(self, store: Kubernetes, raw: Any, remote: str) -> None:
        raw.create_namespaced_secret(
            NAMESPACE, {"metadata": {"name": remote}, "type": "helm.sh/release.v1", "stringData": {"release": "r"}}
        )
        assert all(copy.name != remote for copy in store.list_all())

    # errors

    def test_a_missing_permission_names_the_verb(self, opened: Open, remote: str) -> None:
        value = fresh_value()
        reader = opened("reader")
        with pytest.raises(Denied, match="verb create on secrets in namespace apps") as caught:
            put(reader, remote, value)
        assert_silent(caught.value, value, reader, remote)
        put(opened(), remote, value)
        with pytest.raises(Denied, match="verb patch on secrets"):
            put(reader, remote, fresh_value(), version=2)
        with pytest.raises(Denied, match="verb delete on secrets"):
            reader.delete(remote)
        assert reader.read(remote) == value

    def test_a_refused_token_is_denied_and_the_file_is_read_again(
        self, opened: Open, tmp_path: Path, remote: str
    ) -> None:
        store = opened()
        (tmp_path / "keyturn.token").write_text("old")
        with pytest.raises(Denied, match="token_file"):
            store.describe(remote)
        (tmp_path / "keyturn.token").write_text("keyturn's token")
        assert store.describe(remote) is None
        (tmp_path / "keyturn.token").unlink()
        with pytest.raises(Denied, match="token_file"):
            store.describe(remote)

    def test_an_absent_namespace_is_not_found(self, opened: Open, remote: str) -> None:
        store = opened(namespace="nowhere")
        assert list(store.list_managed()) == []
        with pytest.raises(NotFound, match="nowhere"):
            put(store, remote, fresh_value())

    def test_an_untrusted_certificate_is_denied(self, opened: Open, pki: Path, remote: str) -> None:
        with pytest.raises(Denied, match="certificate"):
            opened(ca_file=str(pki / "other-ca.pem")).describe(remote)

    def test_a_server_out_of_reach_is_unavailable(self, opened: Open, remote: str) -> None:
        with pytest.raises(Unavailable):
            opened(server=f"https://localhost:{free_port()}").describe(remote)

    def test_a_connection_that_breaks_off_is_unavailable(self, opened: Open, remote: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            hanging_up = threading.Thread(target=lambda: listener.accept()[0].close())
            hanging_up.start()
            with pytest.raises(Unavailable):
                opened(server=f"https://localhost:{listener.getsockname()[1]}").describe(remote)
            hanging_up.join()

    @pytest.mark.parametrize("status", [200, 408, 410, 500, 503, 504])
    def test_an_answer_that_is_no_use_is_unavailable_and_stays_unsaid(
        self, opened: Open, pki: Path, remote: str, status: int
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "cert.pem", pki / "key.pem")
        value = fresh_value()
        with HTTPServer("localhost", ssl_context=context) as gateway:
            gateway.expect_request(re.compile("")).respond_with_data(f"<p>{value.reveal()}</p>", status)
            store = opened(server=gateway.url_for("/"))
            with pytest.raises(Unavailable) as caught:
                store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    def test_a_server_that_asks_for_a_slower_pace_throttles(
        self, opened: Open, pki: Path, tmp_path: Path, remote: str
    ) -> None:
        emulator = Emulator(tmp_path / "slow", ACCOUNTS, requests_per_10s=1, clock=lambda: 0)
        with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
            store = opened(server=server.url, namespace="default")
            store.describe(remote)
            with pytest.raises(Throttled) as caught:
                store.describe(remote)
        assert caught.value.retry_after == 1

    def test_data_outlives_a_restart_of_the_server(self, opened: Open, pki: Path, tmp_path: Path, remote: str) -> None:
        first = Server(Emulator(tmp_path / "kept", ACCOUNTS), pki / "cert.pem", pki / "key.pem")
        store = opened(server=first.url, namespace="default")
        value = fresh_value()
        written = put(store, remote, value)
        first.stop()
        with pytest.raises(Unavailable):
            store.describe(remote)
        with Server(Emulator(tmp_path / "kept", ACCOUNTS), pki / "cert.pem", pki / "key.pem", first.port):
            assert store.describe(remote) == written
            assert store.read(remote) == value

    # opening

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"token_file": None}, "token_file"),
            ({"server": None}, "go with server"),
            ({"context": "c"}, "exclude"),
            ({"ca_file": "/absent"}, "ca_file"),
            ({"ca_file": __file__}, "ca_file"),
            ({"server": "http://localhost:1"}, "TLS"),
            ({"server": None, "ca_file": None, "token_file": None, "kubeconfig": "/absent"}, "kubeconfig"),
        ],
    )
    def test_settings_that_can_not_work_are_invalid(self, opened: Open, settings: dict[str, Any], problem: str) -> None:
        with pytest.raises(Invalid, match=problem):
            opened(**settings)

    def test_a_kubeconfig_names_the_cluster_and_the_user(
        self, opened: Open, cluster: Server, pki: Path, tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = kubeconfig(tmp_path / "config", cluster, pki)
        value = fresh_value()
        alone: dict[str, Any] = {"server": None, "ca_file": None, "token_file": None}
        put(opened(**alone, kubeconfig=str(path)), remote, value)
        with pytest.raises(Denied, match="token_file"):
            opened(**alone, kubeconfig=str(path), context="stale").describe(remote)
        monkeypatch.setenv("KUBECONFIG", str(path))
        assert opened(**alone).read(remote) == value

    def test_a_kubeconfig_may_name_a_program_that_signs_in(
        self, opened: Open, cluster: Server, pki: Path, tmp_path: Path, remote: str
    ) -> None:
        credential: dict[str, Any] = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
        answer = tmp_path / "credential.json"
        answer.write_text(json.dumps(credential | {"status": {"token": "keyturn's token"}}))
        program = {"apiVersion": credential["apiVersion"], "command": "cat", "args": [str(answer)]}
        path = kubeconfig(tmp_path / "config", cluster, pki, user={"exec": {**program, "interactiveMode": "Never"}})
        store = opened(server=None, ca_file=None, token_file=None, kubeconfig=str(path))
        assert store.describe(remote) is None

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
    @pytest.mark.attack
    def test_a_name_that_resolves_to_another_path_is_not_sent(
        self, cluster: Server, pki: Path, tmp_path: Path, name: str
    ) -> None:
        token = tmp_path / "token"
        token.write_text("keyturn's token")
        settings = settings_for(
            "k8s", server=cluster.url, ca_file=str(pki / "ca.pem"), token_file=str(token), kubeconfig=None, context=None
        )
        with closing(Namespace("default", settings)) as namespace, pytest.raises(Invalid, match="Check the name"):
            namespace.call(Doing("remove", "k8s:it", "delete"), name)

    def test_a_proxy_of_the_environment_is_asked_unless_it_says_otherwise(
        self, opened: Open, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("no_proxy", "NO_PROXY", "https_proxy"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(Unavailable):
            opened().describe(remote)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        assert opened().describe(remote) is None

    def test_a_kubeconfig_that_skips_verification_is_invalid(
        self, opened: Open, cluster: Server, pki: Path, tmp_path: Path
    ) -> None:
        path = kubeconfig(tmp_path / "config", cluster, pki, **{"insecure-skip-tls-verify": True})
        with pytest.raises(Invalid, match="TLS"):
            opened(server=None, ca_file=None, token_file=None, kubeconfig=str(path))

    # leaks

    def test_no_value_is_logged_even_at_debug(
        self, opened: Open, remote: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        value = fresh_value()
        store = opened()
        put(store, remote, value)
        put(store, remote, value, version=2)
        store.read(remote)
        assert remote in caplog.text
        for text in (value.reveal(), encoded(value.reveal()), "keyturn's token"):
            assert text not in caplog.text
        assert value.reveal() not in repr(store.describe(remote))


def apply(raw: Any, remote: str, **manifest: Any) -> None:
    """What ``kubectl apply`` does the first time: create, with a note of all that it was given."""
    given = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": remote}, **manifest}
    note = {"annotations": {KUBECTL_APPLIED: json.dumps(given)}}
    raw.create_namespaced_secret(NAMESPACE, {**given, "metadata": {**given["metadata"], **note}})


class TestWhatKubectlNoted:
    """Kubernetes keeps no old versions, but ``kubectl apply`` writes values into an annotation."""

    @pytest.fixture
    def store(self, opened: Open) -> Kubernetes:
        return opened()

    @pytest.fixture
    def remote(self) -> str:
        return f"keyturn-test-{secrets.token_hex(6)}"

    @pytest.fixture
    def raw(self, cluster: Server, pki: Path) -> Iterator[Any]:
        with api(cluster, pki) as client:
            yield kubernetes.client.CoreV1Api(client)

    @pytest.mark.parametrize(
        "given",
        [{"stringData": {"port": "5432", "password": "old"}}, {"data": {"port": "NTQzMg==", "password": "b2xk"}}],
    )
    def test_it_is_past_once_the_data_has_changed_and_forgetting_removes_the_note_alone(
        self, store: Kubernetes, raw: Any, remote: str, given: dict[str, Any]
    ) -> None:
        apply(raw, remote, **given)
        assert store.old_versions(remote) == {}
        assert store.purge_old_versions(remote) == ()
        assert KUBECTL_APPLIED in raw.read_namespaced_secret(remote, NAMESPACE).metadata.annotations
        value = as_fields(port=5432, password="new")
        written = put(store, remote, value)
        assert store.old_versions(remote) == {"last applied by kubectl": as_fields(port=5432, password="old")}
        assert store.purge_old_versions(remote) == ()
        assert store.old_versions(remote) == {}
        assert KUBECTL_APPLIED not in raw.read_namespaced_secret(remote, NAMESPACE).metadata.annotations
        assert store.describe(remote) == written
        assert store.read(remote) == value

    def test_one_key_called_value_may_have_been_a_text(self, store: Kubernetes, raw: Any, remote: str) -> None:
        apply(raw, remote, stringData={"value": "old"})
        put(store, remote, fresh_value())
        assert set(store.old_versions(remote).values()) == {Sensitive("old"), as_fields(value="old")}

    def test_a_note_that_is_no_text_is_not_read_and_yet_removed(self, store: Kubernetes, raw: Any, remote: str) -> None:
        apply(raw, remote, data={"keystore": base64.b64encode(b"\xff\xfe").decode()})
        put(store, remote, fresh_value())
        assert store.old_versions(remote) == {}
        assert store.purge_old_versions(remote) == ()
        assert KUBECTL_APPLIED not in raw.read_namespaced_secret(remote, NAMESPACE).metadata.annotations

    @pytest.mark.parametrize("note", ["", "null", "[1]", "{", '{"data": 7}', '{"stringData": {"a": null}}'])
    def test_what_is_no_note_of_kubectls_is_left_alone(
        self, store: Kubernetes, raw: Any, remote: str, note: str
    ) -> None:
        written = put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"annotations": {KUBECTL_APPLIED: note}}})
        assert store.old_versions(remote) == {}
        assert store.purge_old_versions(remote) == ()
        assert raw.read_namespaced_secret(remote, NAMESPACE).metadata.annotations[KUBECTL_APPLIED] == note
        assert store.describe(remote) == written

    def test_with_merge_a_note_of_others_keys_is_theirs_and_ours_goes_with_erasing(
        self, opened: Open, raw: Any, remote: str
    ) -> None:
        store = opened(merge=True)
        apply(raw, remote, stringData={"theirs": "t"})
        put(store, remote, as_fields(a="1"))
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "u"}})
        assert store.old_versions(remote) == {}
        assert store.purge_old_versions(remote) == ()
        note = json.dumps({"stringData": {"theirs": "t", "a": "1"}})
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"annotations": {KUBECTL_APPLIED: note}}})
        assert store.old_versions(remote) == {}
        assert store.purge(remote) == ()
        left = raw.read_namespaced_secret(remote, NAMESPACE)
        assert left.data == {"theirs": encoded("u")}
        assert not left.metadata.annotations

    def test_what_finalizers_keep_is_said(self, store: Kubernetes, raw: Any, remote: str) -> None:
        put(store, remote, fresh_value())
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"finalizers": ["example.com/backup"]}})
        assert store.purge(remote) == ("it is served until its finalizers are removed: example.com/backup",)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"finalizers": None}})
        assert store.purge(remote) == ()
        assert store.describe(remote) is None


class TestSharedSecrets:
    """With ``merge``: others' keys stay."""

    @pytest.fixture
    def store(self, opened: Open) -> Kubernetes:
        return opened(merge=True)

    @pytest.fixture
    def remote(self) -> str:
        return f"keyturn-test-{secrets.token_hex(6)}"

    @pytest.fixture
    def raw(self, cluster: Server, pki: Path) -> Iterator[Any]:
        with api(cluster, pki) as client:
            yield kubernetes.client.CoreV1Api(client)

    def test_foreign_keys_stay_and_are_no_drift(self, store: Kubernetes, raw: Any, remote: str) -> None:
        raw.create_namespaced_secret(NAMESPACE, {"metadata": {"name": remote}, "stringData": {"theirs": "t", "a": "0"}})
        value = as_fields(a="1", b="2")
        written = put(store, remote, value)
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "u"}})
        assert found(store, remote) == written
        assert store.read(remote) == value
        put(store, remote, as_fields(a="3"), version=2)
        assert raw.read_namespaced_secret(remote, NAMESPACE).data == {"a": encoded("3"), "theirs": encoded("u")}

    def test_deleting_takes_our_keys_and_marks_alone(self, store: Kubernetes, raw: Any, remote: str) -> None:
        put(store, remote, as_fields(a="1"), details=Details({"team": "pay"}, {"note": "A b"}))
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "t"}})
        store.delete(remote)
        left = raw.read_namespaced_secret(remote, NAMESPACE)
        assert left.data == {"theirs": encoded("t")}
        assert not left.metadata.labels
        assert not left.metadata.annotations
        assert found(store, remote).marks is None

    def test_deleting_leaves_foreign_keys_although_nobody_kept_book(
        self, store: Kubernetes, raw: Any, remote: str
    ) -> None:
        put(store, remote, as_fields(a="1"))
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "t"}})
        raw.patch_namespaced_secret(remote, NAMESPACE, {"metadata": {"managedFields": [{}]}}, _content_type=MERGE)
        store.delete(remote)
        assert raw.read_namespaced_secret(remote, NAMESPACE).data == {"theirs": encoded("t")}

    def test_another_type_keeps_foreign_keys(self, store: Kubernetes, raw: Any, remote: str) -> None:
        put(store, remote, as_fields(**{"tls.crt": "c", "tls.key": "k"}))
        raw.patch_namespaced_secret(remote, NAMESPACE, {"stringData": {"theirs": "t"}})
        value = as_fields(a="1")
        assert put(store, remote, value, version=2).intact
        told = raw.read_namespaced_secret(remote, NAMESPACE)
        assert told.data == {"a": encoded("1"), "theirs": encoded("t")}
        assert told.type == "Opaque"

    def test_the_type_of_somebody_elses_secret_stays(self, store: Kubernetes, raw: Any, remote: str) -> None:
        theirs = {"tls.crt": "c", "tls.key": "k"}
        raw.create_namespaced_secret(
            NAMESPACE, {"metadata": {"name": remote}, "stringData": theirs, "type": "kubernetes.io/tls"}
        )
        assert put(store, remote, as_fields(a="1")).intact
        assert raw.read_namespaced_secret(remote, NAMESPACE).type == "kubernetes.io/tls"


def found(store: Kubernetes, remote: str) -> RemoteSecret:
    there = store.describe(remote)
    assert there is not None
    return there


def pause_to_another_second() -> None:
    """The API server's times are in whole seconds."""
    time.sleep(1.1)


def kubeconfig(path: Path, cluster: Server, pki: Path, user: Any = None, **more: Any) -> Path:
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "good",
        "clusters": [
            {"name": "local", "cluster": {"server": cluster.url, "certificate-authority": str(pki / "ca.pem"), **more}}
        ],
        "users": [
            {"name": "good", "user": user or {"token": "keyturn's token"}},
            {"name": "stale", "user": {"token": "no more"}},
        ],
        "contexts": [{"name": name, "context": {"cluster": "local", "user": name}} for name in ("good", "stale")],
    }
    path.write_text(yaml.safe_dump(told))
    return path
