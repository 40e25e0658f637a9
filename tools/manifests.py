"""``python -m tools.manifests``: writes deployments/kustomize from the Helm chart, so that nobody keeps both.

The base is the chart with its example values, but for what is Helm's own: ConfigMaps come from Kustomize's generator,
which begins pods anew when one changes. What is off by default in the chart is a component each. A chart sees nothing
outside of its own directory, so the alerts are copied into it first.
"""

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from keyturn.core.errors import Invalid, KeyturnError
from local.helm import Release, Rendering, render

DEPLOYMENTS: Final = Path(__file__).parents[1] / "deployments"
CHART: Final = DEPLOYMENTS / "helm" / "keyturn"
RULES: Final = DEPLOYMENTS / "prometheus" / "rules.yaml"
CHARTS_RULES: Final = CHART / "rules.yaml"
EXAMPLE: Final = CHART / "ci" / "example-values.yaml"
KUSTOMIZE: Final = DEPLOYMENTS / "kustomize"
HEAD: Final = "# Made by `make manifests` from deployments/helm/keyturn. Change it by an overlay.\n"
HELMS_OWN: Final = ("helm.sh/", "checksum/", "app.kubernetes.io/managed-by")
"""Labels and annotations that only Helm has a use for."""
MONITORING: Final = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
COMPONENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "granter": {"granter": {"enabled": True}},
    "backup": {"backup": {"enabled": True}},
    "prometheus": {
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "networkPolicy": {"scrapers": [MONITORING]},
    },
}
"""What each component's objects are in the chart for: those that these values add."""

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same in C where it is built: there are some thousand lines."""

Document = dict[str, Any]


def manifests() -> dict[str, str]:
    """Each file by its path below ``KUSTOMIZE``. Raises Invalid where the chart refuses its example, Unavailable."""
    example = dict(yaml.safe_load(EXAMPLE.read_text()))
    releases = [Release(example), *(Release(merged(example, more)) for more in COMPONENTS.values())]
    base, *others = (documents(rendering) for rendering in render(CHART, releases)[0])
    plain = {identity(each): each for each in base}
    files = base_files(plain.values())
    for name, found in zip(COMPONENTS, others, strict=True):
        added = [each for each in found if identity(each) not in plain]
        files[f"components/{name}/{name}.yaml"] = written(added)
        head = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "resources": [f"{name}.yaml"]}
        files[f"components/{name}/kustomization.yaml"] = written([head])
    return files


def documents(rendering: Rendering) -> list[Document]:
    """All objects of a release, as Kubernetes has them. Raises Invalid with Helm's words."""
    if rendering.refusal:
        raise Invalid("render", str(CHART), rendering.refusal, "Correct the values")
    texts = (text for name, text in sorted(rendering.files.items()) if name.endswith(".yaml"))
    return [each for text in texts for each in yaml.load_all(text, Loader=LOADER) if each]


def identity(document: Document) -> tuple[str, str]:
    """What tells an object of a release from the others."""
    return document["kind"], document["metadata"]["name"]


def base_files(objects: Iterable[Document]) -> dict[str, str]:
    """The base: a file for each component, and what ConfigMaps hold for the generator."""
    kinds: dict[str, list[Document]] = {}
    generated = []
    for each in objects:
        if each["kind"] == "ConfigMap":
            generated.append(each)
        else:
            kinds.setdefault(place(each), []).append(each)
    files = {f"base/{name}": written(found) for name, found in sorted(kinds.items())}
    for each in generated:
        lines = (f"{name}={value}\n" for name, value in each["data"].items())
        files[f"base/{part(each)}.env"] = HEAD + "".join(lines)
    files["base/namespace.yaml"] = written([NAMESPACE])
    names = [path.removeprefix("base/") for path in sorted(files) if path.endswith(".yaml")]
    generator = [{"name": each["metadata"]["name"], "envs": [f"{part(each)}.env"]} for each in generated]
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "keyturn"}
    files["base/kustomization.yaml"] = written([{**head, "resources": names, "configMapGenerator": generator}])
    return files


NAMESPACE: Final[Document] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": "keyturn",
        "labels": {f"pod-security.kubernetes.io/{how}": "restricted" for how in ("enforce", "audit", "warn")},
    },
}
"""Kubernetes itself then refuses a pod that may do more than those here."""


def part(document: Document) -> str:
    """The component that an object belongs to."""
    return str(document["metadata"]["labels"]["app.kubernetes.io/component"])


def place(document: Document) -> str:
    """The file that it stands in: the component's, or that of the network's rules."""
    return "network.yaml" if document["kind"] == "NetworkPolicy" else f"{part(document)}.yaml"


def without_helm(value: Any) -> Any:
    """The same without what is Helm's own; a namespace is Kustomize's to say."""
    if isinstance(value, list):
        return [without_helm(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: without_helm(item) for name, item in value.items() if not name.startswith(HELMS_OWN)}
    named = "name" in kept and "labels" in kept
    return {
        name: item
        for name, item in kept.items()
        if not (name == "annotations" and item == {}) and not (named and name == "namespace")
    }


def written(objects: Iterable[Document]) -> str:
    """A file of these."""
    return HEAD + yaml.safe_dump_all((without_helm(each) for each in objects), sort_keys=False, width=120)


def merged(first: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over values, as Helm lays them."""
    both = {name: merged(first[name], more[name]) for name in more if isinstance(first.get(name), Mapping)}
    return {**first, **more, **both}


def main() -> int:
    """Write the files, and take away what is made no longer; 1 where that can't be."""
    shutil.copyfile(RULES, CHARTS_RULES)
    try:
        files = manifests()
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for folder in ("base", "components"):
        shutil.rmtree(KUSTOMIZE / folder, ignore_errors=True)
    for path, text in files.items():
        (KUSTOMIZE / path).parent.mkdir(parents=True, exist_ok=True)
        (KUSTOMIZE / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
