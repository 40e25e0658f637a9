"""The local API server answers and refuses as Kubernetes is documented, through the official client."""

import base64
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest
import trustme
import urllib3
import yaml
from kubernetes.client.exceptions import ApiException

from local.emulators.kubernetes import Account, Emulator, Server, rules, rules_of
from local.emulators.kubernetes.__main__ import accounts, arguments
from local.support.ports import free_port
from tests.support.issuers import Issuer

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "deployments/policies/kubernetes-role.yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ACCOUNTS = (
    Account("admin", "admin's token"),
    Account("reader", "reader's token", rules(secrets=("get", "list"))),
)
Api = kubernetes.client.CoreV1Api


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str = "s", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"a": encoded("1")}, **more}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(where / "ca.pem")
    issued.private_key_pem.write_to_path(where / "key.pem")
    issued.cert_chain_pems[0].write_to_path(where / "cert.pem")
    return where


@pytest.fixture
def server(pki: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(Emulator(tmp_path / "data", ACCOUNTS), pki / "cert.pem", pki / "key.pem") as server:
        yield server


def client(url: str, pki: Path, token: str = "admin's token") -> kubernetes.client.ApiClient:
    settings = kubernetes.client.Configuration(host=url, ssl_ca_cert=str(pki / "ca.pem"))
    settings.api_key["BearerToken"] = f"Bearer {token}"
    return kubernetes.client.ApiClient(settings)


@pytest.fixture
def core(server: Server, pki: Path) -> Iterator[Api]:
    with client(server.url, pki) as signed_in:
        yield Api(signed_in)


@pytest.fixture
def apps(server: Server, pki: Path) -> Iterator[kubernetes.client.AppsV1Api]:
    with client(server.url, pki) as signed_in:
        yield kubernetes.client.AppsV1Api(signed_in)


def refused(status: int, reason: str, call: Any, *given: Any, **more: Any) -> dict[str, Any]:
    """The Status object that the call is refused with."""
    with pytest.raises(ApiException) as caught:
        call(*given, **more)
    told: dict[str, Any] = json.loads(caught.value.body or "")
    assert (caught.value.status, told["kind"], told["code"], told["reason"]) == (status, "Status", status, reason)
    return told


def managers(told: Any) -> dict[tuple[str, str], set[str]]:
    """Which keys of the data each manager has."""
    return {
        (entry.manager, entry.operation): {key.removeprefix("f:") for key in entry.fields_v1.get("f:data", {})} - {"."}
        for entry in told.metadata.managed_fields
    }


# access


def test_a_call_without_a_known_token_is_unauthorized(server: Server, pki: Path) -> None:
    with client(server.url, pki, "wrong") as stranger:
        refused(401, "Unauthorized", Api(stranger).list_namespaced_secret, "default")


def test_a_reader_reads_and_can_not_write(server: Server, pki: Path, core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    with client(server.url, pki, "reader's token") as signed_in:
        reader = Api(signed_in)
        assert reader.read_namespaced_secret("s", "default").data == {"a": encoded("1")}
        assert len(reader.list_namespaced_secret("default").items) == 1
        told = refused(403, "Forbidden", reader.create_namespaced_secret, "default", secret("t"))
        assert 'User "reader" cannot create resource "secrets"' in told["message"]
        refused(403, "Forbidden", reader.patch_namespaced_secret, "s", "default", {})
        refused(403, "Forbidden", reader.replace_namespaced_secret, "s", "default", secret())
        refused(403, "Forbidden", reader.delete_namespaced_secret, "s", "default")
        refused(403, "Forbidden", kubernetes.client.AppsV1Api(signed_in).list_namespaced_deployment, "default")


def test_what_is_not_served_is_not_found(core: Any) -> None:
    refused(404, "NotFound", core.list_namespaced_config_map, "default")
    refused(405, "MethodNotAllowed", core.delete_collection_namespaced_secret, "default")


# secrets


def test_a_secret_is_created_with_what_the_server_adds(core: Any) -> None:
    made = core.create_namespaced_secret("default", {"metadata": {"generateName": "s-"}, "stringData": {"b": "2"}})
    assert made.metadata.name.startswith("s-")
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    assert (made.type, made.data, made.string_data) == ("Opaque", {"b": encoded("2")}, None)
    assert core.read_namespaced_secret(made.metadata.name, "default") == made


def test_string_data_wins_over_data(core: Any) -> None:
    assert core.create_namespaced_secret("default", secret(stringData={"a": "2"})).data == {"a": encoded("2")}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        pytest.param(secret(data={"a": "no base64!"}), 400, "BadRequest", id="base64"),
        pytest.param(secret(data={"a b": ""}), 422, "Invalid", id="key"),
        pytest.param(secret(data={"..a": ""}), 422, "Invalid", id="dotted key"),
        pytest.param(secret("Not_A_Name"), 422, "Invalid", id="name"),
        pytest.param({"metadata": {}}, 422, "Invalid", id="no name"),
        pytest.param(secret(stringData={"b": "x" * (1 << 20)}), 422, "Invalid", id="1 MiB"),
        pytest.param(secret(stringData={"b": "x" * (3 << 20)}), 413, "RequestEntityTooLarge", id="3 MiB"),
        pytest.param(secret(type="kubernetes.io/tls"), 422, "Invalid", id="tls"),
        pytest.param(
            secret(type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "{"}),
            422,
            "Invalid",
            id="docker",
        ),
        pytest.param(secret(kind="ConfigMap"), 400, "BadRequest", id="kind"),
        pytest.param({"metadata": {"name": "s", "resourceVersion": "5"}}, 400, "BadRequest", id="version"),
        pytest.param({"metadata": {"name": "s", "labels": {"a": "b c"}}}, 422, "Invalid", id="label"),
        pytest.param(
            {"metadata": {"name": "s", "annotations": {"a": "x" * (1 << 18)}}}, 422, "Invalid", id="annotations"
        ),
    ],
)
def test_what_is_no_secret_is_refused(core: Any, body: dict[str, Any], status: int, reason: str) -> None:
    refused(status, reason, core.create_namespaced_secret, "default", body)
    assert core.list_namespaced_secret("default").items == []


def test_a_secret_of_exactly_1_mib_is_taken(core: Any) -> None:
    core.create_namespaced_secret("default", {"metadata": {"name": "s"}, "stringData": {"a": "x" * (1 << 20)}})


def test_the_same_name_twice_already_exists(core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    refused(409, "AlreadyExists", core.create_namespaced_secret, "default", secret())


def test_an_absent_namespace_takes_nothing_and_lists_nothing(core: Any) -> None:
    assert refused(404, "NotFound", core.create_namespaced_secret, "none", secret())["details"]["kind"] == "namespaces"
    assert core.list_namespaced_secret("none").items == []


def test_a_dry_run_changes_nothing(core: Any) -> None:
    core.create_namespaced_secret("default", secret(), dry_run="All")
    refused(404, "NotFound", core.read_namespaced_secret, "s", "default")


def test_replacing_another_version_is_a_conflict(core: Any) -> None:
    first = core.create_namespaced_secret("default", secret())
    first.data = {"b": encoded("2")}
    second = core.replace_namespaced_secret("s", "default", first)
    assert second.data == {"b": encoded("2")}
    assert second.metadata.uid == first.metadata.uid
    refused(409, "Conflict", core.replace_namespaced_secret, "s", "default", first)
    refused(404, "NotFound", core.replace_namespaced_secret, "t", "default", secret("t"))


def test_a_change_that_changes_nothing_keeps_the_version(core: Any) -> None:
    first = core.create_namespaced_secret("default", secret())
    assert core.replace_namespaced_secret("s", "default", first) == first
    assert core.patch_namespaced_secret("s", "default", {"data": {"a": encoded("1")}}) == first


def test_a_merge_patch_sets_and_removes(core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    patch = {"metadata": {"labels": {"l": "v"}}, "data": {"a": None, "b": encoded("2")}}
    told = core.patch_namespaced_secret("s", "default", patch, _content_type=MERGE)
    assert (told.data, told.metadata.labels) == ({"b": encoded("2")}, {"l": "v"})


def test_a_patch_of_another_version_is_a_conflict(core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"a": encoded("2")}}
    refused(409, "Conflict", core.patch_namespaced_secret, "s", "default", stale, _content_type=MERGE)
    refused(404, "NotFound", core.patch_namespaced_secret, "t", "default", stale, _content_type=MERGE)


def test_a_patch_of_an_unknown_format_is_refused(core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    patch = [{"op": "remove", "path": "/data/a"}]
    refused(415, "UnsupportedMediaType", core.patch_namespaced_secret, "s", "default", patch)


def test_the_type_and_an_immutable_secret_can_not_change(core: Any) -> None:
    core.create_namespaced_secret("default", secret(immutable=True))
    refused(422, "Invalid", core.patch_namespaced_secret, "s", "default", {"stringData": {"a": "2"}})
    refused(422, "Invalid", core.patch_namespaced_secret, "s", "default", {"immutable": False})
    told = refused(422, "Invalid", core.patch_namespaced_secret, "s", "default", {"type": "other"})
    assert told["details"]["causes"][0]["field"] == "type"


def test_deleting_asks_for_what_was_meant(core: Any) -> None:
    made = core.create_namespaced_secret("default", secret())
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        refused(409, "Conflict", core.delete_namespaced_secret, "s", "default", body={"preconditions": wrong})
    exactly = {"uid": made.metadata.uid, "resourceVersion": made.metadata.resource_version}
    core.delete_namespaced_secret("s", "default", body={"preconditions": exactly})
    refused(404, "NotFound", core.delete_namespaced_secret, "s", "default")


def test_finalizers_keep_a_deleted_secret_until_they_are_gone(core: Any) -> None:
    core.create_namespaced_secret("default", {"metadata": {"name": "s", "finalizers": ["example.com/hold"]}})
    core.delete_namespaced_secret("s", "default")
    assert core.read_namespaced_secret("s", "default").metadata.deletion_timestamp
    core.patch_namespaced_secret("s", "default", {"metadata": {"finalizers": None}}, _content_type=MERGE)
    refused(404, "NotFound", core.read_namespaced_secret, "s", "default")


# listing


def test_a_listing_goes_on_page_after_page(core: Any) -> None:
    for number in range(5):
        core.create_namespaced_secret("default", secret(f"s{number}"))
    names, token = [], None
    while True:
        page = core.list_namespaced_secret("default", limit=2, **({"_continue": token} if token else {}))
        assert len(page.items) <= 2
        names += [item.metadata.name for item in page.items]
        if not (token := page.metadata._continue):
            break
    assert names == [f"s{number}" for number in range(5)]
    refused(400, "BadRequest", core.list_namespaced_secret, "default", _continue="nonsense")


def test_selectors_choose(core: Any) -> None:
    for name, labels in (("a", {"l": "1"}), ("b", {"l": "2"}), ("c", {})):
        core.create_namespaced_secret("default", {"metadata": {"name": name, "labels": labels}})
    core.create_namespaced_secret("default", secret("d", type="helm.sh/release.v1"))

    def names(**selector: str) -> str:
        return "".join(item.metadata.name for item in core.list_namespaced_secret("default", **selector).items)

    assert names(label_selector="l=1") == "a"
    assert names(label_selector="l!=1") == "bcd"
    assert names(label_selector="l") == "ab"
    assert names(label_selector="!l") == "cd"
    assert names(label_selector="l in (1, 2),l notin (2)") == "a"
    assert names(field_selector="type!=helm.sh/release.v1,metadata.name!=a") == "bc"
    refused(400, "BadRequest", core.list_namespaced_secret, "default", field_selector="data.a=1")
    refused(400, "BadRequest", core.list_namespaced_secret, "default", label_selector="l ~ 1")


def test_metadata_alone_is_given_where_it_is_asked_for(server: Server, pki: Path, core: Any) -> None:
    core.create_namespaced_secret("default", secret())
    address = f"{server.url}/api/v1/namespaces/default/secrets"
    with urllib3.PoolManager(ca_certs=str(pki / "ca.pem")) as pool:
        for path, kind in (("/s", "PartialObjectMetadata"), ("", "PartialObjectMetadataList")):
            accept = f"application/json;as={kind};g=meta.k8s.io;v=v1"
            headers = {"Authorization": "Bearer admin's token", "Accept": accept}
            told = pool.request("GET", address + path, headers=headers).json()
            assert told["kind"] == kind
            assert all("data" not in one and one["metadata"]["uid"] for one in told.get("items", [told]))
        headers["Accept"] = "text/html"
        assert pool.request("GET", address, headers=headers).status == 406


# who set what


def test_who_changes_a_key_takes_it(core: Any) -> None:
    core.create_namespaced_secret("default", secret(stringData={"b": "2"}), field_manager="one")
    told = core.patch_namespaced_secret("s", "default", {"stringData": {"b": "3", "c": "4"}}, field_manager="two")
    assert managers(told) == {("one", "Update"): {"a"}, ("two", "Update"): {"b", "c"}}
    told = core.patch_namespaced_secret("s", "default", {"stringData": {"a": "1"}}, field_manager="two")
    assert managers(told)["one", "Update"] == {"a"}, "setting a key to the value that it has takes nothing"
    told = core.patch_namespaced_secret("s", "default", {"data": {"b": None}}, _content_type=MERGE)
    assert managers(told) == {("one", "Update"): {"a"}, ("two", "Update"): {"c"}}


def test_a_client_without_a_manager_goes_by_its_own_name(core: Any) -> None:
    assert managers(core.create_namespaced_secret("default", secret())) == {("OpenAPI-Generator", "Update"): {"a"}}


def applied(core: Any, data: dict[str, str], manager: str, **more: Any) -> Any:
    body = {"apiVersion": "v1", "kind": "Secret", "data": {key: encoded(text) for key, text in data.items()}}
    return core.patch_namespaced_secret("s", "default", body, field_manager=manager, _content_type=APPLY, **more)


def test_applying_creates_shares_conflicts_and_forces(core: Any) -> None:
    assert managers(applied(core, {"a": "1", "b": "2"}, "one")) == {("one", "Apply"): {"a", "b"}}
    assert managers(applied(core, {"a": "1"}, "two")) == {("one", "Apply"): {"a", "b"}, ("two", "Apply"): {"a"}}
    with pytest.raises(ApiException) as caught:
        applied(core, {"b": "3"}, "two")
    cause = json.loads(caught.value.body or "")["details"]["causes"][0]
    assert (caught.value.status, cause["reason"], cause["field"]) == (409, "FieldManagerConflict", ".data.b")
    told = applied(core, {"b": "3"}, "two", force=True)
    assert managers(told) == {("one", "Apply"): {"a"}, ("two", "Apply"): {"b"}}
    assert told.data == {"a": encoded("1"), "b": encoded("3")}


def test_what_is_applied_no_more_is_removed_unless_others_have_it(core: Any) -> None:
    applied(core, {"a": "1", "b": "2"}, "one")
    applied(core, {"b": "2"}, "two")
    assert applied(core, {"c": "3"}, "one").data == {"b": encoded("2"), "c": encoded("3")}


def test_applying_the_same_again_keeps_the_version(core: Any) -> None:
    assert applied(core, {"a": "1"}, "one") == applied(core, {"a": "1"}, "one")


def test_string_data_that_is_applied_takes_no_key_of_the_data(core: Any) -> None:
    core.create_namespaced_secret("default", secret(), field_manager="one")
    body = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "2"}}
    told = core.patch_namespaced_secret("s", "default", body, field_manager="two", _content_type=APPLY, force=True)
    assert told.data == {"a": encoded("2")}
    assert managers(told) == {("one", "Update"): {"a"}, ("two", "Apply"): set()}


def test_applying_needs_a_manager_and_the_kind(core: Any) -> None:
    patch = core.patch_namespaced_secret
    whole = {"apiVersion": "v1", "kind": "Secret"}
    refused(400, "BadRequest", patch, "s", "default", whole, _content_type=APPLY)
    refused(400, "BadRequest", patch, "s", "default", {}, field_manager="one", _content_type=APPLY)


# workloads


def deployment() -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": "i"}, {"name": "side", "image": "i"}]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}
    return {"metadata": {"name": "d"}, "spec": spec}


def test_a_changed_specification_is_another_generation(apps: Any) -> None:
    assert apps.create_namespaced_deployment("default", deployment()).metadata.generation == 1
    patch = {"spec": {"template": {"metadata": {"annotations": {"k": "v"}}}}}
    for content_type in (MERGE, STRATEGIC):
        told = apps.patch_namespaced_deployment("d", "default", patch, _content_type=content_type)
        assert told.metadata.generation == 2
        assert told.spec.template.metadata.annotations == {"k": "v"}
        assert [container.name for container in told.spec.template.spec.containers] == ["main", "side"]


def test_a_strategic_merge_joins_containers_by_name(apps: Any) -> None:
    apps.create_namespaced_deployment("default", deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "j"}]}}}}
    told = apps.patch_namespaced_deployment("d", "default", patch, _content_type=STRATEGIC)
    assert [container.image for container in told.spec.template.spec.containers] == ["i", "j"]


def test_a_selector_that_does_not_match_its_template_is_refused(apps: Any) -> None:
    body = deployment()
    body["spec"]["template"]["metadata"]["labels"] = {"a": "c"}
    refused(422, "Invalid", apps.create_namespaced_deployment, "default", body)


NEW = {"spec": {"template": {"metadata": {"annotations": {"k": "v"}}}}}


def test_a_rollout_is_finished_at_once_unless_it_is_held(server: Server, apps: Any) -> None:
    made = apps.create_namespaced_deployment("default", {**deployment(), "status": {"replicas": 7}})
    assert (made.spec.replicas, made.status.replicas, made.status.observed_generation) == (1, 1, 1)
    assert apps.patch_namespaced_deployment("d", "default", NEW).status.updated_replicas == 1
    server.emulator.controller.held.add("d")
    patch = {"spec": {"replicas": 3, "template": {"metadata": {"annotations": {"k": "w"}}}}}
    told = apps.patch_namespaced_deployment("d", "default", patch).status
    assert (told.replicas, told.updated_replicas, told.observed_generation) == (3, None, 3)
    assert {one.type: one.reason for one in told.conditions}["Progressing"] == "ReplicaSetUpdated"
    told = apps.patch_namespaced_deployment_status("d", "default", {"status": {"updatedReplicas": 2}, "spec": {}})
    assert (told.status.replicas, told.status.updated_replicas, told.spec.replicas) == (3, 2, 3)
    told = apps.patch_namespaced_deployment("d", "default", {"metadata": {"labels": {"l": "v"}}})
    assert (told.status.updated_replicas, told.metadata.generation) == (2, 3)


def test_pods_stay_as_they_are_where_the_specification_says_so(apps: Any) -> None:
    paused = deployment()
    paused["spec"]["replicas"] = 2
    apps.create_namespaced_deployment("default", paused)
    paused = {"spec": {**NEW["spec"], "paused": True}}
    assert apps.patch_namespaced_deployment("d", "default", paused).status.updated_replicas is None
    assert apps.patch_namespaced_deployment("d", "default", {"spec": {"paused": False}}).status.updated_replicas == 2
    parted = deployment()
    parted["spec"] |= {"serviceName": "d", "replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}
    apps.create_namespaced_stateful_set("default", parted)
    told = apps.patch_namespaced_stateful_set("d", "default", NEW).status
    assert (told.replicas, told.updated_replicas) == (3, 1)
    assert told.current_revision != told.update_revision
    by_hand = deployment()
    by_hand["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert apps.create_namespaced_daemon_set("default", by_hand).status.updated_number_scheduled == 2
    told = apps.patch_namespaced_daemon_set("d", "default", NEW).status
    assert (told.desired_number_scheduled, told.updated_number_scheduled) == (2, 0)


def test_a_status_is_read_and_written_apart(server: Server, pki: Path, apps: Any) -> None:
    apps.create_namespaced_deployment("default", deployment())
    assert apps.read_namespaced_deployment_status("d", "default").status.replicas == 1
    refused(404, "NotFound", apps.patch_namespaced_deployment_status, "e", "default", {})
    with client(server.url, pki, "reader's token") as signed_in:
        reader = kubernetes.client.AppsV1Api(signed_in)
        told = refused(403, "Forbidden", reader.patch_namespaced_deployment_status, "d", "default", {})
        assert 'cannot patch resource "deployments/status"' in told["message"]


# the process


def test_the_module_serves_until_sigterm_and_remembers(pki: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("admin's token")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "local.emulators.kubernetes",
        f"--port={port}",
        f"--cert={pki / 'cert.pem'}",
    ]
    command += [f"--key={pki / 'key.pem'}", f"--data={tmp_path / 'data'}", f"--token-file={tmp_path / 'token'}"]
    for there in ([], ["s"]):
        with subprocess.Popen([*command, "--namespace=apps"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready")
            with client(f"https://localhost:{port}", pki) as signed_in:
                core: Any = Api(signed_in)
                assert [item.metadata.name for item in core.list_namespaced_secret("apps").items] == there
                if not there:
                    core.create_namespaced_secret("apps", secret())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert (tmp_path / "data" / "cluster.sqlite").stat().st_mode & 0o077 == 0


def test_a_taken_port_is_told(pki: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "local.emulators.kubernetes", f"--port={taken.getsockname()[1]}"]
        command += [f"--cert={pki / 'cert.pem'}", f"--key={pki / 'key.pem'}", f"--data={tmp_path / 'data'}"]
        ended = subprocess.run(
            [*command, f"--token-file={tmp_path / 'token'}"], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 1
    assert "can't serve" in ended.stderr


def test_an_empty_token_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    given = [f"--{name}={tmp_path / name}" for name in ("cert", "key", "data")]
    with pytest.raises(SystemExit, match="must hold a token"):
        accounts(arguments(["--port=1", *given, f"--token-file={tmp_path / 'token'}"]))


# who may do what


NAMED: dict[str, Any] = {
    "metadata": {"name": "named", "namespace": "default"},
    "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "list"], "resourceNames": ["mine"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]},
    ],
}


@pytest.fixture
def named(pki: Path, tmp_path: Path) -> Iterator[tuple[Server, Any]]:
    emulator = Emulator(tmp_path / "data", ACCOUNTS, namespaces=("default", "other"))
    emulator.admit(Account("named", "named's token", rules_of(NAMED)))
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server, client(server.url, pki, "named's token") as own:
        yield server, own


def test_a_rule_with_names_is_about_these_alone_and_about_its_namespace(
    named: tuple[Server, Any],
) -> None:
    core: Any = Api(named[1])
    apps: Any = kubernetes.client.AppsV1Api(named[1])
    for name in ("mine", "theirs"):
        core.create_namespaced_secret("default", secret(name))
    assert core.read_namespaced_secret("mine", "default").metadata.name == "mine"
    assert [kind.metadata.name for kind in listed(core, field_selector="metadata.name=mine")] == ["mine"]
    assert apps.list_namespaced_deployment("default").items == []
    refused(403, "Forbidden", core.read_namespaced_secret, "theirs", "default")
    refused(403, "Forbidden", core.patch_namespaced_secret, "theirs", "default", {"data": {}})
    refused(403, "Forbidden", core.delete_namespaced_secret, "mine", "default")
    refused(403, "Forbidden", core.list_namespaced_secret, "default")
    refused(403, "Forbidden", core.list_namespaced_secret, "default", field_selector="metadata.name!=mine")
    refused(403, "Forbidden", core.read_namespaced_secret, "mine", "other")
    refused(403, "Forbidden", apps.list_namespaced_stateful_set, "default")


def listed(core: Any, **selector: str) -> list[Any]:
    return list(core.list_namespaced_secret("default", **selector).items)


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"verb": "get", "resource": "secrets", "name": "mine", "namespace": "default"}, True),
        ({"verb": "get", "resource": "secrets", "name": "theirs", "namespace": "default"}, False),
        ({"verb": "get", "resource": "secrets", "namespace": "default"}, False),
        ({"verb": "get", "resource": "secrets", "name": "mine", "namespace": "other"}, False),
        ({"verb": "list", "resource": "deployments", "group": "apps", "namespace": "default"}, True),
        ({"verb": "list", "resource": "deployments", "namespace": "default"}, False),
    ],
)
def test_whoever_asks_is_told_whether_they_may(named: tuple[Server, Any], asked: dict[str, str], allowed: bool) -> None:
    api: Any = kubernetes.client.AuthorizationV1Api(named[1])
    answer = api.create_self_subject_access_review({"spec": {"resourceAttributes": asked}})
    assert answer.status.allowed is allowed


def test_whoever_asks_is_told_their_rules_unless_another_authorizer_has_them(
    named: tuple[Server, Any],
) -> None:
    server, own = named
    api: Any = kubernetes.client.AuthorizationV1Api(own)
    ask = api.create_self_subject_rules_review
    status = ask({"spec": {"namespace": "default"}}).status
    rights = [rule for rule in status.resource_rules if rule.api_groups != ["authorization.k8s.io"]]
    assert not status.incomplete
    assert {(tuple(rule.verbs), tuple(rule.resource_names or ())) for rule in rights} == {
        (("get", "list", "patch"), ("mine",)),
        (("create",), ()),
        (("list",), ()),
    }
    assert len(ask({"spec": {"namespace": "other"}}).status.resource_rules) == 1
    server.emulator.tells_no_rules = True
    status = ask({"spec": {"namespace": "default"}}).status
    assert (status.incomplete, len(status.resource_rules)) == (True, 1)


# the policy


def test_the_role_has_what_the_adapter_calls_and_no_more() -> None:
    role, binding = yaml.safe_load_all(ROLE.read_text())
    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    secrets = {("secrets", verb) for verb in ("get", "list", "create", "patch", "delete")}
    workloads = {(kind, verb) for kind in ("deployments", "statefulsets", "daemonsets") for verb in ("list", "patch")}
    assert granted == secrets | workloads
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


# --- whose a token is --------------------------------------------------------------------------------------


def review(api: kubernetes.client.ApiClient, token: str, audiences: list[str] | None = None) -> Any:
    spec = kubernetes.client.V1TokenReviewSpec(token=token, audiences=audiences)
    body = kubernetes.client.V1TokenReview(spec=spec)
    return kubernetes.client.AuthenticationV1Api(api).create_token_review(body).status


def test_a_token_is_its_accounts_for_whom_it_is_for_and_until_it_ends(pki: Path, tmp_path: Path) -> None:
    cluster, user = Issuer("cluster"), "system:serviceaccount:ml:app"
    own, ended = cluster.token(user, ["hub"]), cluster.token(user, ["hub"], lives=-600)
    known = [*ACCOUNTS, Account(user, own, rules()), Account(user, ended, rules())]
    with Server(Emulator(tmp_path / "data", known), pki / "cert.pem", pki / "key.pem") as server:
        with client(server.url, pki) as api:
            status = review(api, own, ["hub", "other"])
            assert (status.authenticated, status.audiences) == (True, ["hub"])
            assert (status.user.username, bool(status.user.uid)) == (user, True)
            assert "system:serviceaccounts:ml" in status.user.groups
            for token, audiences in ((own, ["other"]), (own, None), (ended, ["hub"]), ("nobody's", ["hub"])):
                status = review(api, token, audiences)
                assert not status.authenticated
                assert status.user is None
                assert status.error
            refused(422, "Invalid", review, api, "")
        for token in (own, "reader's token"):
            with client(server.url, pki, token) as api:
                refused(403, "Forbidden", review, api, own, ["hub"])
