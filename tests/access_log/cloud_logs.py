"""Records of clouds' audit logs as their published schemas have them, and logs of them that a test writes to."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.core.ports.access_source import AccessSource, SourceOpening, StoreCopies
from keyturn.core.text.audit_lines import AuditMount
from tests.contracts.access_source import PATHS

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/trainer"
VAULT = "https://example.vault.azure.net"


def copy_of(path: str) -> str:
    """The name of a secret's copy."""
    return path.replace("/", "-")


COPIES = {copy_of(path): path for path in PATHS}
STORES = (
    StoreCopies("aws", ("aws-secrets-manager", "eu-central-1", "", ""), COPIES),
    StoreCopies("aws-other", ("aws-secrets-manager", "eu-central-1", "999999999999", ""), {"ml-key": "other/key"}),
    StoreCopies("ssm", ("aws-parameter-store", "eu-central-1", ACCOUNT, ""), {"/shop/smtp": "shop/smtp"}),
    StoreCopies("azure", ("azure-key-vault", VAULT), COPIES),
    StoreCopies("gcp", ("gcp-secret-manager", "example-prod", ""), COPIES),
    StoreCopies("gcp-eu", ("gcp-secret-manager", "example-prod/europe-west3", ""), {"ml-key": "ml/key"}),
    StoreCopies("cluster", ("kubernetes", "#", "apps"), COPIES),
    StoreCopies("another", ("kubernetes", "https://k8s.example.com", "apps"), {"ml-key": "another/key"}),
)


def opening(directory: Path, stores: Sequence[StoreCopies] = STORES) -> SourceOpening:
    return SourceOpening("log-1", 0.1, AuditMount("secret"), str(directory), lambda: stores)


def moment(seconds: int) -> str:
    return f"{NOON + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def cloudtrail(seconds: int, parameters: Any, **changes: Any) -> dict[str, Any]:
    """A GetSecretValue by a role."""
    data = {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:job-17",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/trainer/job-17",
            "accountId": ACCOUNT,
            "accessKeyId": "ASIAEXAMPLE",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE, "userName": "trainer"}},
        },
        "eventTime": moment(seconds),
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": "GetSecretValue",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "Boto3/1.40",
        "requestParameters": parameters,
        "responseElements": None,
        "eventID": f"{seconds:08d}-0000-4000-8000-000000000000",
        "readOnly": True,
        "eventType": "AwsApiCall",
        "recipientAccountId": ACCOUNT,
    }
    return data | changes


def azure(seconds: int, name: str, **changes: Any) -> dict[str, Any]:
    """A SecretGet by a service principal."""
    data = {
        "time": moment(seconds),
        "category": "AuditEvent",
        "operationName": "SecretGet",
        "resultType": "Success",
        "resultSignature": "OK",
        "callerIpAddress": "198.51.100.7",
        "correlationId": f"{seconds:08d}-0000-4000-8000-000000000000",
        "identity": {"claim": {"oid": "0d1f-object", "appid": "1a2b-application"}},
        "properties": {
            "clientInfo": "azsdk-python-keyvault-secrets/4.9",
            "requestUri": f"{VAULT}/secrets/{name}/?api-version=7.6",
            "id": f"{VAULT}/secrets/{name}/4387e9f3d6e14c459867679a90fd0f79",
            "httpStatusCode": 200,
        },
        "resourceId": "/SUBSCRIPTIONS/X/RESOURCEGROUPS/X/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/EXAMPLE",
    }
    return data | changes


def gcp(seconds: int, resource: str, **changes: Any) -> dict[str, Any]:
    """An AccessSecretVersion by a service account."""
    payload = {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "serviceName": "secretmanager.googleapis.com",
        "methodName": "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
        "resourceName": resource,
        "authenticationInfo": {
            "principalEmail": "trainer@example-prod.iam.gserviceaccount.com",
            "serviceAccountKeyName": "//iam.googleapis.com/projects/p/serviceAccounts/s/keys/k1",
        },
        "requestMetadata": {"callerIp": "198.51.100.7", "callerSuppliedUserAgent": "grpc-python/1.70"},
        "status": {},
    }
    return {
        "protoPayload": payload | changes,
        "insertId": f"{seconds:08d}",
        "resource": {"type": "audited_resource", "labels": {"project_id": "example-prod"}},
        "timestamp": moment(seconds),
        "severity": "INFO",
        "logName": "projects/example-prod/logs/cloudaudit.googleapis.com%2Fdata_access",
    }


def kubernetes(seconds: int, name: str, **changes: Any) -> dict[str, Any]:
    """A get of a Secret by a service account."""
    data = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"{seconds:08d}-0000-4000-8000-000000000000",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/apps/secrets/{name}",
        "verb": "get",
        "user": {"username": "system:serviceaccount:apps:trainer", "groups": ["system:serviceaccounts"]},
        "sourceIPs": ["10.0.0.9", "10.0.0.1"],
        "userAgent": "kubectl/v1.34",
        "objectRef": {"resource": "secrets", "namespace": "apps", "name": name, "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": moment(seconds).replace("Z", ".123456Z"),
        "stageTimestamp": moment(seconds).replace("Z", ".125000Z"),
    }
    return data | changes


def line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


@dataclass
class DeliveredLog:
    """A log of files that a test delivers: one for each record, or lines that are added to the newest."""

    put: Callable[[str, bytes], None]
    opened: Callable[[], AccessSource]
    records: Callable[[int, str], bytes]
    spoiled: Callable[[str], bytes]
    ending: str = ".json"
    count: int = field(default=0)

    def open(self) -> AccessSource:
        return self.opened()

    def add(self, path: str) -> None:
        self.count += 1
        self.put(f"2026/11/24/{self.count:04d}{self.ending}", self.records(self.count, path))

    def spoil(self, text: str) -> None:
        self.count += 1
        self.put(f"2026/11/24/{self.count:04d}{self.ending}", self.spoiled(text))


def trail_file(*records: dict[str, Any]) -> bytes:
    """As CloudTrail delivers them."""
    return gzip.compress(json.dumps({"Records": records}).encode(), mtime=0)
