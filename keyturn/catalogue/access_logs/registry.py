"""The kinds of access log there are: to add one, add a line."""

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
"""The settings of each kind of access log, by the name of their class; they name the adapter in turn."""
