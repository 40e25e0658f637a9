"""Chooses the chains to keep: the newest, and one per day, week and month. The last good one always stays."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.backups import BackupKeys, BackupPlace
from keyturn.recovery.chains import StoredChain, find_lost_part, open_chain
from keyturn.recovery.manifests import SignatureCheck

FRESH: Final = 3600.0
"""Seconds in which a chain without a manifest may still be in progress."""


@dataclass(frozen=True)
class Retention:
    """The chains to keep: the newest ``last``, and the newest of so many days, weeks and months."""

    last: int = 2
    daily: int = 7
    weekly: int = 4
    monthly: int = 12

    def kept(self, chains: Sequence[StoredChain]) -> dict[str, str]:
        """Which valid chains, given oldest first, are kept, and why."""
        reasons = {chain.name: "one of the last" for chain in chains[-self.last :]} if self.last else {}
        periods: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
            ("a day's", self.daily, lambda at: at.date()),
            ("a week's", self.weekly, lambda at: at.isocalendar()[:2]),
            ("a month's", self.monthly, lambda at: (at.year, at.month)),
        )
        for why, count, period in periods:
            newest = {period(chain.begun_at): chain.name for chain in chains}
            for name in list(newest.values())[-count:] if count else []:
                reasons.setdefault(name, why)
        return reasons


@dataclass(frozen=True)
class ChainFault:
    """A chain's problem. ``lost``: it opens but lacks parts, so no key helps."""

    error: KeyturnError
    lost: bool = False


def find_fault(place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck) -> ChainFault | None:
    """A chain's problem, by its manifests and the presence and size of its parts."""
    try:
        chain = open_chain(place, stored, keys, check)
        if chain.problem:
            return ChainFault(chain.problem)
        lost = find_lost_part(place, stored, chain)
    except KeyturnError as error:
        return ChainFault(error)
    return ChainFault(lost, lost=True) if lost else None


@dataclass
class Pruning:
    """The chains to remove, and those to keep with the reason."""

    remove: list[StoredChain] = field(default_factory=list)
    keep: dict[str, str] = field(default_factory=dict)


def plan_pruning(
    chains: Sequence[StoredChain],
    retention: Retention,
    fault_of: Callable[[StoredChain], ChainFault | None],
    now: datetime,
) -> Pruning:
    """Return which of these chains, oldest first, to remove. ``fault_of`` gives a chain's problem, else None.

    A chain that can't be opened is kept, since its key may be elsewhere. One with lost parts never counts as good, and
    is removed by retention once a newer one is good. An unfinished chain is removed after an hour. Without a good
    chain, nothing is removed.
    """
    result = Pruning()
    finished = [chain for chain in chains if chain.manifests]
    unfinished = [chain for chain in chains if not chain.manifests]
    faults = {chain.name: fault for chain in finished if (fault := fault_of(chain))}
    good = [chain for chain in finished if chain.name not in faults]
    result.keep |= {
        name: f"it can't be relied on, nor given up: {fault.error}" for name, fault in faults.items() if not fault.lost
    }
    if not good:
        result.keep |= {name: f"none holds, and it has lost parts: {f.error}" for name, f in faults.items() if f.lost}
        return result
    reasons = retention.kept(good)
    reasons.setdefault(good[-1].name, "the newest that holds")
    written_last = max(good, key=lambda chain: (chain.newest_at or chain.begun_at, chain.name))
    reasons.setdefault(written_last.name, "the one that was written last: it may go on")
    result.keep |= reasons
    lost = [chain for chain in finished if chain.name in faults and faults[chain.name].lost]
    as_ever = retention.kept([chain for chain in finished if chain in good or chain in lost])
    for chain in lost:
        if chain.name in as_ever or chain.name > good[-1].name:
            result.keep[chain.name] = f"it can't be relied on: {faults[chain.name].error}"
    result.remove += [chain for chain in finished if chain.name not in result.keep]
    for chain in unfinished:
        if _is_fresh(chain.objects and max(item.changed_at for item in chain.objects), now):
            result.keep[chain.name] = "it is being written"
        else:
            result.remove.append(chain)
    return result


def remove_chain(place: BackupPlace, chain: StoredChain) -> None:
    """Remove a chain, newest manifest first, so the rest stays valid. Raises Locked where the place retains it."""
    for name in _in_order(chain):
        place.remove(name)


def _in_order(chain: StoredChain) -> Iterable[str]:
    yield from (stored.name for stored in reversed(chain.manifests))
    yield from (stored.name for stored in chain.objects)


def _is_fresh(changed_at: object, now: datetime) -> bool:
    return isinstance(changed_at, datetime) and (now - changed_at).total_seconds() < FRESH
