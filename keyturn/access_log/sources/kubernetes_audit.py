"""Reads of Secrets, from the audit log of a Kubernetes API server.

Source: "Auditing" of the Kubernetes documentation, audit.k8s.io/v1. The policy must log Secrets at the level Metadata.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from keyturn.access_log.hub_reads import parse_time
from keyturn.access_log.log_files import NotALine
from keyturn.access_log.sources.copy_names import CopyNames
from keyturn.access_log.sources.line_source import LineSource
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceOpening

HINT: Final = "Give the file of --audit-log-path, and let this user's group read it"

VERBS: Final = frozenset({"get", "list", "watch"})
"""Verbs that return values. The last two return all matching Secrets."""
COMPLETE: Final = "ResponseComplete"
STARTED: Final = "ResponseStarted"
REFUSED: Final = 400
"""The lowest status of a refusal."""
NOTHING: Final = Raw(b"null")


class _User(Struct):
    username: str = ""
    groups: list[str] = field(default_factory=list)


class _Reference(Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    group: str = field(name="apiGroup", default="")


class _Status(Struct):
    code: int = 0


class _Event(Struct):
    stage: str = ""
    verb: str = ""
    user: _User = field(default_factory=_User)
    impersonated: _User | None = field(name="impersonatedUser", default=None)
    addresses: list[str] = field(name="sourceIPs", default_factory=list)
    agent: str = field(name="userAgent", default="")
    reference: _Reference | None = field(name="objectRef", default=None)
    status: _Status | None = field(name="responseStatus", default=None)
    time: str = field(name="requestReceivedTimestamp", default="")


_DECODER: Final = msgspec.json.Decoder(_Event)


class KubernetesReads:
    """A :class:`keyturn.access_log.sources.line_source.LineReader` of the log.

    ``clusters`` are this cluster's stores, by default all.
    """

    def __init__(self, opening: SourceOpening, clusters: Sequence[str]) -> None:
        chosen = frozenset(clusters)
        self._copies = CopyNames(
            lambda: [store for store in opening.stores() if not chosen or store.name in chosen], "kubernetes"
        )

    def may_tell(self, line: bytes) -> bool:
        """Whether a line is worth decoding. Raises ValueError for foreign lines."""
        if line[:1] != b"{" or line[-1:] != b"}":
            raise NotALine("it is no JSON object")
        return b'"secrets"' in line

    def access(self, line: bytes) -> Access | None:
        """Return its access, None if it reads no Secret. Raises ValueError."""
        event = _DECODER.decode(line)
        reference = event.reference
        if reference is None or reference.resource != "secrets" or reference.group or event.verb not in VERBS:
            return None
        # A watch returns values from its start, and may take hours.
        if event.stage != (STARTED if event.verb == "watch" else COMPLETE):
            return None
        namespace = reference.namespace
        names = (reference.name,) if reference.name else ("*" if namespace else "*/*",)
        place = self._copies.find(lambda system: system[0] == "kubernetes" and namespace in ("", system[-1]), *names)
        path = (
            place.path
            if not place.path.endswith(f":{names[0]}") or not namespace
            else (f"{place.system}:{namespace}/{names[0]}")
        )
        return Access(
            at=parse_time(event.time),
            system=place.system,
            path=path,
            version=None,
            principal=event.user.username,
            source=_source(event.addresses),
            denied=(event.status.code if event.status else 0) >= REFUSED,
            login=f"as {event.impersonated.username}" if event.impersonated else "",
            agent=event.agent,
            root="system:masters" in event.user.groups,
        )

    def written_at(self, line: bytes) -> datetime | None:
        """When it was written, None if unknown."""
        with suppress(ValueError):
            return parse_time(_DECODER.decode(line).time)
        return None

    def remember(self) -> tuple[Raw, list[str]]:
        """Nothing is remembered, because every line is complete."""
        return NOTHING, []

    def recall(self, memory: Raw) -> None:
        """Raises ValueError for a foreign state."""
        if bytes(memory) != bytes(NOTHING):
            raise ValueError("it is none of this log's")


def _source(addresses: list[str]) -> str:
    """The caller's address, which is last. Others are claimed."""
    *claimed, address = addresses or [""]
    return f"{address}, said to be for {', '.join(claimed)}" if claimed else address


class KubernetesFile(LineSource):
    """The file of ``--audit-log-path`` and its rotations."""

    def __init__(self, opening: SourceOpening, *, log_file: str, stores: Sequence[str] = ()) -> None:
        reads = KubernetesReads(opening, stores)
        super().__init__(opening.name, opening.pace, Path(log_file).expanduser(), reads, HINT)
