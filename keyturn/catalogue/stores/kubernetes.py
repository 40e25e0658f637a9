"""Kubernetes as a store."""

from typing import Literal

from keyturn.catalogue.stores.base import StoreBase, System
from keyturn.settings.fields import HttpsUrl, Line


class KubernetesSettings(StoreBase):
    """The Secrets of one namespace of a Kubernetes cluster."""

    kind: Literal["kubernetes"]
    """Which store this is."""
    namespace: Line
    """The namespace that the Secrets are in."""
    server: HttpsUrl | None = None
    """The address of the API server. Without it: the kubeconfig file, or the pod's own cluster."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the API server's certificate, together with server."""
    token_file: Line | None = None
    """A file with a service account's token, together with server; it is read again when it changes."""
    kubeconfig: Line | None = None
    """The kubeconfig file. Without it, KUBECONFIG or ~/.kube/config."""
    context: Line | None = None
    """The context of the kubeconfig file. Without it, the current one."""
    merge: bool = False
    """Keep the keys of a Secret that others have put beside Keyturn's."""
    restart: bool = False
    """Restart the Deployments, StatefulSets and DaemonSets that use a Secret, after it has changed."""

    @property
    def system(self) -> System:
        """The cluster, as far as it is told here, and the namespace."""
        cluster = self.server.rstrip("/").casefold() if self.server else f"{self.kubeconfig or ''}#{self.context or ''}"
        return (self.kind, cluster, self.namespace)
