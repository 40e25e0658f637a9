"""A Kubernetes API server on loopback with workloads that use Secrets, and its controllers in the test's own hands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.client
import trustme

from keyturn.providers.kubernetes.restart import RESTARTED_FOR
from keyturn.providers.kubernetes.store import Kubernetes
from local.emulators.kubernetes import Account, Emulator, Server, rules

NAMESPACE = "apps"
SECRETS = ("get", "list", "create", "patch", "delete")
WORKLOADS = ("deployments", "statefulsets", "daemonsets")
ACCOUNTS = (
    Account("admin", "admin's token"),
    Account("keyturn", "keyturn's token", rules(secrets=SECRETS, **dict.fromkeys(WORKLOADS, ("list", "patch")))),
    Account("writer", "writer's token", rules(secrets=SECRETS)),
    Account("looker", "looker's token", rules(secrets=SECRETS, **dict.fromkeys(WORKLOADS, ("list",)))),
)
"""``keyturn`` has what deployments/policies/kubernetes-role.yaml grants, the others less."""


@dataclass
class Cluster:
    """One namespace. ``emulator.controller.held`` are the workloads whose rollouts begin and go no further."""

    emulator: Emulator
    server: Server
    directory: Path
    core: Any
    apps: Any

    def settings(self, user: str = "keyturn", **more: Any) -> dict[str, Any]:
        """The store's entry in a catalogue."""
        token = self.directory / f"{user}.token"
        token.write_text(f"{user}'s token")
        signing_in = {"ca_file": str(self.directory / "ca.pem"), "token_file": str(token)}
        return (
            {"kind": "kubernetes", "namespace": NAMESPACE, "server": self.server.url, "restart": True}
            | signing_in
            | more
        )

    def store(self, user: str = "keyturn", **more: Any) -> Kubernetes:
        """The adapter, named ``memory`` as the lab's store is."""
        settings = self.settings(user, **more)
        return Kubernetes("memory", **{key: value for key, value in settings.items() if key != "kind"})

    def deploy(self, name: str, secrets: Sequence[str], kind: str = "deployment", **spec: Any) -> None:
        """A workload whose pods use these Secrets."""
        sources = [{"secretRef": {"name": secret}} for secret in secrets]
        pod = {"containers": [{"name": "main", "image": "image", "envFrom": sources}]}
        labels = {"app": name}
        whole: dict[str, Any] = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            **spec,
        }
        if kind == "stateful_set":
            whole["serviceName"] = name
        getattr(self.apps, f"create_namespaced_{kind}")(NAMESPACE, {"metadata": {"name": name}, "spec": whole})

    def hold(self, *names: str) -> None:
        """Their rollouts begin from now on, and go no further."""
        self.emulator.controller.held |= set(names)

    def report(self, name: str, kind: str = "deployment", **status: Any) -> None:
        """What its controller tells next."""
        getattr(self.apps, f"patch_namespaced_{kind}_status")(name, NAMESPACE, {"status": status})

    def finish(self, name: str, replicas: int = 1) -> None:
        """A Deployment's last pod is ready."""
        self.report(name, updatedReplicas=replicas, replicas=replicas, availableReplicas=replicas)

    def fail(self, name: str) -> None:
        """A Deployment's new pods do not begin within its deadline."""
        self.report(name, conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}])

    def patch(self, name: str, body: Any, kind: str = "deployment") -> Any:
        """What somebody with kubectl does."""
        return getattr(self.apps, f"patch_namespaced_{kind}")(name, NAMESPACE, body, field_manager="kubectl")

    def read(self, name: str, kind: str = "deployment") -> Any:
        """The workload."""
        return getattr(self.apps, f"read_namespaced_{kind}")(name, NAMESPACE)

    def restarts(self, name: str, kind: str = "deployment") -> int:
        """How often its specification has changed since it was made."""
        return int(self.read(name, kind).metadata.generation) - 1

    def restarted_for(self, name: str, kind: str = "deployment") -> str | None:
        """What it was restarted for last."""
        told: str | None = (self.read(name, kind).spec.template.metadata.annotations or {}).get(RESTARTED_FOR)
        return told


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """One, over HTTPS."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    emulator = Emulator(directory / "data", ACCOUNTS, namespaces=(NAMESPACE,))
    with Server(emulator, directory / "cert.pem", directory / "key.pem") as server:
        settings = kubernetes.client.Configuration(host=server.url, ssl_ca_cert=str(directory / "ca.pem"))
        settings.api_key["BearerToken"] = "Bearer admin's token"
        with kubernetes.client.ApiClient(settings) as client:
            yield Cluster(
                emulator, server, directory, kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)
            )
