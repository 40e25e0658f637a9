"""The parts of a trail, and its name."""

import secrets
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct

from keyturn.access_log.trail.cursors import Cursors
from keyturn.access_log.trail.files import TrailFiles, telling, write_durably
from keyturn.core.errors import Invalid, Rewritten
from keyturn.ledger.ports import StoredLedger

REMEDY: Final = "Nothing is read or sealed until you decide: docs/access-monitoring-reference.md#restore-the-trail"


@dataclass(frozen=True)
class TrailParts:
    """The parts of a trail."""

    files: TrailFiles
    ledger: StoredLedger
    cursors: Cursors


class TrailIdentity(Struct, frozen=True):
    """The file with the trail's name in ledger entries."""

    trail: str


def known_name(files: TrailFiles) -> str:
    """The trail's name, if any. Raises Unavailable, Invalid, Rewritten where it is lost."""
    path = files.identity
    with telling("read", path):
        if path.exists():
            return _identity(files, path.read_bytes())
    if files.all_heads():
        raise Rewritten("read", f"the access trail {path}", "it is gone, and segments are there", REMEDY)
    return ""


def trail_name(files: TrailFiles) -> str:
    """The trail's name, created on first use."""
    if name := known_name(files):
        return name
    path, name = files.identity, secrets.token_hex(8)
    with telling("write", path):
        write_durably(path, msgspec.json.encode(TrailIdentity(name)) + b"\n")
    return name


def _identity(files: TrailFiles, content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=TrailIdentity).trail
    except msgspec.MsgspecError:
        problem, hint = "it does not name a trail: somebody has edited it", "Bring it back from a copy"
        raise Invalid("read", f"the access trail {files.identity}", problem, hint) from None
