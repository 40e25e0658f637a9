"""Accesses that applications have told of themselves: as they lie in the spool, and read from there."""

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
"""Accesses of one message."""

_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[str, Meta(max_length=256, pattern=_LINE)]
Path_ = Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]
Moment = Annotated[datetime, Meta(tz=True)]
Version = Annotated[int, Meta(ge=0, le=LARGEST)]


class PostedAccess(Struct, frozen=True, omit_defaults=True):
    """One access as it is posted: who did it is not among what is said, it is whose key has signed.

    ``at`` is RFC 3339 with its zone; the others are as those of :class:`keyturn.core.ports.access.Access`.
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
    """The body of one message."""

    accesses: Annotated[list[PostedAccess], Meta(min_length=1, max_length=MOST)]


class SpooledAccess(Struct, frozen=True):
    """A line of the spool: an access, and the message that it came in, with its number there, from 0, of so many."""

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
    """The accesses in a body. Raises ValueError, which quotes nothing of it."""
    try:
        accesses = _MESSAGES.decode(body).accesses
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if any(access.action not in ACTIONS for access in accesses):
        raise ValueError(f"an action is none of {', '.join(ACTIONS)}")
    return accesses


def encode_line(line: SpooledAccess) -> bytes:
    """As it lies in the spool."""
    return _ENCODER.encode(line)


def decode_spooled(line: bytes) -> SpooledAccess | None:
    """The same, read back; None for what is none, such as what somebody who died has left half written."""
    with suppress(ValueError):
        return _LINES.decode(line)
    return None


class PostedReader:
    """Reads the lines of the spool. ``system`` is what the accesses are told to be of: the log's name."""

    def __init__(self, system: str) -> None:
        self._system = system

    def may_tell(self, line: bytes) -> bool:
        """Every line does. Raises ValueError for one that can't be of the spool."""
        if line[:1] != b"{" or line[-1:] != b"}":
            raise NotALine("it is no JSON object")
        return True

    def access(self, line: bytes) -> Access:
        """What it tells. Raises ValueError."""
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
        """Nothing."""
        return Raw(b"null"), []

    def recall(self, memory: Raw) -> None:
        """Nothing. Raises ValueError where something was remembered."""
        if bytes(memory) != b"null":
            raise NotALine("nothing is remembered of what is posted")


class PostedSource(SpoolSource):
    """Reads what this machine has taken: :class:`keyturn.access_log.sources.post_door.PostDoor` takes it."""

    def __init__(self, opening: SourceOpening) -> None:
        super().__init__(opening, LineSpool(Path(opening.directory)), PostedReader(opening.name))
