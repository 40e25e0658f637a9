"""A source without the bytes of unreadable lines."""

from dataclasses import replace

from keyturn.core.ports.access_source import AccessSource, Batch, ReleasesRead, TellsTrouble


class WithoutRecords:
    """The same source, without the bytes of unreadable lines."""

    def __init__(self, source: AccessSource) -> None:
        self.name = source.name
        self.pace = source.pace
        self._source = source

    def read(self, cursor: str | None, limit: int) -> Batch:
        """Return what follows ``cursor``."""
        batch = self._source.read(cursor, limit)
        return replace(batch, malformed=[replace(each, record=b"") for each in batch.malformed])

    @property
    def trouble(self) -> str:
        """Why it can't receive data."""
        return self._source.trouble if isinstance(self._source, TellsTrouble) else ""

    def release(self, cursor: str) -> None:
        """Delete what was read, if the source stores it."""
        if isinstance(self._source, ReleasesRead):
            self._source.release(cursor)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
