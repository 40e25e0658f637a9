"""Which chains are kept: the last ones, and one of each day, week and month. Never the last good one is removed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.backups import BackupKeys, BackupPlace
from keyturn.recovery.chains import StoredChain, find_lost_part, open_chain
from keyturn.recovery.manifests import SignatureCheck

FRESH: Final = 3600.0
"""Seconds for which a chain without a manifest may be one that is being written."""


@dataclass(frozen=True)
class Retention:
    """How many chains are kept: the newest ``last``, and the newest of so many days, weeks and months."""

    last: int = 2
    daily: int = 7
    weekly: int = 4
    monthly: int = 12

    def kept(self, chains: Sequence[StoredChain]) -> dict[str, str]:
        """Of chains that hold, the oldest first, which are kept, and why."""
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
    """What is wrong with a chain. ``lost`` is whether it opens, and parts of it are gone: then no key helps."""

    error: KeyturnError
    lost: bool = False


def find_fault(place: BackupPlace, stored: StoredChain, keys: BackupKeys, check: SignatureCheck) -> ChainFault | None:
    """What is wrong with a chain, by its manifests and by which of its parts are there in their sizes."""
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
    """What is removed, and what is kept and why."""

    remove: list[StoredChain] = field(default_factory=list)
    keep: dict[str, str] = field(default_factory=dict)


def plan_pruning(
    chains: Sequence[StoredChain],
    retention: Retention,
    fault_of: Callable[[StoredChain], ChainFault | None],
    now: datetime,
) -> Pruning:
    """Which of these chains, the oldest first, go. ``fault_of`` says what is wrong with one, else None.

    What can't be opened is kept: it may be good, and nobody here has its key. One that has lost parts never stands for
    a good one; it is kept as long as it would be, for somebody to bring them back, and goes where a newer one holds.
    A chain that was never finished goes once it is an hour old. Where none of them holds, nothing goes.
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
    """Remove a chain, its newest manifest first, so that what is left of it at any moment is a chain still.

    Raises Locked where the place retains it.
    """
    for name in _in_order(chain):
        place.remove(name)


def _in_order(chain: StoredChain) -> Iterable[str]:
    yield from (stored.name for stored in reversed(chain.manifests))
    yield from (stored.name for stored in chain.objects)


def _is_fresh(changed_at: object, now: datetime) -> bool:
    return isinstance(changed_at, datetime) and (now - changed_at).total_seconds() < FRESH
