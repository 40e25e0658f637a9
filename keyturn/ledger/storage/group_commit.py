"""Group commit: concurrent writes of several threads become durable together."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from keyturn.core.errors import KeyturnError, Unrecorded


class GroupCommit:
    """Serialises calls of ``write``; each thread returns once its part is written.

    The first thread that waited writes for all that wait.
    """

    def __init__(self, write: Callable[[Sequence[str]], int | None]) -> None:
        self._write = write
        self._waiting: deque[_Part] = deque()
        self._writing = Lock()

    def add(self, texts: Sequence[str]) -> int | None:
        """Write these together and in order; the last number, if known. Raises what ``write`` raised."""
        part = _Part(texts)
        self._waiting.append(part)
        with self._writing:
            if not part.over:
                self._write_for_all()
        if part.error:
            raise part.error from None
        return part.last

    def _write_for_all(self) -> None:
        parts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        error: KeyturnError = Unrecorded("write", "the ledger", "it was interrupted", "Run it again")
        try:
            last = self._write([text for part in parts for text in part.texts] if len(parts) > 1 else parts[0].texts)
        except KeyturnError as raised:
            error = raised
        else:
            for part in reversed(parts):
                part.over, part.last = True, last
                last = last - len(part.texts) if last else None
        finally:
            for part in parts:
                part.end(error)


class _Part:
    """One thread's texts, and their result."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.over = False
        self.last: int | None = None
        self.error: KeyturnError | None = None

    def end(self, error: KeyturnError) -> None:
        """Mark it failed, unless written, with its own copy of the error."""
        if not self.over:
            self.over, self.error = True, type(error)(*error.args)
