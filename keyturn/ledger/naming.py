"""Which ledger the hub belongs to: its name and keys stand in the hub, and nothing is written to any other.

Where a process writes is said by its own environment, so whoever may change that could point the record elsewhere. The
hub's word is written once, by compare-and-set, at the first use, and is changed by a move that both ledgers tell of.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any, Final

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, TransientError, Unrecorded
from keyturn.core.hub import Hub, StatePort
from keyturn.core.ledger import Entry, NewestVersion, Signer
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

REMEDY: Final = "Set KEYTURN_LEDGER and KEYTURN_LEDGER_NAME as they were, or move on purpose: keyturn ledger move"


@dataclass(frozen=True)
class EarlierLedger:
    """A ledger that was left: its name, its keys, how many entries it had, and when that was (RFC 3339)."""

    origin: str
    keys: tuple[PublicKey, ...]
    size: int
    moved_at: str


@dataclass(frozen=True)
class LedgerName:
    """The hub's word: the ledger's name, the keys that have signed for it, the newest last, and those before it.

    Without keys nothing was signed yet.
    """

    origin: str
    keys: tuple[PublicKey, ...] = ()
    before: tuple[EarlierLedger, ...] = ()

    def keys_of(self, origin: str) -> tuple[PublicKey, ...]:
        """The keys of this ledger or of an earlier one; none where the hub knows no ledger of that name."""
        earlier = {ledger.origin: ledger.keys for ledger in self.before}
        return ({**earlier, self.origin: self.keys}).get(origin, ())

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        before = [{**vars(ledger), "keys": _spelled(ledger.keys)} for ledger in self.before]
        return {"origin": self.origin, "keys": _spelled(self.keys), "before": before}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "LedgerName":
        """The same, read. Raises Invalid where somebody has edited it."""
        try:
            before = tuple(
                EarlierLedger(str(ledger["origin"]), _parsed(ledger["keys"]), int(ledger["size"]), ledger["moved_at"])
                for ledger in data["before"]
            )
            return cls(str(data["origin"]), _parsed(data["keys"]), before)
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


def claim_name(hub: Hub, origin: str) -> LedgerName:
    """The hub's word, written first where there was none. Raises what the hub raises."""
    name, _ = read_name(hub)
    if name:
        return name
    first = LedgerName(origin, _signing_keys(hub, origin))
    try:
        hub.claim_state(NAMED, first.to_data())
    except (Conflict, Denied):
        # Of two who come first one is told so, or, since it may not change what is there, that it is denied.
        name, _ = read_name(hub)
        if name is None:
            raise
        return name
    return first


def insist_on_named(hub: Hub, ledger: StoredLedger) -> LedgerName:
    """The hub's word, once it is sure that this is the ledger it names, or the first one that is used with it.

    Raises Invalid for one of another name, one that another key has signed, and an empty one in the place of one that
    was signed; and what the hub and the ledger raise.
    """
    name = claim_name(hub, ledger.origin)
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


def _signing_keys(hub: Hub, origin: str, *, needed: bool = False) -> tuple[PublicKey, ...]:
    """All versions of the key that signs; none where there is no such key yet, or the login may not see it."""
    try:
        signer: Signer = hub.signer(SIGNING_KEY)
    except (NotFound, Denied):
        if needed:
            raise
        return ()
    return tuple(PublicKey(origin, key) for key in signer.public_keys())


def move_name(hub: Hub, ledger: StoredLedger, size: int, at: datetime) -> LedgerName:
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
    moved = LedgerName(ledger.origin, _signing_keys(hub, ledger.origin), (*name.before, left))
    hub.write_state(NAMED, moved.to_data(), cas=version)
    return moved


class NamedLedger:
    """A :class:`keyturn.ledger.ports.StoredLedger`: another one, where that is the one that the hub names.

    What writes, and what a rotation goes by, raises Unrecorded where it is not, and where the hub does not answer, and
    Denied where this login may not ask.
    """

    def __init__(self, ledger: StoredLedger, hub: Hub, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.origin = ledger.origin
        self.size, self.newest, self.close = ledger.size, ledger.newest, ledger.close
        self.leaves, self.tails, self.tile = ledger.leaves, ledger.tails, ledger.tile
        self.checkpoints = ledger.checkpoints
        self._ledger = ledger
        self._hub = hub
        self._monotonic = monotonic
        self._turn = Lock()
        self._sure_until = float("-inf")

    def append(self, entries: Sequence[Entry]) -> str | None:
        """Write these, one after the other and all of them or none, and return once they are durable.

        It gives the ledger's name and the number of the last of them, as versions in the hub name their entry.
        """
        self._insist()
        last = self._ledger.append(entries)
        return f"{self.origin} {last}" if last else None

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """What the last entry of each of these secrets tells that tells of a version."""
        self._insist()
        return self._ledger.newest_versions(secrets)

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        """Add a checkpoint and lay its tiles over those stored, unless another one came between."""
        self._insist()
        self._ledger.keep(note, size, tiles, after=after)

    def _insist(self) -> None:
        """Ask the hub, unless that was done a moment ago."""
        if self._monotonic() < self._sure_until:
            return
        with self._turn:
            try:
                insist_on_named(self._hub, self._ledger)
            except (Invalid, TransientError) as error:
                raise Unrecorded(error.doing, error.name, error.problem, error.hint) from None
            self._sure_until = self._monotonic() + AGAIN
