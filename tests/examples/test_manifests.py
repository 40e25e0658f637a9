"""The manifests are what Kubernetes and its operators take, by their published schemas, and what Keyturn takes."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import kubernetes.client.models as models
import pytest
import typer
import yaml

from keyturn.cli.app import app
from keyturn.core.sensitive import SecretFields
from keyturn.settings.hub import HubSettings
from tests.cli.command import run_keyturn
from tests.support.lab import Lab, fresh

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"
MANIFESTS = [
    (file.name, document) for file in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text())
]
MODELS: Final = {
    ("v1", "ServiceAccount"),
    ("v1", "Service"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
}

OPERATORS = "secrets.hashicorp.com/v1beta1"
CUSTOM: Final[Mapping[tuple[str, str], Mapping[str, set[str]]]] = {
    (OPERATORS, "VaultConnection"): {
        "": {"address", "skipTLSVerify", "caCertSecretRef", "caCertPath", "headers", "timeout", "tlsServerName"},
    },
    (OPERATORS, "VaultAuth"): {
        "": {"vaultConnectionRef", "method", "mount", "kubernetes", "namespace", "allowedNamespaces", "headers"},
        "kubernetes": {"role", "serviceAccount", "audiences", "tokenExpirationSeconds"},
    },
    (OPERATORS, "VaultStaticSecret"): {
        "": {
            *("vaultAuthRef", "type", "mount", "path", "version", "namespace", "refreshAfter", "hmacSecretData"),
            *("destination", "rolloutRestartTargets", "syncConfig"),
        },
        "destination": {"name", "create", "overwrite", "type", "labels", "annotations", "transformation"},
    },
    ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"): {"": {"provider", "parameters", "secretObjects"}},
}
"""The fields of a ``spec`` and of what is in it. Source: the CRDs of vault-secrets-operator 1.0 and of
secrets-store-csi-driver 1.5, against which the manifests were checked whole when they were written."""
NEEDED: Final = {
    "VaultConnection": {"address", "skipTLSVerify"},
    "VaultStaticSecret": {"destination", "mount", "path", "type"},
    "SecretProviderClass": {"provider", "parameters"},
}
INJECTED: Final = re.compile(
    r"vault\.hashicorp\.com/(agent-inject(-(secret|template|perms|command)-[a-z]+)?|role|tls-secret|ca-cert|"
    r"template-static-secret-render-interval|agent-share-process-namespace|agent-run-as-same-user)"
)
"""Source: "Vault Agent Injector annotations"."""


def wrong(value: Any, kind: str, where: str) -> Iterator[str]:
    """What Kubernetes does not know in a value of this kind, as its own client's models tell kinds."""
    if match := re.fullmatch(r"List\[(.*)\]", kind):
        for number, item in enumerate(value if isinstance(value, list) else [None]):
            yield from wrong(item, match[1], f"{where}[{number}]")
    elif match := re.fullmatch(r"Dict\[str, (.*)\]", kind):
        for name, item in value.items():
            yield from wrong(item, match[1], f"{where}.{name}")
    elif kind.startswith("V1") and isinstance(value, dict):
        yield from wrong_fields(value, getattr(models, kind), where)
    elif kind not in ("object", {str: "str", int: "int", bool: "bool", dict: "object"}.get(type(value))):
        yield f"{where}: {value!r} is no {kind}"


def wrong_fields(value: dict[str, Any], model: Any, where: str) -> Iterator[str]:
    kinds = {spelled: model.openapi_types[name] for name, spelled in model.attribute_map.items()}
    for name, item in value.items():
        if name in kinds:
            yield from wrong(item, kinds[name], f"{where}.{name}")
        else:
            yield f"{where}: there is no {name}"


def programs(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The containers of a workload that run Keyturn."""
    pod = document["spec"]["template"]["spec"]
    return (each for each in (*pod.get("initContainers", ()), *pod["containers"]) if "keyturn" in each["image"])


KEYTURN = [
    (name, each)
    for name, document in MANIFESTS
    if "template" in document.get("spec", {})
    for each in programs(document)
]


@pytest.mark.parametrize(
    ("name", "document"), [each for each in MANIFESTS if (each[1]["apiVersion"], each[1]["kind"]) in MODELS]
)
def test_what_kubernetes_has_itself_is_as_its_schema_says(name: str, document: dict[str, Any]) -> None:
    assert list(wrong(document, f"V1{document['kind']}", document["kind"])) == []


def test_a_field_that_kubernetes_does_not_know_is_seen() -> None:
    container = {"name": "x", "imagePull": "Always", "ports": [{"containerPort": "80"}]}
    pod = {"spec": {"containers": [container]}}
    assert list(wrong(pod, "V1Pod", "Pod")) == [
        "Pod.spec.containers[0]: there is no imagePull",
        "Pod.spec.containers[0].ports[0].containerPort: '80' is no int",
    ]


@pytest.mark.parametrize(
    ("name", "document"), [each for each in MANIFESTS if (each[1]["apiVersion"], each[1]["kind"]) not in MODELS]
)
def test_what_operators_take_is_as_their_definitions_say(name: str, document: dict[str, Any]) -> None:
    fields, spec = CUSTOM[document["apiVersion"], document["kind"]], document["spec"]
    unknown = {part: set(spec[part] if part else spec) - known for part, known in fields.items()}
    assert [names for names in unknown.values() if names] == []
    assert set(spec) >= NEEDED.get(document["kind"], set())


def test_the_injectors_annotations_are_those_that_it_documents() -> None:
    (document,) = [document for name, document in MANIFESTS if name == "agent-injector.yaml"]
    annotations = document["spec"]["template"]["metadata"]["annotations"]
    assert [name for name in annotations if not INJECTED.fullmatch(name)] == []
    assert {type(text) for text in annotations.values()} == {str}


@pytest.mark.parametrize(("name", "container"), KEYTURN)
def test_keyturns_own_containers_are_started_as_its_commands_take_it(name: str, container: dict[str, Any]) -> None:
    program, command, *arguments = container["args"]
    group = typer.main.get_command(app)
    known = {option for each in group.commands[command].params for option in each.opts}  # type: ignore[attr-defined]
    assert program == "keyturn"
    assert {argument.partition("=")[0] for argument in arguments} - known == set()
    environment = {each["name"]: each["value"] for each in container["env"]}
    settings = HubSettings.from_environment(environment)
    assert settings.address == environment["VAULT_ADDR"]
    assert "Kubernetes" in type(settings.login).__name__


def test_the_init_container_writes_what_its_job_reads(lab: Lab) -> None:
    (container,) = [container for name, container in KEYTURN if name == "init-container.yaml"]
    path = f"{fresh()}/database"
    lab.hub.write(path, SecretFields({"username": "app", "password": "p4ss"}), cas=0)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        replaced = {"ml-training/database": path, "/secrets": directory}
        arguments = container["args"][1:]
        for there, here in replaced.items():
            arguments = [argument.replace(there, here) for argument in arguments]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("VAULT_ADDR", lab.world.hub_address)
            environment.setenv("VAULT_TOKEN", lab.world.hub_token)
            environment.setenv("VAULT_CACERT", str(lab.world.hub_ca))
            result = run_keyturn(*arguments)
        assert result.returncode == 0, result.stderr
        written = {file.name: file.read_text() for file in Path(directory).iterdir()}
    assert written == {"username": "app", "password": "p4ss"}
