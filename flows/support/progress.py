"""The progress of a run, with the expected end."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from tasks.workspace import names

BETWEEN: Final = 2.0
"""Seconds between two reports."""


@dataclass
class Progress:
    """A progress artifact for ``total`` items; up to ``few`` items show none."""

    key: str
    total: int
    things: str
    few: int
    done: int = 0
    artifact: UUID | None = None
    began: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    async def begin(self) -> None:
        if self.total > self.few:
            text, key = f"{self.total} {self.things}", names().artifact(self.key)
            self.artifact = await acreate_progress_artifact(progress=0.0, key=key, description=text)

    async def add(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.reported >= BETWEEN:
            self.reported = now
            await self._report(self.forecast(now))

    async def finish(self) -> None:
        self.done = self.total
        await self._report(f"{self.total} {self.things}, done")

    def forecast(self, now: float) -> str:
        left = (now - self.began) / max(self.done, 1) * (self.total - self.done)
        at = datetime.now(UTC) + timedelta(seconds=left)
        return f"{self.done} of {self.total} {self.things}, all at about {at:%H:%M:%S} UTC"

    async def _report(self, text: str) -> None:
        if self.artifact is not None:
            share = 100 * self.done / self.total
            await aupdate_progress_artifact(self.artifact, progress=share, description=text)
