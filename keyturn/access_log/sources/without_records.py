"""A log of which nothing is kept aside but where what can't be read stands, and why."""

from dataclasses import replace

from keyturn.core.ports.access_source import AccessSource, Batch, ReleasesRead, TellsTrouble


class WithoutRecords:
    """The same source, without the bytes of what can't be read."""

    def __init__(self, source: AccessSource) -> None:
        self.name = source.name
        self.pace = source.pace
        self._source = source

    def read(self, cursor: str | None, limit: int) -> Batch:
        """What came after ``cursor``."""
        batch = self._source.read(cursor, limit)
        return replace(batch, malformed=[replace(each, record=b"") for each in batch.malformed])

    @property
    def trouble(self) -> str:
        """What keeps it from taking what comes."""
        return self._source.trouble if isinstance(self._source, TellsTrouble) else ""

    def release(self, cursor: str) -> None:
        """Drop what was read, where it is held."""
        if isinstance(self._source, ReleasesRead):
            self._source.release(cursor)

    def close(self) -> None:
        """Let go of it."""
        self._source.close()
