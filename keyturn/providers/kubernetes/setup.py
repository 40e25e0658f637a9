"""Create a store's Role, its bindings and their service accounts.

Server-side apply with Keyturn's label; objects of the same name by others stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from string import Template
from typing import Any, Final

import yaml

from keyturn.core.errors import Conflict, Invalid, NotFound
from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY
from keyturn.providers.kubernetes.client import APPLY, Doing, Namespace
from keyturn.providers.kubernetes.cluster import settings_for

SERVICE_ACCOUNT: Final = "system:serviceaccount"
SETUP: Final = "keyturn-setup"


def apply_role(
    name: str,
    namespace: str,
    texts: Sequence[str],
    logins: Mapping[str, str],
    kubeconfig: str | None,
    context: str | None,
    server: str | None,
) -> Iterator[tuple[str, str]]:
    """Apply these documents with ``logins``; yield each object and its state.

    Raises Invalid if the kubeconfig names another address than ``server``, Conflict for others' objects, Denied,
    Unavailable.
    """
    settings = settings_for(name, server=None, ca_file=None, token_file=None, kubeconfig=kubeconfig, context=context)
    if server is not None and settings.host.rstrip("/") != server.rstrip("/"):
        problem = f"the kubeconfig in use points to {settings.host}, and the store is at {server}"
        raise Invalid("apply", name, problem, "Set KUBECONFIG, or its current context, to that cluster")
    cluster = Namespace(namespace, settings)
    try:
        for tree in [*_service_accounts(namespace, logins.values()), *_trees(texts, logins)]:
            yield f"{tree['kind']} {namespace}/{tree['metadata']['name']}", _applied(cluster, name, tree)
    finally:
        cluster.close()


def _service_accounts(namespace: str, users: Any) -> Iterator[dict[str, Any]]:
    for user in users:
        begin, _, account = user.rpartition(":")
        if begin == f"{SERVICE_ACCOUNT}:{namespace}":
            yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}


def _trees(texts: Sequence[str], logins: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        yield from yaml.safe_load_all(Template(text).safe_substitute(logins))


def _applied(cluster: Namespace, name: str, tree: dict[str, Any]) -> str:
    kind, about = tree["kind"], f"{name}: {tree['kind']} {tree['metadata']['name']}"
    resource, called = f"{kind.lower()}s", tree["metadata"]["name"]
    before: dict[str, Any] = {}
    with suppress(NotFound):
        before = cluster.call(Doing("look at", about, "get", resource), called)
    labels = (before.get("metadata") or {}).get("labels") or {}
    if before and labels.get(TAG_MANAGED_BY) != MANAGED_BY:
        hint = "Write the rights into it by hand, or remove it"
        raise Conflict("write", about, "it is there, and Keyturn has not made it", hint)
    body = {**tree, "metadata": {**tree["metadata"], "labels": {TAG_MANAGED_BY: MANAGED_BY}}}
    after = cluster.call(
        Doing("write", about, "patch", resource),
        called,
        body=body,
        fieldManager=SETUP,
        content_type=APPLY,
        force="true",
    )
    version = (before.get("metadata") or {}).get("resourceVersion")
    return "in place" if before and after["metadata"]["resourceVersion"] == version else "written"
