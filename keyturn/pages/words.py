"""Numbers, times and names for display."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")


def lasted(seconds: float | None) -> str:
    """Return a time span: in milliseconds below 90 seconds, coarser above; "not yet" for None."""
    if seconds is None:
        return "not yet"
    if seconds < 90:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def timestamp(moment: datetime | None) -> str:
    """Return a time in UTC, to the millisecond; empty for None."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if moment else ""


def clock(moment: datetime | None) -> str:
    """Return a time in UTC, to the second; empty for None."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def count_noun(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def list_names(names: Sequence[str], most: int = 3) -> str:
    """Return names for a sentence, only the first few of many."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def without_empty(columns: Sequence[T], rows: Sequence[Sequence[str]]) -> tuple[list[T], list[list[str]]]:
    """Return the columns with content in any row, and the rows reduced to them."""
    places = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return [columns[place] for place in places], [[row[place] for place in places] for row in rows]


def ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers with runs as ranges: ``3 to 7, 9``."""
    # Within a run, the number minus its position is constant.
    runs = groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0])
    ends = ([number for _, number in run] for _, run in runs)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in ends)
