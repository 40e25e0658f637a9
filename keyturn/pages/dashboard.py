"""The page of everything, as data: every secret and what belongs to it, in names alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How urgent something is; the page's colours."""

    WELL = "closed"
    SOON = "remains"
    """Somebody might look: it is due, or not everybody has it yet."""
    UNKNOWN = "unknown"
    """Nobody could check it."""
    BAD = "open"

    @property
    def rank(self) -> int:
        """Its place where what is worst comes first."""
        return [Level.BAD, Level.UNKNOWN, Level.SOON, Level.WELL].index(self)


@dataclass(frozen=True)
class SecretLine:
    """One secret. ``states`` are its state in words, ``copies`` and ``consumers`` each a line; ``age`` is in days."""

    path: str
    owner: str
    classification: str
    strategy: str
    level: Level
    states: Sequence[str]
    age: int | None = None
    limit: int | None = None
    next_at: datetime | None = None
    copies: Sequence[str] = ()
    consumers: Sequence[str] = ()


@dataclass(frozen=True)
class OtherLine:
    """Anything else that has a state: an incident, an authority, a key, a part that runs on; ``kind`` names which."""

    kind: str
    name: str
    level: Level
    state: str


@dataclass(frozen=True)
class Dashboard:
    """All of it, as it was at ``looked_at`` by the hub's clock. ``unseen`` is what could not be looked at."""

    looked_at: datetime
    hub: str
    catalogue: str
    secrets: Sequence[SecretLine]
    others: Sequence[OtherLine] = ()
    copies: Sequence[tuple[str, int]] = ()
    unseen: Sequence[str] = ()

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """Numbers, each with what it counts."""
        levels = Counter(line.level for line in self.secrets)
        counts = dict(self.copies)
        in_step = counts.get("in sync", 0)
        tiles = [(f"{len(self.secrets):,}", "secrets"), (f"{levels[Level.BAD]:,}", "need somebody")]
        tiles.append((f"{levels[Level.SOON]:,}", "on their way"))
        if counts:
            tiles.append((f"{in_step:,} of {sum(counts.values()):,}", "copies in step"))
        kinds = Counter(line.kind for line in self.others if line.level is not Level.WELL)
        return tiles + [(f"{count:,}", f"{kind}: open or not well") for kind, count in sorted(kinds.items())]

    @property
    def worst_first(self) -> list[SecretLine]:
        """The secrets, those that need somebody before all others."""
        return sorted(self.secrets, key=lambda line: (line.level.rank, line.path))

    @property
    def worst(self) -> Level:
        """The level of what is worst."""
        levels = {*(line.level for line in self.secrets), *(line.level for line in self.others)}
        levels |= {Level.UNKNOWN} if self.unseen else set()
        return min(levels, key=lambda level: level.rank, default=Level.WELL)
