"""Reads of secrets, from the AuditEvent log of Azure Key Vault.

Source: "Azure Key Vault logging" and "Resource logs in Azure Monitor" (JSON lines, one blob per hour).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from keyturn.access_log.hub_reads import parse_time
from keyturn.access_log.sources.copy_names import CopyNames
from keyturn.access_log.sources.object_log import ObjectLog
from keyturn.access_log.sources.objects import Directory, Lines
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceOpening

HINT: Final = "Copy the container insights-logs-auditevent there, and let this user read it"

OPERATIONS: Final = frozenset({"SecretGet", "SecretBackup"})
"""Operations that return values, the second to any vault of the subscription."""

REFUSED: Final = 400
"""The lowest status of a refusal."""
UNAUTHORIZED: Final = 401

WHO: Final = (
    "upn",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
    "appid",
    "oid",
    "http://schemas.microsoft.com/identity/claims/objectidentifier",
)
"""Token claims that name the principal, most readable first."""


class _Identity(Struct):
    claim: dict[str, Any] = field(default_factory=dict)


class _Properties(Struct):
    id: str = ""
    request: str = field(name="requestUri", default="")
    agent: str = field(name="clientInfo", default="")
    status: int | None = field(name="httpStatusCode", default=None)


class _Event(Struct):
    time: str = ""
    operation: str = field(name="operationName", default="")
    result: str = field(name="resultType", default="")
    address: str = field(name="callerIpAddress", default="")
    identity: _Identity | None = None
    properties: _Properties | None = None


_DECODER: Final = msgspec.json.Decoder(_Event, strict=False)


class AzureReads:
    """Reads the records of AuditEvent."""

    def __init__(self, opening: SourceOpening) -> None:
        self._copies = CopyNames(opening.stores, "azure")

    def accesses(self, record: bytes) -> Sequence[Access]:
        """Return the secret that a call read or was denied. Raises ValueError."""
        event = _DECODER.decode(record)
        properties = event.properties
        if event.operation not in OPERATIONS or properties is None:
            return ()
        claims = event.identity.claim if event.identity else {}
        # Clients first ask without a token to learn where to get one, which is no attempt.
        if properties.status == UNAUTHORIZED and not claims:
            return ()
        address = urlsplit(properties.id or properties.request)
        name = address.path.split("/")[2] if address.path.startswith("/secrets/") else ""
        if not name:
            return ()
        vault = f"https://{address.netloc}".casefold().removesuffix(":443")
        place = self._copies.find(lambda system: system == ("azure-key-vault", vault), name)
        refused = event.result.casefold() not in ("", "success") or (properties.status or 0) >= REFUSED
        return [
            Access(
                at=parse_time(event.time),
                system=place.system,
                path=place.path,
                version=None,
                principal=_principal(claims),
                source=event.address,
                denied=refused,
                agent=properties.agent,
            )
        ]


def _principal(claims: dict[str, Any]) -> str:
    return next((str(claims[name]) for name in WHO if claims.get(name)), "")


def open_azure_files(opening: SourceOpening, *, directory: str) -> ObjectLog:
    """Open log files in a local directory."""
    return ObjectLog(
        opening.name, opening.pace, Directory(Path(directory).expanduser()), Lines(), AzureReads(opening), HINT
    )
