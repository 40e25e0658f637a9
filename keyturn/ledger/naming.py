"""Which ledger the hub belongs to: the hub has its name, its keys and its place, and nothing is written to any other.

Anybody who may change a process's environment could point the record elsewhere. So the hub's word is written once, by
compare-and-set, at the first use, and is changed by a move that both ledgers record.
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
"""Where the name stands in Keyturn's own mount."""

SIGNING_KEY: Final = "keyturn-ledger"
"""The key of the hub's transit engine that signs checkpoints."""

BEING_RESTORED: Final = "being restored from "
"""How the name begins while a hub is restored: it is no ledger's, so nothing is begun by such a hub."""

AGAIN: Final = 60.0
"""Seconds after which a process that runs on asks the hub again."""

REMEDY: Final = "Unset KEYTURN_LEDGER_NAME, and set KEYTURN_LEDGER as it was, or move on purpose: keyturn ledger move"


@dataclass(frozen=True)
class LedgerPlace:
    """Where a ledger is: an address of PostgreSQL without a password, or a file's path and the ``host`` that has it.

    Both are empty where nothing recorded it.
    """

    address: str = ""
    host: str = ""

    @property
    def shared(self) -> bool:
        """Whether every machine can reach it at that address."""
        return "://" in self.address

    @property
    def words(self) -> str:
        """For people."""
        if not self.address:
            return "at a place that the hub does not know"
        return f"at {self.address}" if self.shared else f"in the file {self.address} on {self.host}"


NOWHERE: Final = LedgerPlace()


@dataclass(frozen=True)
class EarlierLedger:
    """A ledger that was left: its name, its keys, how many entries it had, and when that was (RFC 3339)."""

    origin: str
    keys: tuple[PublicKey, ...]
    size: int
    moved_at: str


@dataclass(frozen=True)
class LedgerName:
    """The hub's word: the ledger's name, the keys that have signed for it, the newest last, those before it, its place.

    Without keys nothing was signed yet.
    """

    origin: str
    keys: tuple[PublicKey, ...] = ()
    before: tuple[EarlierLedger, ...] = ()
    place: LedgerPlace = NOWHERE

    def keys_of(self, origin: str) -> tuple[PublicKey, ...]:
        """The keys of this ledger or of an earlier one; none where the hub knows no ledger of that name."""
        earlier = {ledger.origin: ledger.keys for ledger in self.before}
        return ({**earlier, self.origin: self.keys}).get(origin, ())

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        before = [{**vars(ledger), "keys": _spelled(ledger.keys)} for ledger in self.before]
        return {"origin": self.origin, "keys": _spelled(self.keys), "before": before, **vars(self.place)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "LedgerName":
        """The same, read. Raises Invalid where somebody has edited it."""
        try:
            before = tuple(
                EarlierLedger(str(ledger["origin"]), _parsed(ledger["keys"]), int(ledger["size"]), ledger["moved_at"])
                for ledger in data["before"]
            )
            # Earlier versions recorded no place.
            place = LedgerPlace(str(data.get("address", "")), str(data.get("host", "")))
            return cls(str(data["origin"]), _parsed(data["keys"]), before, place)
        except (KeyError, TypeError, ValueError, AttributeError):
            problem = "it does not name a ledger: somebody has edited it"
            raise Invalid("read", f"{NAMED} in the hub", problem, "Bring it back from a snapshot of the hub") from None


def _spelled(keys: Sequence[PublicKey]) -> list[str]:
    return [str(key) for key in keys]


def _parsed(texts: Sequence[str]) -> tuple[PublicKey, ...]:
    return tuple(PublicKey.parse(text) for text in texts)


def read_name(hub: StatePort) -> tuple[LedgerName | None, int]:
    """What the hub names, and the version of that; None and 0 where no ledger was used with it yet."""
    state = hub.read_state(NAMED)
    return (LedgerName.from_data(state.data), state.version) if state else (None, 0)


def claim_name(hub: Hub, origin: str, place: LedgerPlace = NOWHERE) -> LedgerName:
    """The hub's word, written first where there was none. Raises what the hub raises."""
    name, _ = read_name(hub)
    if name:
        return name
    first = LedgerName(origin, _signing_keys(hub, origin), place=place)
    try:
        hub.claim_state(NAMED, first.to_data())
    except (Conflict, Denied):
        # Of two who come first one is told so, or, since it may not change what is there, that it is denied.
        name, _ = read_name(hub)
        if name is None:
            raise
        return name
    return first


def insist_on_named(
    hub: Hub, ledger: StoredLedger, name: LedgerName | None = None, *, placed: bool = True
) -> LedgerName:
    """The hub's word, once it is sure that this is the ledger it names, or the first one that is used with it.

    ``name`` is that word where it was just read. ``placed``: the ledger is where the hub says; else only a checkpoint
    shows which it is. Raises Invalid for one of another name, one that another key has signed, and an empty one in the
    place of one that was signed; and what the hub and the ledger raise.
    """
    name = name or claim_name(hub, ledger.origin)
    if name.origin.startswith(BEING_RESTORED):
        hint = "Wait for `keyturn restore`, or run it again: it goes on from what is there"
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
    """The name with the key that signs now, which follows those that the hub's engine has turned.

    Raises Invalid where the engine's key is another one altogether, and Contended.
    """
    engine = _signing_keys(hub, name.origin, needed=True)
    if engine[-1] in name.keys:
        return name
    if name.keys and not set(engine) & set(name.keys):
        problem = f"the key {SIGNING_KEY} of the hub's transit engine is not the one that the hub names for it"
        raise Invalid("sign", name.origin, problem, "Somebody has made it anew: see docs/ledger.md, the key")
    current, version = read_name(hub)
    if current != name:
        raise Conflict("name the key of", name.origin, "the hub names another ledger by now", "Run it again")
    turned = replace(name, keys=(*name.keys, *(key for key in engine if key not in name.keys)))
    hub.write_state(NAMED, turned.to_data(), cas=version)
    return turned


def keep_place(hub: Hub, name: LedgerName, place: LedgerPlace) -> None:
    """Record where the ledger is, where the hub does not know it: an earlier version, or `hub apply`, has named it."""
    current, version = read_name(hub)
    if current and current.origin == name.origin and current.place == NOWHERE:
        hub.write_state(NAMED, replace(current, place=place).to_data(), cas=version)


def _signing_keys(hub: Hub, origin: str, *, needed: bool = False) -> tuple[PublicKey, ...]:
    """All versions of the key that signs; none where there is no such key yet, or the login may not see it."""
    try:
        signer: Signer = hub.signer(SIGNING_KEY)
    except (NotFound, Denied):
        if needed:
            raise
        return ()
    return tuple(PublicKey(origin, key) for key in signer.public_keys())


def move_name(hub: Hub, ledger: StoredLedger, size: int, at: datetime, place: LedgerPlace = NOWHERE) -> LedgerName:
    """Name another ledger from now on; the one before, with its ``size``, stays known. Again is success.

    Raises Invalid where nothing was named before, and Conflict where somebody else has moved it meanwhile.
    """
    name, version = read_name(hub)
    if name is None:
        raise Invalid("move to", ledger.origin, "the hub names no ledger yet", "Use it: the first use names it")
    if name.origin == ledger.origin:
        return name
    if ledger.origin in {earlier.origin for earlier in name.before}:
        problem = "it is one that was left before"
        raise Invalid("move to", ledger.origin, problem, "Give the new one a name of its own: KEYTURN_LEDGER_NAME")
    left = EarlierLedger(name.origin, name.keys, size, at.isoformat())
    moved = LedgerName(ledger.origin, _signing_keys(hub, ledger.origin), (*name.before, left), place)
    hub.write_state(NAMED, moved.to_data(), cas=version)
    return moved


class NamedLedger:
    """A :class:`keyturn.ledger.ports.StoredLedger`: the one that the hub names, which ``find`` opens at the first use.

    ``find`` raises where this machine can't reach it, or reaches another one, and is asked again once a minute. What
    reads raises the same; what writes, and what a rotation goes by, raises Unrecorded, and Denied where this login may
    not ask the hub.
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
        """Write these, one after the other and all of them or none, and return once they are durable.

        It gives the ledger's name and the number of the last of them, as versions in the hub name their entry.
        """
        ledger = self._sure()
        last = ledger.append(entries)
        return f"{ledger.origin} {last}" if last else None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write those of these that it has not got, and return how many that were."""
        return self._sure().append_missing(entries)

    def try_writing(self) -> None:
        """Raise Unrecorded where an append would; nothing of it stays."""
        self._sure().try_writing()

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """What the last entry of each of these secrets tells that tells of a version."""
        return self._sure().newest_versions(secrets)

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        """Add a checkpoint and lay its tiles over those stored, unless another one came between."""
        self._sure().keep(note, size, tiles, after=after)

    def size(self) -> int:
        """How many entries it has."""
        return self._reach().size()

    def newest(self) -> str:
        """The newest checkpoint; empty without one."""
        return self._reach().newest()

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Stored numbers, each with its leaf."""
        return self._reach().leaves(first, last)

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The same, as it is stored."""
        return self._reach().tails(first, last)

    def tile(self, level: int, number: int) -> bytes:
        """The hashes stored of a tile."""
        return self._reach().tile(level, number)

    def checkpoints(self) -> Iterator[str]:
        """The signed notes, oldest first."""
        return self._reach().checkpoints()

    def close(self) -> None:
        """Let go of it."""
        if self._found:
            self._found.close()

    def _sure(self) -> StoredLedger:
        try:
            return self._reach()
        except (Invalid, TransientError) as error:
            raise Unrecorded(error.doing, error.name, error.problem, error.hint) from None

    def _reach(self) -> StoredLedger:
        """The ledger, after asking the hub, unless that was done a moment ago."""
        if self._found and self._monotonic() < self._sure_until:
            return self._found
        with self._turn:
            self._found = self._reused(self._find())
            self._sure_until = self._monotonic() + AGAIN
            return self._found

    def _reused(self, ledger: StoredLedger) -> StoredLedger:
        """The connection in use, where it leads to the same ledger."""
        if self._found and (self._found.origin, self._found.address) == (ledger.origin, ledger.address):
            ledger.close()
            return self._found
        if self._found:
            self._found.close()
        return ledger
