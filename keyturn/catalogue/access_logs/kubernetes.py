"""The audit log of Kubernetes, which records reads of Secrets."""

from typing import Literal

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line


class KubernetesAuditFileSettings(AccessLogBase):
    """The audit file of an API server, with its rotated files: reads, lists and watches of Secrets."""

    kind: Literal["kubernetes-audit-file"]
    """The kind of access log."""
    log_file: Line
    """The file of --audit-log-path; rotated files are in the same directory."""
    stores: tuple[Line, ...] = ()
    """The catalogue's stores that are namespaces of this cluster; by default, all Kubernetes stores."""

    ADAPTER = "keyturn.access_log.sources.kubernetes_audit:KubernetesFile"
