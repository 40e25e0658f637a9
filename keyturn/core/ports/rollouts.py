"""The port of stores that restart whoever uses a copy, and what is told of it: only names travel."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast

from keyturn.core.ports.stores import Store


class RolloutState(StrEnum):
    """Where the restart of one workload stands."""

    OWED = "owed"
    """The copy is written, and who uses it is not restarted yet."""
    ROLLING = "rolling"
    FINISHED = "finished"
    """Every pod has begun since the restart, or there is none."""
    FAILED = "failed"
    """The cluster has given it up, or it takes longer than the store's settings allow."""


@dataclass(frozen=True)
class Rollout:
    """One workload that uses ``remotes``, copies of a store. ``told`` is how far it is, in words for people.

    ``workload`` is such as ``deployment apps/shop``; of what is owed it names nobody.
    """

    workload: str
    state: RolloutState
    told: str = ""
    remotes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short, and no name that a copy could have: ``deployment/shop``."""
        kind, _, name = self.workload.partition(" ")
        return f"{kind}/{name.rpartition('/')[2]}"

    def obstacle(self, version: int | None) -> str:
        """Why nothing is proven yet of the pods that are to have ``version``; empty where all of them have it."""
        if self.state is RolloutState.FINISHED:
            return ""
        if self.state is RolloutState.OWED:
            return f"who uses {', '.join(self.remotes)} is not restarted yet for version {version}"
        if self.state is RolloutState.FAILED:
            return f"the rollout of version {version} to {self.workload} has failed: {self.told}"
        return f"{self.workload} has not finished its rollout of version {version}: {self.told}"


class Restarts(Protocol):
    """What a store has besides where it restarts the workloads that use a copy.

    Writing a copy only notes beside it that a restart is owed, in the same call, so that none is lost.
    """

    def owed(self, remotes: Collection[str]) -> Sequence[str]:
        """Those of these copies that a restart is owed for."""

    def restart_users(self, remotes: Collection[str]) -> Sequence[Rollout]:
        """Restart once whoever uses one of these copies that a restart is owed for; who was restarted.

        Returns at once, and does not wait for the pods. Safe to repeat after a crash at any point: nobody is restarted
        twice for the same content. Raises what refused it.
        """

    def rollouts(self, remotes: Collection[str], *, note: bool = False) -> Sequence[Rollout]:
        """Where everyone stands who uses these copies; and those of them that a restart is owed for.

        With ``note``, what is finished is noted at the workload: a later rollout of somebody else's takes nothing of
        that back. Raises what keeps it from being looked at.
        """


def restarter(store: Store) -> Restarts | None:
    """The store, where it :class:`Restarts` anybody."""
    return cast(Restarts, store) if getattr(store, "restarts", False) else None
