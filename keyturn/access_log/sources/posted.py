"""Accesses that applications report, and their lines in the spool."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder, Encoder

from keyturn.access_log.log_files import NotALine
from keyturn.access_log.sources.line_spool import LineSpool
from keyturn.access_log.sources.spool_source import SpoolSource
from keyturn.core.ports.access import LOGIN, READ, Access
from keyturn.core.ports.access_source import SourceOpening
from keyturn.core.text.audit_lines import LARGEST

MOST: Final = 1000
"""Accesses per message."""

_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[str, Meta(max_length=256, pattern=_LINE)]
Path_ = Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]
Moment = Annotated[datetime, Meta(tz=True)]
Version = Annotated[int, Meta(ge=0, le=LARGEST)]


class PostedAccess(Struct, frozen=True, omit_defaults=True):
    """A posted access. The signing key determines the principal.

    ``at`` is RFC 3339 with its zone, the others as in :class:`keyturn.core.ports.access.Access`.
    """

    at: Moment
    path: Path_
    version: Version | None = None
    action: Text = READ
    source: Text = ""
    agent: Text = ""
    login: Text = ""
    denied: bool = False


class PostedMessage(Struct, frozen=True):
    """The body of a message."""

    accesses: Annotated[list[PostedAccess], Meta(min_length=1, max_length=MOST)]


class SpooledAccess(Struct, frozen=True):
    """A spooled access with its message, number from 0 and count."""

    received: float
    poster: str
    principal: str
    id: str
    number: int
    count: int
    access: PostedAccess


_MESSAGES: Final = Decoder(PostedMessage)
_LINES: Final = Decoder(SpooledAccess)
_ENCODER: Final = Encoder()
ACTIONS: Final = (READ, LOGIN)


def decode_message(body: bytes) -> list[PostedAccess]:
    """Decode a body. Raises ValueError, which quotes nothing of it."""
    try:
        accesses = _MESSAGES.decode(body).accesses
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if any(access.action not in ACTIONS for access in accesses):
        raise ValueError(f"an action is none of {', '.join(ACTIONS)}")
    return accesses


def encode_line(line: SpooledAccess) -> bytes:
    """Encode a line of the spool."""
    return _ENCODER.encode(line)


def decode_spooled(line: bytes) -> SpooledAccess | None:
    """Decode a line, None if invalid, as after a crash."""
    with suppress(ValueError):
        return _LINES.decode(line)
    return None


class PostedReader:
    """Reads the spool's lines. ``system`` is the log's name."""

    def __init__(self, system: str) -> None:
        self._system = system

    def may_tell(self, line: bytes) -> bool:
        """Always true. Raises ValueError for foreign lines."""
        if line[:1] != b"{" or line[-1:] != b"}":
            raise NotALine("it is no JSON object")
        return True

    def access(self, line: bytes) -> Access:
        """Return its access. Raises ValueError."""
        spooled = _LINES.decode(line)
        posted = spooled.access
        return Access(
            at=posted.at.astimezone(UTC),
            system=self._system,
            path=posted.path,
            version=posted.version,
            principal=spooled.principal,
            source=posted.source,
            denied=posted.denied,
            login=posted.login,
            action=posted.action,
            agent=posted.agent,
        )

    def written_at(self, line: bytes) -> datetime | None:
        """When it was received."""
        spooled = decode_spooled(line)
        return datetime.fromtimestamp(spooled.received, UTC) if spooled else None

    def remember(self) -> tuple[Raw, list[str]]:
        """Nothing is remembered."""
        return Raw(b"null"), []

    def recall(self, memory: Raw) -> None:
        """Raises ValueError for a foreign state."""
        if bytes(memory) != b"null":
            raise NotALine("nothing is remembered of what is posted")


class PostedSource(SpoolSource):
    """Reads the lines that :class:`keyturn.access_log.sources.post_door.PostDoor` stored."""

    def __init__(self, opening: SourceOpening) -> None:
        super().__init__(opening, LineSpool(Path(opening.directory)), PostedReader(opening.name))
