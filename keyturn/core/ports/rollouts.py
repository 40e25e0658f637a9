"""The port of stores that restart a copy's workloads, with names only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast

from keyturn.core.ports.stores import Store


class RolloutState(StrEnum):
    """The restart state of one workload."""

    OWED = "owed"
    """The copy is written, but its users are not restarted yet."""
    ROLLING = "rolling"
    FINISHED = "finished"
    """Every pod has started since the restart, or there are none."""
    FAILED = "failed"
    """The cluster gave up, or it exceeds the limit in the store's settings."""


@dataclass(frozen=True)
class Rollout:
    """A workload that uses ``remotes``, copies of a store. ``told`` describes its progress for people.

    ``workload`` is such as ``deployment apps/shop``, empty for a pending restart.
    """

    workload: str
    state: RolloutState
    told: str = ""
    remotes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A short name that no copy could have: ``deployment/shop``."""
        kind, _, name = self.workload.partition(" ")
        return f"{kind}/{name.rpartition('/')[2]}"

    def obstacle(self, version: int | None) -> str:
        """Return why pods may lack ``version``; empty if all have it."""
        if self.state is RolloutState.FINISHED:
            return ""
        if self.state is RolloutState.OWED:
            return f"who uses {', '.join(self.remotes)} is not restarted yet for version {version}"
        if self.state is RolloutState.FAILED:
            return f"the rollout of version {version} to {self.workload} has failed: {self.told}"
        return f"{self.workload} has not finished its rollout of version {version}: {self.told}"


class Restarts(Protocol):
    """Capability: restarts the workloads of a copy.

    Writing a copy records the pending restart in the same call, so none is lost.
    """

    def owed(self, remotes: Collection[str]) -> Sequence[str]:
        """The copies with a pending restart."""

    def restart_users(self, remotes: Collection[str]) -> Sequence[Rollout]:
        """Restart users of these copies with a pending restart, once, and return them.

        Does not wait for pods. Safe to repeat after a crash: no workload restarts twice for the same content. Raises
        the refusal.
        """

    def rollouts(self, remotes: Collection[str], *, note: bool = False) -> Sequence[Rollout]:
        """The state of all workloads of these copies, and pending restarts.

        With ``note``, record finished ones at the workload, so that others' later rollouts can't undo this. Raises what
        prevents the check.
        """


def restarter(store: Store) -> Restarts | None:
    """The store if it :class:`Restarts` workloads."""
    return cast(Restarts, store) if getattr(store, "restarts", False) else None
