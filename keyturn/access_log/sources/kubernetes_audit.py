"""The audit log of a Kubernetes API server: who read Secrets.

Source: "Auditing" of the Kubernetes documentation, audit.k8s.io/v1; a policy has to log Secrets at the level Metadata.
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
"""Those that give values; the last two of all Secrets that they name."""
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
    """Reads what the lines of the log tell, as a :class:`keyturn.access_log.sources.line_source.LineReader`.

    ``clusters`` are the stores of this cluster's namespaces; without any, all of the catalogue's.
    """

    def __init__(self, opening: SourceOpening, clusters: Sequence[str]) -> None:
        chosen = frozenset(clusters)
        self._copies = CopyNames(
            lambda: [store for store in opening.stores() if not chosen or store.name in chosen], "kubernetes"
        )

    def may_tell(self, line: bytes) -> bool:
        """Whether it is worth decoding. Raises ValueError for what can't be a line of this log."""
        if line[:1] != b"{" or line[-1:] != b"}":
            raise NotALine("it is no JSON object")
        return b'"secrets"' in line

    def access(self, line: bytes) -> Access | None:
        """What it tells, None where that is no read of a Secret. Raises ValueError."""
        event = _DECODER.decode(line)
        reference = event.reference
        if reference is None or reference.resource != "secrets" or reference.group or event.verb not in VERBS:
            return None
        # A watch gives values from its start on, and may end after hours.
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
        """When it was written; None where it does not tell."""
        with suppress(ValueError):
            return parse_time(_DECODER.decode(line).time)
        return None

    def remember(self) -> tuple[Raw, list[str]]:
        """Nothing: each line tells all of it."""
        return NOTHING, []

    def recall(self, memory: Raw) -> None:
        """Raises ValueError for what it never remembered."""
        if bytes(memory) != bytes(NOTHING):
            raise ValueError("it is none of this log's")


def _source(addresses: list[str]) -> str:
    """The address that asked, which is the last; whoever asked may write what it likes before that."""
    *claimed, address = addresses or [""]
    return f"{address}, said to be for {', '.join(claimed)}" if claimed else address


class KubernetesFile(LineSource):
    """The file of ``--audit-log-path``, with what the API server has rotated beside it."""

    def __init__(self, opening: SourceOpening, *, log_file: str, stores: Sequence[str] = ()) -> None:
        reads = KubernetesReads(opening, stores)
        super().__init__(opening.name, opening.pace, Path(log_file).expanduser(), reads, HINT)
