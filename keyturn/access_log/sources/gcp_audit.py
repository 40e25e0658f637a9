"""Reads of secrets, from the Data Access audit log of GCP Secret Manager.

Sources: "Secret Manager Audit Logging", "Audit log entry structure", "View logs routed to Cloud Storage" (JSON lines).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from keyturn.access_log.hub_reads import parse_time
from keyturn.access_log.sources.copy_names import CopyNames
from keyturn.access_log.sources.object_log import ObjectLog
from keyturn.access_log.sources.objects import Directory, Lines
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceOpening

HINT: Final = "Copy what the log's sink writes there, and let this user read it"

SERVICE: Final = "secretmanager.googleapis.com"
METHOD: Final = re.compile(r"google\.cloud\.secretmanager\.v1[a-z0-9]*\.SecretManagerService\.AccessSecretVersion")
RESOURCE: Final = re.compile(r"projects/([^/]+)(?:/locations/([^/]+))?/secrets/([^/]+)(?:/.*)?")
OF_PROJECT: Final = re.compile(r"projects/([^/]+)/logs/.*")
INSIDE: Final = frozenset({"private", "gce-internal-ip"})
"""Values instead of an address for callers in Google's network."""


class _Authentication(Struct):
    email: str = field(name="principalEmail", default="")
    subject: str = field(name="principalSubject", default="")
    key: str = field(name="serviceAccountKeyName", default="")


class _RequestMetadata(Struct):
    address: str = field(name="callerIp", default="")
    agent: str = field(name="callerSuppliedUserAgent", default="")


class _Status(Struct):
    code: int = 0


class _Payload(Struct):
    service: str = field(name="serviceName", default="")
    method: str = field(name="methodName", default="")
    resource: str = field(name="resourceName", default="")
    authentication: _Authentication = field(name="authenticationInfo", default_factory=_Authentication)
    metadata: _RequestMetadata = field(name="requestMetadata", default_factory=_RequestMetadata)
    status: _Status | None = None


class _Resource(Struct):
    labels: dict[str, str] = field(default_factory=dict)


class _Entry(Struct):
    timestamp: str = ""
    log: str = field(name="logName", default="")
    resource: _Resource = field(default_factory=_Resource)
    payload: _Payload | None = field(name="protoPayload", default=None)


_DECODER: Final = msgspec.json.Decoder(_Entry)


class GcpReads:
    """Reads the entries of Secret Manager's audit log."""

    def __init__(self, opening: SourceOpening) -> None:
        self._copies = CopyNames(opening.stores, "gcp")

    def accesses(self, record: bytes) -> Sequence[Access]:
        """Return the secret that a call read or was denied. Raises ValueError."""
        entry = _DECODER.decode(record)
        payload = entry.payload
        if payload is None or payload.service != SERVICE or not METHOD.fullmatch(payload.method):
            return ()
        resource = RESOURCE.fullmatch(payload.resource)
        if resource is None:
            return ()
        number, location, name = resource.groups()
        # The name contains the project's number, the entry its id.
        of_log = OF_PROJECT.fullmatch(entry.log)
        project = entry.resource.labels.get("project_id") or (of_log[1] if of_log else number)
        home = f"{project}/{location}" if location else project
        place = self._copies.find(lambda system: system[:2] == ("gcp-secret-manager", home), name)
        who, metadata = payload.authentication, payload.metadata
        return [
            Access(
                at=parse_time(entry.timestamp),
                system=place.system,
                path=place.path,
                version=None,
                principal=who.email or who.subject,
                source="" if metadata.address in INSIDE else metadata.address,
                denied=bool(payload.status and payload.status.code),
                login=who.key.rpartition("/")[2],
                agent=metadata.agent,
            )
        ]


def open_gcp_files(opening: SourceOpening, *, directory: str) -> ObjectLog:
    """Open log files in a local directory."""
    return ObjectLog(
        opening.name, opening.pace, Directory(Path(directory).expanduser()), Lines(), GcpReads(opening), HINT
    )
