"""Registry of the kinds of access log: add one line for a new kind."""

from typing import Final

ACCESS_LOGS: Final = {
    "azure-audit-files": "keyturn.catalogue.access_logs.clouds.AzureAuditFilesSettings",
    "cloudtrail-bucket": "keyturn.catalogue.access_logs.clouds.CloudTrailBucketSettings",
    "cloudtrail-files": "keyturn.catalogue.access_logs.clouds.CloudTrailFilesSettings",
    "gcp-audit-files": "keyturn.catalogue.access_logs.clouds.GcpAuditFilesSettings",
    "hub-file": "keyturn.catalogue.access_logs.hub.HubFileSettings",
    "hub-socket": "keyturn.catalogue.access_logs.hub.HubSocketSettings",
    "kubernetes-audit-file": "keyturn.catalogue.access_logs.kubernetes.KubernetesAuditFileSettings",
    "posted": "keyturn.catalogue.access_logs.posted.PostedSettings",
}
"""Paths of the settings classes, which name their adapters."""
