"""Many secrets in one run, with a limit of failures and progress."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from flows.support.common import at_target
from flows.support.progress import Progress
from keyturn.core.errors import KeyturnError, TransientError

FEW: Final = 5
"""Failures that never stop a fleet."""

T = TypeVar("T")


@dataclass
class Breaker:
    """Opens once more than ``share`` of ``total`` secrets, and more than a few, have failed."""

    total: int
    share: float
    failed: int = 0

    @property
    def limit(self) -> int:
        return max(FEW, int(self.total * self.share))

    @property
    def open(self) -> bool:
        return self.failed > self.limit


class Stopped(TransientError):
    """A secret that was not started because too many others failed."""


@dataclass
class Fleet(Generic[T]):
    breaker: Breaker
    side_by_side: int
    progress: Progress
    results: dict[str, T | KeyturnError] = field(default_factory=dict)

    async def work(self, target: str | None, paths: Sequence[str], turn: Callable[[str], Awaitable[T]]) -> None:
        """Run ``turn`` for every secret of one target; without the target's slot, none runs."""
        places = asyncio.Semaphore(self.side_by_side)

        async def one(path: str) -> None:
            async with places:
                await self._turn(path, turn)

        try:
            async with at_target(target):
                await asyncio.gather(*map(one, paths))
        except KeyturnError as error:
            self.results |= {path: copy(error).during("rotate", path) for path in paths}

    async def _turn(self, path: str, turn: Callable[[str], Awaitable[T]]) -> None:
        try:
            self.results[path] = stopped(path, self.breaker) if self.breaker.open else await turn(path)
        except KeyturnError as error:
            self.breaker.failed += 1
            self.results[path] = error
        await self.progress.add()


def stopped(path: str, breaker: Breaker) -> Stopped:
    problem = f"not begun: {breaker.failed} of {breaker.total} secrets have failed, more than {breaker.limit}"
    return Stopped("rotate", path, problem, "Fix what they fail on; the next run continues with the rest")
