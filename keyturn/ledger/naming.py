"""The hub's ledger: the hub holds its name, keys and place, and Keyturn writes to no other.

Otherwise a changed environment could redirect the record. The first use writes the name, and only a recorded move
changes it.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any, Final

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, TransientError, Unrecorded
from keyturn.core.ports.hub import Hub, StatePort
from keyturn.core.ports.ledger import Entry, NewestVersion, Signer
from keyturn.ledger.ports import StoredLedger, Tiles
from keyturn.ledger.signed_notes import PublicKey, signed_by

NAMED: Final = "ledger"
"""The path of the name in Keyturn's mount."""

SIGNING_KEY: Final = "keyturn-ledger"
"""The key of the hub's transit engine that signs checkpoints."""

BEING_RESTORED: Final = "being restored from "
"""The name's prefix during a restore. It matches no ledger, so nothing else begins."""

AGAIN: Final = 60.0
"""Seconds after which a running process asks the hub again."""

REMEDY: Final = "Unset KEYTURN_LEDGER_NAME, and set KEYTURN_LEDGER as it was, or move on purpose: keyturn ledger move"


@dataclass(frozen=True)
class LedgerPlace:
    """A PostgreSQL address without password, or a file and its ``host``; empty where unknown."""

    address: str = ""
    host: str = ""

    @property
    def shared(self) -> bool:
        """Whether every machine can reach it at that address."""
        return "://" in self.address

    @property
    def words(self) -> str:
        """A phrase for people."""
        if not self.address:
            return "at a place that the hub does not know"
        return f"at {self.address}" if self.shared else f"in the file {self.address} on {self.host}"


NOWHERE: Final = LedgerPlace()


@dataclass(frozen=True)
class EarlierLedger:
    """A former ledger. ``moved_at`` is RFC 3339."""

    origin: str
    keys: tuple[PublicKey, ...]
    size: int
    moved_at: str


@dataclass(frozen=True)
class LedgerName:
    """The hub's record. Its newest signing key is last; without keys nothing is signed yet."""

    origin: str
    keys: tuple[PublicKey, ...] = ()
    before: tuple[EarlierLedger, ...] = ()
    place: LedgerPlace = NOWHERE

    def keys_of(self, origin: str) -> tuple[PublicKey, ...]:
        """The keys of this or a former ledger; empty for an unknown name."""
        earlier = {ledger.origin: ledger.keys for ledger in self.before}
        return ({**earlier, self.origin: self.keys}).get(origin, ())

    def to_data(self) -> dict[str, Any]:
        """The form that the hub stores."""
        before = [{**vars(ledger), "keys": _spelled(ledger.keys)} for ledger in self.before]
        return {"origin": self.origin, "keys": _spelled(self.keys), "before": before, **vars(self.place)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "LedgerName":
        """The reverse. Raises Invalid where the record was edited."""
        try:
            before = tuple(
                EarlierLedger(str(ledger["origin"]), _parsed(ledger["keys"]), int(ledger["size"]), ledger["moved_at"])
                for ledger in data["before"]
            )
            # Earlier versions recorded no place.
            place = LedgerPlace(str(data.get("address", "")), str(data.get("host", "")))
            return cls(str(data["origin"]), _parsed(data["keys"]), before, place)
        except (KeyError, TypeError, ValueError, AttributeError):
            problem = "it does not name a ledger: it was edited by hand"
            raise Invalid("read", f"{NAMED} in the hub", problem, "Bring it back from a snapshot of the hub") from None


def _spelled(keys: Sequence[PublicKey]) -> list[str]:
    return [str(key) for key in keys]


def _parsed(texts: Sequence[str]) -> tuple[PublicKey, ...]:
    return tuple(PublicKey.parse(text) for text in texts)


def read_name(hub: StatePort) -> tuple[LedgerName | None, int]:
    """The hub's record and its version; None and 0 before the first use."""
    state = hub.read_state(NAMED)
    return (LedgerName.from_data(state.data), state.version) if state else (None, 0)


def claim_name(hub: Hub, origin: str, place: LedgerPlace = NOWHERE) -> LedgerName:
    """Return the hub's record, written first where missing."""
    name, _ = read_name(hub)
    if name:
        return name
    first = LedgerName(origin, _signing_keys(hub, origin), place=place)
    try:
        hub.claim_state(NAMED, first.to_data())
    except (Conflict, Denied):
        # Another process was first. The hub reports Denied where this login may create the entry but not change it.
        name, _ = read_name(hub)
        if name is None:
            raise
        return name
    return first


def insist_on_named(
    hub: Hub, ledger: StoredLedger, name: LedgerName | None = None, *, placed: bool = True
) -> LedgerName:
    """Return the hub's record, after checking that it names this ledger or that this is the first.

    ``name`` is the record if just read. Without ``placed`` only a checkpoint identifies the ledger. Raises Invalid for
    another name or signing key, and for an unsigned ledger in place of a signed one. Raises what the hub and the
    ledger raise.
    """
    name = name or claim_name(hub, ledger.origin)
    if name.origin.startswith(BEING_RESTORED):
        hint = "Wait for `keyturn backup restore`, or run it again: it continues from what is there"
        raise Invalid("write to", f"the ledger {ledger.origin}", f"the hub is {name.origin}, and not whole", hint)
    if name.origin != ledger.origin:
        raise _wrong(ledger, f"the hub names {name.origin}")
    newest = ledger.newest()
    if newest and name.keys and not any(signed_by(newest, key) for key in name.keys):
        raise _wrong(ledger, "its newest checkpoint was signed by another key than those that the hub names")
    if not newest and hub.read_state(f"ledgers/{name.origin}"):
        raise _wrong(ledger, "it was never signed, and the one that the hub names was: this is another one")
    if not newest and not placed:
        raise _wrong(ledger, f"it was never signed, and the hub names the one {name.place.words}")
    return name


def _wrong(ledger: StoredLedger, problem: str) -> Invalid:
    return Invalid("write to", f"the ledger {ledger.origin}", problem, REMEDY)


def keep_keys(hub: Hub, name: LedgerName) -> LedgerName:
    """Return the name with the current signing key added.

    Raises Invalid where the engine has no recorded key, and Conflict after a concurrent change.
    """
    engine = _signing_keys(hub, name.origin, needed=True)
    if engine[-1] in name.keys:
        return name
    if name.keys and not set(engine) & set(name.keys):
        problem = f"the key {SIGNING_KEY} of the hub's transit engine is not the one that the hub names for it"
        raise Invalid("sign", name.origin, problem, "It was replaced: see docs/ledger.md, the key")
    current, version = read_name(hub)
    if current != name:
        raise Conflict("name the key of", name.origin, "the hub names another ledger by now", "Run it again")
    turned = replace(name, keys=(*name.keys, *(key for key in engine if key not in name.keys)))
    hub.write_state(NAMED, turned.to_data(), cas=version)
    return turned


def keep_place(hub: Hub, name: LedgerName, place: LedgerPlace) -> None:
    """Record the ledger's place where the hub does not know it."""
    current, version = read_name(hub)
    if current and current.origin == name.origin and current.place == NOWHERE:
        hub.write_state(NAMED, replace(current, place=place).to_data(), cas=version)


def _signing_keys(hub: Hub, origin: str, *, needed: bool = False) -> tuple[PublicKey, ...]:
    """All versions of the signing key; empty where missing or unreadable."""
    try:
        signer: Signer = hub.signer(SIGNING_KEY)
    except (NotFound, Denied):
        if needed:
            raise
        return ()
    return tuple(PublicKey(origin, key) for key in signer.public_keys())


def move_name(hub: Hub, ledger: StoredLedger, size: int, at: datetime, place: LedgerPlace = NOWHERE) -> LedgerName:
    """Make the hub name another ledger and keep the former one with its ``size``. Safe to repeat.

    Raises Invalid where it names none, and Conflict after a concurrent move.
    """
    name, version = read_name(hub)
    if name is None:
        raise Invalid("move to", ledger.origin, "the hub names no ledger yet", "Use it: the first use names it")
    if name.origin == ledger.origin:
        return name
    if ledger.origin in {earlier.origin for earlier in name.before}:
        problem = "it is one that was left before"
        raise Invalid("move to", ledger.origin, problem, "Give the new one its own name: KEYTURN_LEDGER_NAME")
    left = EarlierLedger(name.origin, name.keys, size, at.isoformat())
    moved = LedgerName(ledger.origin, _signing_keys(hub, ledger.origin), (*name.before, left), place)
    hub.write_state(NAMED, moved.to_data(), cas=version)
    return moved


class NamedLedger:
    """The :class:`keyturn.ledger.ports.StoredLedger` that the hub names, opened on first use.

    ``find`` raises where this machine reaches no ledger or another, and is called again after a minute. Reads raise
    the same. Writes, and reads for rotations, raise Unrecorded instead, and Denied without access to the hub's record.
    """

    def __init__(self, find: Callable[[], StoredLedger], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._monotonic = monotonic
        self._turn = Lock()
        self._found: StoredLedger | None = None
        self._sure_until = float("-inf")

    @property
    def origin(self) -> str:
        """Its name in checkpoints."""
        return self._reach().origin

    @property
    def address(self) -> str:
        """Where it is."""
        return self._reach().address

    def append(self, entries: Sequence[Entry]) -> str | None:
        """Write all entries in order or none, durably; the ledger's name and the last number."""
        ledger = self._sure()
        last = ledger.append(entries)
        return f"{ledger.origin} {last}" if last else None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write the entries that the ledger lacks, and return their number."""
        return self._sure().append_missing(entries)

    def try_writing(self) -> None:
        """Raise Unrecorded where an append would fail. Nothing is kept."""
        self._sure().try_writing()

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """The newest version that the ledger records for each secret."""
        return self._sure().newest_versions(secrets)

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        """Add a checkpoint and overwrite its tiles, unless another one came between."""
        self._sure().keep(note, size, tiles, after=after)

    def size(self) -> int:
        """The number of entries."""
        return self._reach().size()

    def newest(self) -> str:
        """The newest checkpoint; empty without one."""
        return self._reach().newest()

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Stored numbers, each with its leaf."""
        return self._reach().leaves(first, last)

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The same, as stored."""
        return self._reach().tails(first, last)

    def tile(self, level: int, number: int) -> bytes:
        """The stored hashes of a tile."""
        return self._reach().tile(level, number)

    def checkpoints(self) -> Iterator[str]:
        """The signed notes, oldest first."""
        return self._reach().checkpoints()

    def close(self) -> None:
        """Close the ledger."""
        if self._found:
            self._found.close()

    def _sure(self) -> StoredLedger:
        try:
            return self._reach()
        except (Invalid, TransientError) as error:
            raise Unrecorded(error.doing, error.name, error.problem, error.hint) from None

    def _reach(self) -> StoredLedger:
        """The ledger, after asking the hub again when due."""
        if self._found and self._monotonic() < self._sure_until:
            return self._found
        with self._turn:
            self._found = self._reused(self._find())
            self._sure_until = self._monotonic() + AGAIN
            return self._found

    def _reused(self, ledger: StoredLedger) -> StoredLedger:
        """The current connection where it reaches the same ledger."""
        if self._found and (self._found.origin, self._found.address) == (ledger.origin, ledger.address):
            ledger.close()
            return self._found
        if self._found:
            self._found.close()
        return ledger
