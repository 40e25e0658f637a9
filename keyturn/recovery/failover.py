"""Hands the write role from one hub to another, or takes it over."""

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
"""How long a probe stays wrapped in one hub."""


class EpochWriter(AskedHub, Protocol):
    """The local hub, to which an epoch is written."""

    def write_epoch(self, data: Mapping[str, Any], *, cas: int) -> int:
        """Record which hub is writable. Raises Conflict after a concurrent write."""


@dataclass(frozen=True)
class Side:
    """One hub's epoch, or why it could not be read."""

    name: str
    epoch: Epoch | None = None
    error: KeyturnError | None = None


@dataclass(frozen=True)
class Pair:
    """The local hub, ``own``, and the ``other``. ``lease`` is in seconds.

    ``addresses`` are the hubs' addresses by name.
    """

    own: str
    other: str
    hub: EpochWriter
    peer: AskedHub
    lease: float | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    def look(self) -> tuple[Side, Side]:
        """Both hubs, the own one first. Raises what prevents reading the own one."""
        mine = Side(self.own, self._epoch(self.hub, self.own))
        try:
            return mine, Side(self.other, self._epoch(self.peer, self.other))
        except KeyturnError as error:
            return mine, Side(self.other, error=error)

    def leads_to_one(self) -> bool | None:
        """Whether both addresses reach one hub; None where unknown. No entry is written.

        A hub from a snapshot shares the cluster id, so an empty probe is wrapped in one hub and looked up in the
        other. Raises what prevents asking the other.
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
        """Raise Invalid where both addresses reach one hub, and as :meth:`leads_to_one` does."""
        if self.leads_to_one():
            raise one_hub(self.other, f"{self.own} and {self.other} are one hub")

    def _epoch(self, hub: AskedHub, name: str) -> Epoch | None:
        try:
            return read_epoch(hub.read_state(EPOCH))
        except ValueError as error:
            hint = "Use the newest Keyturn that works with these hubs, or take over again with --force"
            raise Invalid("read", f"{EPOCH} of {name}", str(error), hint) from None


def _cluster_of(hub: AskedHub) -> str:
    """The cluster id; empty where unreported, as in a Vault namespace. Raises TransientError."""
    try:
        return hub.cluster()
    except TerminalError:
        return ""


def pair_of(hub: EpochWriter, peer: Peer) -> Pair:
    """The local hub with its peer."""
    return Pair(peer.own, peer.name, hub, peer.hub, peer.lease, peer.addresses)


def one_hub(name: str, problem: str) -> Invalid:
    """The error about two addresses of one hub."""
    hint = "Correct KEYTURN_PEER_ADDR in the environment of every process, then say it again"
    return Invalid("find", name, f"{problem}: both addresses reach the same hub", hint)


@dataclass(frozen=True)
class Handover:
    """The recorded epoch, and whether it is unchanged."""

    epoch: Epoch
    unchanged: bool = False


def standing(mine: Side, theirs: Side) -> str:
    """Why the own hub is not writable; empty where it is."""
    return why_not(mine.name, mine.epoch, theirs.name, theirs.epoch)


def split(mine: Side, theirs: Side) -> bool:
    """Whether each hub claims to be the writable one."""
    if mine.epoch is None or theirs.epoch is None:
        return False
    return mine.epoch.writable == mine.name and theirs.epoch.writable == theirs.name


def demote(pair: Pair, by: str) -> Handover:
    """Make the own hub read-only, so that the other can take over. Safe to repeat.

    Raises NotFound where no epoch is recorded.
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
    """Make the own hub writable, once the other can have no pending writes. Safe to repeat.

    Raises Conflict while the other is writable, and Unavailable or Denied where it can't be asked, unless ``force`` is
    given. Without an answer, the number is at least ``now`` in seconds, above any counted one.
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
    """The error about an unreachable hub. A hub that answers with a refusal is not gone."""
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
        problem = "another process named the active hub at the same moment"
        raise Conflict("write", f"{EPOCH} of {pair.own}", problem, "Look again: keyturn failover status") from None
    _insist_on_two(pair, epoch, theirs)
    return Handover(epoch)


def _insist_on_two(pair: Pair, epoch: Epoch, before: Side) -> None:
    """Raise Invalid where an epoch written to one hub appears in the other."""
    if before.error:
        return
    there = pair.look()[1].epoch
    if _same(there, epoch) and not _same(before.epoch, epoch):
        raise one_hub(pair.other, f"what was written to {pair.own} just now is in {pair.other}, too")


def _same(epoch: Epoch | None, other: Epoch) -> bool:
    return epoch is not None and epoch.to_data() == other.to_data()
