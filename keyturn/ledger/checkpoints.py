"""Signed checkpoints: a ledger's size and root, as in C2SP's tlog-checkpoint."""

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from keyturn.core.errors import Rewritten
from keyturn.core.ports.ledger import Signer
from keyturn.ledger.merkle import HASH_SIZE
from keyturn.ledger.signed_notes import PublicKey, Verify, open_note, sign_note, unverified_text

SIZE: Final = re.compile(r"0|[1-9][0-9]{0,17}")

TIME: Final = "time "
"""The prefix of the line with the time that its maker claims."""


@dataclass(frozen=True)
class Checkpoint:
    """The root of the first ``size`` entries of ``origin``. ``note`` is the signed form, if signed."""

    origin: str
    size: int
    root: bytes
    time: datetime | None = None
    note: str = field(default="", repr=False, compare=False)

    def text(self) -> str:
        """The text to sign: origin, size, root and time."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        if self.time:
            lines.append(f"{TIME}{self.time.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z")
        return "".join(f"{line}\n" for line in lines)

    def sign(self, signer: Signer) -> "Checkpoint":
        """The same with its note, signed in the name of its origin."""
        note = sign_note(self.text(), self.origin, signer)
        return Checkpoint(self.origin, self.size, self.root, self.time, note)

    def __str__(self) -> str:
        made = f" of {self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.time else ""
        return f"the checkpoint{made} over {self.size} entries"


def read_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in a note, unverified. Raises Rewritten for a malformed one."""
    return _read(unverified_text(note), note)


def trusted(note: str, keys: Collection[PublicKey], verify: Verify) -> Checkpoint:
    """The checkpoint in a note that one of ``keys`` signed. Raises Rewritten where none did."""
    checkpoint = read_checkpoint(note)
    open_note(note, [key for key in keys if key.name == checkpoint.origin], verify)
    return checkpoint


def _read(text: str, note: str) -> Checkpoint:
    lines = text.split("\n")[:-1]
    if len(lines) < 3 or not all(lines) or not SIZE.fullmatch(lines[1]):
        raise _malformed("it lacks origin, size or root")
    return Checkpoint(lines[0], int(lines[1]), _root(lines[2]), _time(lines[3:]), note)


def _root(line: str) -> bytes:
    try:
        root = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        root = b""
    if len(root) != HASH_SIZE or base64.b64encode(root).decode() != line:
        raise _malformed("its root is no hash")
    return root


def _time(lines: list[str]) -> datetime | None:
    """When it was made. Other extension lines are ignored."""
    times = [line.removeprefix(TIME) for line in lines if line.startswith(TIME)]
    try:
        return datetime.fromisoformat(times[0]).astimezone(UTC) if times else None
    except (ValueError, OverflowError):
        raise _malformed("its time can't be read") from None


def _malformed(problem: str) -> Rewritten:
    return Rewritten("read", "a checkpoint", problem, "Compare it with the copy in the hub")
