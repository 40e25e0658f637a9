"""Which chains are kept: the last ones, and one of each day, week and month. Never the last good one is removed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.core.backups import BackupPlace
from keyturn.core.errors import KeyturnError
from keyturn.recovery.chains import StoredChain

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


@dataclass
class Pruning:
    """What is removed, and what is kept and why."""

    remove: list[StoredChain] = field(default_factory=list)
    keep: dict[str, str] = field(default_factory=dict)


def plan_pruning(
    chains: Sequence[StoredChain],
    retention: Retention,
    holds: Callable[[StoredChain], KeyturnError | None],
    now: datetime,
) -> Pruning:
    """Which of these chains, the oldest first, go. ``holds`` opens one and gives what is wrong with it, else None.

    What can't be opened is kept: it may be good, and nobody here has its key. A chain that was never finished goes once
    it is an hour old. Where none of them holds, nothing goes.
    """
    result = Pruning()
    finished = [chain for chain in chains if chain.manifests]
    unfinished = [chain for chain in chains if not chain.manifests]
    problems = {chain.name: holds(chain) for chain in finished}
    good = [chain for chain in finished if problems[chain.name] is None]
    reasons = retention.kept(good)
    if good:
        reasons.setdefault(good[-1].name, "the newest that holds")
    result.keep |= {name: f"it can't be relied on, nor given up: {error}" for name, error in problems.items() if error}
    result.keep |= reasons
    if good:
        result.remove += [chain for chain in good if chain.name not in reasons]
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
