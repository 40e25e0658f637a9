"""Handing the writing over from one of two hubs to the other, and taking it over where that one is gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, TerminalError, Unavailable
from keyturn.core.ports.failover import EPOCH, SETTLED, Epoch, later, read_epoch, why_not
from keyturn.core.ports.hub import AskedHub, Peer
from keyturn.core.sensitive import SecretFields

FORCE: Final = "keyturn failover promote --force"


PROBE: Final = timedelta(seconds=30)
"""So long does what is wrapped in one hub stay there, to see whether the other one knows it."""


class EpochWriter(AskedHub, Protocol):
    """The hub at hand, in which an epoch is said."""

    def write_epoch(self, data: Mapping[str, Any], *, cas: int) -> int:
        """Say which of two is written. Raises Conflict when somebody else has said so meanwhile."""


@dataclass(frozen=True)
class Side:
    """One hub as it was seen: what it says, or why nobody could ask it."""

    name: str
    epoch: Epoch | None = None
    error: KeyturnError | None = None


@dataclass(frozen=True)
class Pair:
    """The hub at hand, ``own``, and the ``other`` one, with what is looked at and written. ``lease`` is in seconds.

    ``addresses`` are where this process reaches the two, by their names.
    """

    own: str
    other: str
    hub: EpochWriter
    peer: AskedHub
    lease: float | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def look(self) -> tuple[Side, Side]:
        """Both hubs, the own one first. Raises what keeps the own one from being read."""
        mine = Side(self.own, self._epoch(self.hub, self.own))
        try:
            return mine, Side(self.other, self._epoch(self.peer, self.other))
        except KeyturnError as error:
            return mine, Side(self.other, error=error)

    def leads_to_one(self) -> bool | None:
        """Whether both addresses lead to one hub, without writing any entry; None where nobody can tell.

        Two clusters are two. One id may be a hub's and that of another which was made from its snapshot, so then
        something empty is wrapped in the one for half a minute, and the other one is asked whether it knows it. Raises
        what keeps the other one from being asked.
        """
        own, other = _cluster_of(self.hub), _cluster_of(self.peer)
        if own and other and own != other:
            return False
        try:
            wrapped = self.hub.grants().wrap(SecretFields({}), PROBE)
        except KeyturnError:
            return None
        return self.peer.grants().made_at_path(wrapped.token) is not None

    def insist_on_two(self) -> None:
        """That the addresses lead to two hubs, as far as anybody can tell. Raises Invalid, and as leads_to_one does."""
        if self.leads_to_one():
            raise one_hub(self.other, f"{self.own} and {self.other} are one hub")

    def _epoch(self, hub: AskedHub, name: str) -> Epoch | None:
        try:
            return read_epoch(hub.read_state(EPOCH))
        except ValueError as error:
            hint = "Use the newest Keyturn that works with these hubs, or take the writing over anew with --force"
            raise Invalid("read", f"{EPOCH} of {name}", str(error), hint) from None


def _cluster_of(hub: AskedHub) -> str:
    """Empty where the hub does not tell it, as Vault within a namespace. Raises TransientError."""
    try:
        return hub.cluster()
    except TerminalError:
        return ""


def pair_of(hub: EpochWriter, peer: Peer) -> Pair:
    """The hub at hand, and the other one of which it is told."""
    return Pair(peer.own, peer.name, hub, peer.hub, peer.lease, peer.addresses)


def one_hub(name: str, problem: str) -> Invalid:
    """The word on two addresses of one hub."""
    hint = "Correct KEYTURN_PEER_ADDR in the environment of every process, then say it again"
    return Invalid("find", name, f"{problem}: both addresses lead to one hub", hint)


@dataclass(frozen=True)
class Handover:
    """What was said: the epoch, and whether it stood there before."""

    epoch: Epoch
    unchanged: bool = False


def standing(mine: Side, theirs: Side) -> str:
    """Why the own hub may not be written, in words; empty where it may."""
    return why_not(mine.name, mine.epoch, theirs.name, theirs.epoch)


def split(mine: Side, theirs: Side) -> bool:
    """Whether each of the two would be written by its own word."""
    if mine.epoch is None or theirs.epoch is None:
        return False
    return mine.epoch.writable == mine.name and theirs.epoch.writable == theirs.name


def demote(pair: Pair, by: str) -> Handover:
    """Let the own hub be written no more: the other one may take over, or has done so already. Safe to repeat.

    Raises NotFound where nothing says which is written.
    """
    mine, theirs = pair.look()
    epoch = mine.epoch
    if theirs.epoch and theirs.epoch.number > (epoch.number if epoch else 0):
        followed = Epoch(theirs.epoch.number, theirs.epoch.writable, by=by)
        if followed.writable == pair.own:
            problem = f"{pair.other} names {pair.own} in epoch {followed.number}"
            raise Conflict("demote", pair.own, problem, "Take over first: keyturn failover promote")
        return _say(pair, followed, mine, theirs)
    if epoch is None:
        hint = f"Say which it is first, there: {FORCE.removesuffix(' --force')}"
        raise NotFound("demote", pair.own, "nothing says which of the two hubs is written", hint)
    if epoch.writable != pair.own:
        return Handover(epoch, unchanged=True)
    return _say(pair, Epoch(later(epoch, theirs.epoch), pair.other, by=by), mine, theirs)


def promote(pair: Pair, by: str, now: datetime, *, force: bool = False) -> Handover:
    """Let the own hub be written from now on, or as soon as the other one can have nothing on its way. Safe to repeat.

    Raises Conflict while the other one is written, and Unavailable where nobody can ask it, unless ``force`` is given.
    What that one says is not known then: the number is the second of ``now``, greater than any that is counted.
    """
    mine, theirs = pair.look()
    epoch, other = mine.epoch, theirs.epoch
    settled = SETTLED.total_seconds()
    if epoch and epoch.writable == pair.own and not why_not(pair.own, epoch, pair.other, other):
        return Handover(epoch, unchanged=True)
    if theirs.error:
        if not force:
            raise _unasked(pair, theirs.error)
        number = max(later(epoch), int(now.timestamp()))
        return _say(pair, Epoch(number, pair.own, max(settled, pair.lease or 0.0), by), mine, theirs)
    if epoch is None and other is None:
        return _say(pair, Epoch(1, pair.own, by=by), mine, theirs)
    if other and other.writable == pair.own and other.number >= (epoch.number if epoch else 0):
        return _say(pair, Epoch(other.number, pair.own, max(0.0, settled - other.age), by), mine, theirs)
    if not force:
        raise _written_elsewhere(pair, epoch, other)
    return _say(pair, Epoch(later(epoch, other), pair.own, settled, by), mine, theirs)


def _unasked(pair: Pair, error: KeyturnError) -> KeyturnError:
    """The word on a hub that can't be asked: one that answers and refuses is not gone, and is not to be taken from."""
    problem = f"{pair.other} can't be asked, and may be written still: {error.problem}"
    if isinstance(error, TerminalError):
        hint = f"It answers, so it is not gone: correct KEYTURN_PEER_*, or let the login there read {EPOCH}"
        return Denied("promote", pair.own, problem, hint)
    return Unavailable("promote", pair.own, problem, f"Demote it first. Where it is gone for good: {FORCE}")


def _written_elsewhere(pair: Pair, *epochs: Epoch | None) -> Conflict:
    named = max((epoch for epoch in epochs if epoch), key=lambda epoch: epoch.number).writable
    if named not in (pair.own, pair.other):
        problem = (
            f"{named} is the one that is written by their word, and the environment names {pair.own} and {pair.other}"
        )
        return Conflict("promote", pair.own, problem, "Correct KEYTURN_HUB_NAME and KEYTURN_PEER_NAME on either side")
    hint = f"Demote it first, there: keyturn failover demote. Or take it away: {FORCE}"
    return Conflict("promote", pair.own, f"{pair.other} is the one that is written", hint)


def _say(pair: Pair, epoch: Epoch, mine: Side, theirs: Side) -> Handover:
    epoch = replace(epoch, addresses=pair.addresses)
    try:
        pair.hub.write_epoch(epoch.to_data(), cas=mine.epoch.version if mine.epoch else 0)
    except Conflict:
        problem = "somebody else has said which hub is written at the same moment"
        raise Conflict("write", f"{EPOCH} of {pair.own}", problem, "Look again: keyturn failover status") from None
    _insist_on_two(pair, epoch, theirs)
    return Handover(epoch)


def _insist_on_two(pair: Pair, epoch: Epoch, before: Side) -> None:
    """What was said to one hub stands in that one alone. Raises Invalid where both addresses lead to one."""
    if before.error:
        return
    there = pair.look()[1].epoch
    if _same(there, epoch) and not _same(before.epoch, epoch):
        raise one_hub(pair.other, f"what was said to {pair.own} just now stands in {pair.other}, too")


def _same(epoch: Epoch | None, other: Epoch) -> bool:
    return epoch is not None and epoch.to_data() == other.to_data()
