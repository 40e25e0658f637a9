"""Kubernetes as a store."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from keyturn.core.ports.stores import Detail, Details
from keyturn.core.rights import kubernetes_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.store_limits import KUBERNETES, LIMITS
from keyturn.core.text.details import (
    KUBERNETES_ANNOTATIONS,
    KUBERNETES_LABELS,
    KUBERNETES_MAX_ANNOTATIONS,
    KUBERNETES_TYPES,
    SHOWN,
    size_of,
)
from keyturn.settings.fields import HttpsUrl, Line, PositiveDuration
from keyturn.settings.stores import Placed, System


class KubernetesSettings(Placed):
    """The Secrets of one namespace of a Kubernetes cluster."""

    kind: Literal["kubernetes"]
    """The kind of store."""
    namespace: Line
    """The namespace of the Secrets."""
    server: HttpsUrl | None = None
    """The address of the API server; by default, from the kubeconfig file or the pod's own cluster."""
    ca_file: Line | None = None
    """A PEM file with the CA of the API server's certificate; only with server."""
    token_file: Line | None = None
    """A file with a service account's token, read again when it changes; only with server."""
    kubeconfig: Line | None = None
    """The kubeconfig file; by default, KUBECONFIG or ~/.kube/config."""
    context: Line | None = None
    """The context of the kubeconfig file; by default, the current one."""
    merge: bool = False
    """Whether to keep the keys that others have added to a Secret."""
    restart: bool = False
    """Whether to restart the Deployments, StatefulSets and DaemonSets that use a changed Secret: once in a run."""
    workloads: tuple[Line, ...] = ()
    """The names of those that may be restarted: others are neither restarted nor read. By default, all may."""
    restart_timeout: PositiveDuration = timedelta(minutes=30)
    """The time until every pod must be new; after it, the restart has failed and people are notified."""

    ADAPTER = "keyturn.providers.kubernetes.store:Kubernetes"
    ASKS = "keyturn.providers.kubernetes.rights:ask_namespace"
    EXTRA = "kubernetes"
    LIMITS = LIMITS[KUBERNETES]
    MERGES = True
    TAKES = SHOWN[KUBERNETES] | {Detail.CONTENT_TYPE}

    @property
    def system(self) -> System:
        cluster = self.server.rstrip("/").casefold() if self.server else f"{self.kubeconfig or ''}#{self.context or ''}"
        return (self.kind, cluster, self.namespace)

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        place = kubernetes_rights.StoreNamespace(self.namespace, self.merge, self.restart, self.workloads)
        return kubernetes_rights.role_documents(place, copies)

    def refuses_details(self, details: Details) -> str | None:
        return (
            super().refuses_details(details)
            or KUBERNETES_LABELS.refuses(self.kind, details.tags)
            or KUBERNETES_ANNOTATIONS.refuses(self.kind, details.annotations)
            or self._refuses_size(details)
            or self._refuses_type(details.content_type)
        )

    def _refuses_type(self, content_type: str) -> str | None:
        if not content_type or content_type in KUBERNETES_TYPES:
            return None
        return f"{self.kind} takes the Secret's type for content_type, one of {', '.join(KUBERNETES_TYPES)}"

    def _refuses_size(self, details: Details) -> str | None:
        if size_of(details.annotations) + len(" ".join(details.names).encode()) < KUBERNETES_MAX_ANNOTATIONS:
            return None
        return f"{self.kind}: all annotations together have to be below {KUBERNETES_MAX_ANNOTATIONS} bytes"
