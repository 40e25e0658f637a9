"""A clock that moves only when a test moves it."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Starts at the real time, since the hub stamps its versions with it."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        """Let ``by`` go past."""
        self.now += by
