"""The audit log of Kubernetes, which tells who has read Secrets."""

from typing import Literal

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line


class KubernetesAuditFileSettings(AccessLogBase):
    """The audit file of an API server, with what it has rotated beside it: reads, lists and watches of Secrets."""

    kind: Literal["kubernetes-audit-file"]
    """Which log it is."""
    log_file: Line
    """The file of --audit-log-path; rotated ones are found beside it."""
    stores: tuple[Line, ...] = ()
    """Those of the catalogue's stores that are namespaces of this cluster; without any, all of Kubernetes are."""

    ADAPTER = "keyturn.access_log.sources.kubernetes_audit:KubernetesFile"
