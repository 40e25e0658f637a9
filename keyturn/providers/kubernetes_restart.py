"""Restarting the workloads whose pods use a Secret, as ``kubectl rollout restart`` does: by an annotation.

A Deployment or StatefulSet or DaemonSet whose update strategy is OnDelete takes the annotation and waits for
whoever deletes its pods.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from keyturn.core.errors import NotFound
from keyturn.providers.kubernetes_calls import MANAGER, MERGE, Doing, Namespace

RESTARTED_FOR: Final = "keyturn.dev/restarted-for"
"""The pod template's annotation: changing it starts a rollout."""

KINDS: Final = (("deployments", "deployment"), ("statefulsets", "stateful_set"), ("daemonsets", "daemon_set"))
"""The resource in the API, and its word in the client's method names."""


def restart_users(namespace: Namespace, secret: str, name: str, restarted_for: str) -> None:
    """Roll out every workload whose pod template refers to ``secret``, unless it did for this already.

    Safe to repeat: what has the annotation is left alone. Raises what refused it, under ``name``.
    """
    for resource, word in KINDS:
        listing = Doing("restart", name, "list", resource)
        for page in namespace.pages(listing, getattr(namespace.apps, f"list_namespaced_{word}")):
            for workload in page:
                if secret in set(_secrets_of(_template(workload).get("spec") or {})):
                    _restart(namespace, Doing("restart", name, "patch", resource), word, workload, restarted_for)


def _restart(namespace: Namespace, doing: Doing, word: str, workload: Mapping[str, Any], restarted_for: str) -> None:
    annotations = (_template(workload).get("metadata") or {}).get("annotations") or {}
    if annotations.get(RESTARTED_FOR) == restarted_for:
        return
    body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: restarted_for}}}}}
    patch = getattr(namespace.apps, f"patch_namespaced_{word}")
    # One that was deleted meanwhile needs no restart.
    with suppress(NotFound):
        namespace.call(
            doing, patch, name=workload["metadata"]["name"], body=body, field_manager=MANAGER, _content_type=MERGE
        )


def _template(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    template: Mapping[str, Any] = (workload.get("spec") or {}).get("template") or {}
    return template


def _secrets_of(pod: Mapping[str, Any]) -> Iterator[str]:
    """The names of the Secrets that pods of this specification refer to."""
    for container in (*(pod.get("containers") or ()), *(pod.get("initContainers") or ())):
        for variable in container.get("env") or ():
            yield _named((variable.get("valueFrom") or {}).get("secretKeyRef"))
        for source in container.get("envFrom") or ():
            yield _named(source.get("secretRef"))
    for volume in pod.get("volumes") or ():
        yield from _secrets_of_volume(volume)
    for pull in pod.get("imagePullSecrets") or ():
        yield _named(pull)


def _secrets_of_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    yield (volume.get("secret") or {}).get("secretName") or ""
    yield _named((volume.get("csi") or {}).get("nodePublishSecretRef"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield _named(source.get("secret"))


def _named(reference: Mapping[str, Any] | None) -> str:
    return (reference or {}).get("name") or ""
