"""The dashboard's data: every secret and what belongs to it, without values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """The urgency of something, and its colour on the page."""

    WELL = "closed"
    SOON = "remains"
    """A person may look: it is due, or not everywhere yet."""
    UNKNOWN = "unknown"
    """It could not be checked."""
    BAD = "open"

    @property
    def rank(self) -> int:
        """Its position in an order of worst first."""
        return [Level.BAD, Level.UNKNOWN, Level.SOON, Level.WELL].index(self)


@dataclass(frozen=True)
class SecretLine:
    """One secret; ``states``, ``copies`` and ``consumers`` are lines of text, ``age`` and ``limit`` are in days."""

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
    copies_summary: str = ""
    consumers_summary: str = ""


@dataclass(frozen=True)
class OtherLine:
    """Anything else with a state, such as an incident or a key; ``kind`` names it."""

    kind: str
    name: str
    level: Level
    state: str


@dataclass(frozen=True)
class Dashboard:
    """The dashboard at ``looked_at`` by the hub's clock; ``unseen`` is what could not be read.

    ``pages`` are the addresses of secrets' pages in Prefect's UI, with their runs and history, by path.
    """

    looked_at: datetime
    hub: str
    catalogue: str
    secrets: Sequence[SecretLine]
    others: Sequence[OtherLine] = ()
    copies: Sequence[tuple[str, int]] = ()
    unseen: Sequence[str] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    static_keys: int = 0
    """The keys left that a workload identity can replace."""

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """The counts, each with its label."""
        levels = Counter(line.level for line in self.secrets)
        counts = dict(self.copies)
        in_step = counts.get("in sync", 0)
        tiles = [(f"{len(self.secrets):,}", "secrets"), (f"{levels[Level.BAD]:,}", "need action")]
        tiles.append((f"{levels[Level.SOON]:,}", "in progress"))
        if counts:
            tiles.append((f"{in_step:,} of {sum(counts.values()):,}", "copies in sync"))
        if self.static_keys:
            tiles.append((f"{self.static_keys:,}", "static keys left"))
        kinds = Counter(line.kind for line in self.others if line.level is not Level.WELL)
        return tiles + [(f"{count:,}", f"{kind}: open or unhealthy") for kind, count in sorted(kinds.items())]

    @property
    def worst_first(self) -> list[SecretLine]:
        """The secrets, worst first."""
        return sorted(self.secrets, key=lambda line: (line.level.rank, line.path))

    @property
    def worst(self) -> Level:
        """The worst level."""
        levels = {*(line.level for line in self.secrets), *(line.level for line in self.others)}
        levels |= {Level.UNKNOWN} if self.unseen else set()
        return min(levels, key=lambda level: level.rank, default=Level.WELL)
