"""Kubernetes as a store."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from keyturn.core.ports.stores import Detail, Details
from keyturn.core.rights import kubernetes_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.text.details import (
    KUBERNETES_ANNOTATIONS,
    KUBERNETES_LABELS,
    KUBERNETES_MAX_ANNOTATIONS,
    KUBERNETES_TYPES,
    SHOWN,
    size_of,
)
from keyturn.core.text.names import KUBERNETES, LIMITS
from keyturn.settings.fields import HttpsUrl, Line, PositiveDuration
from keyturn.settings.stores import Placed, System


class KubernetesSettings(Placed):
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
    """Restart the Deployments, StatefulSets and DaemonSets that use a Secret, after it has changed: once in a run."""
    workloads: tuple[Line, ...] = ()
    """The names of those that may be restarted: others are neither restarted nor looked at. Without any, all may."""
    restart_timeout: PositiveDuration = timedelta(minutes=30)
    """How long such a restart may take until every pod is new; beyond it, it has failed, and people are told."""

    ADAPTER = "keyturn.providers.kubernetes.store:Kubernetes"
    ASKS = "keyturn.providers.kubernetes.rights:ask_namespace"
    EXTRA = "kubernetes"
    LIMITS = LIMITS[KUBERNETES]
    MERGES = True
    TAKES = SHOWN[KUBERNETES] | {Detail.CONTENT_TYPE}

    @property
    def system(self) -> System:
        """The cluster, as far as it is told here, and the namespace."""
        cluster = self.server.rstrip("/").casefold() if self.server else f"{self.kubeconfig or ''}#{self.context or ''}"
        return (self.kind, cluster, self.namespace)

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        """A Role with its RoleBinding, and the RoleBinding of whoever revokes."""
        place = kubernetes_rights.StoreNamespace(self.namespace, self.merge, self.restart, self.workloads)
        return kubernetes_rights.role_documents(place, copies)

    def refuses_details(self, details: Details) -> str | None:
        """What a Secret lacks, or has no room for."""
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
