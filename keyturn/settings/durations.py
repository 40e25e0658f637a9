"""Durations as people write them: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``, ``1h30m``."""

import re
from datetime import timedelta
from typing import Final

UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds in each unit, the largest first."""

LONGEST: Final = timedelta(days=3650)

_NUMBER: Final = r"[0-9]{1,9}"
PATTERN: Final = r"^(?=[0-9])" + "".join(f"({_NUMBER}{unit})?" for unit in UNITS) + "$"
"""Every unit at most once, the largest first; also the pattern of the JSON schema."""

_READ: Final = re.compile(PATTERN)


def parse(text: str) -> timedelta:
    """Read one duration. Raises ValueError, which quotes nothing of the text."""
    match = _READ.fullmatch(text)
    if not match:
        raise ValueError("is not a duration")
    seconds = sum(int(part[:-1]) * UNITS[part[-1]] for part in match.groups() if part)
    if seconds > LONGEST.total_seconds():
        raise ValueError("is longer than ten years")
    return timedelta(seconds=seconds)


def show(duration: timedelta) -> str:
    """Return the duration as people write it, in days rather than weeks; :func:`parse` reads the same one back."""
    left, text = int(duration.total_seconds()), ""
    for unit, seconds in UNITS.items():
        if unit == "w":
            continue
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
