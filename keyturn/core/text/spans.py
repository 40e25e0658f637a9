"""Durations for people."""

from datetime import timedelta


def span(duration: timedelta) -> str:
    """Return a duration in its two largest units: ``3 d 4 h``."""
    seconds = int(abs(duration.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    first = next((at for at, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"
