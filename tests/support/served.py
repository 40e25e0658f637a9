"""A source of secrets in memory, which may be away, lag or be slow."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from keyturn.client.secrets import Secret
from keyturn.core.errors import NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import SecretFields

MADE = datetime(2026, 3, 1, tzinfo=UTC)


def secret(
    path: str, version: int = 1, source: str = "hub", text: str = "", fields: Mapping[str, Any] | None = None
) -> Secret:
    """Version ``version`` of a secret, whose password tells it unless it has these ``fields``."""
    made = SecretFields(fields or {"password": text or f"{path}-{version}"})
    return Secret(path, made, version, str(version), source, datetime.now(UTC), MADE)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class MemorySource:
    """Serves ``versions``, with ``fields`` where a version has some, and counts its calls.

    While ``gate`` is clear, reads wait for it.
    """

    def __init__(self, name: str = "hub", **versions: int) -> None:
        self.name = name
        self.served: dict[str, int] = dict(versions)
        self.fields: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.away = False
        self.reads: list[str] = []
        self.bulk_reads = 0
        self.gate = threading.Event()
        self.gate.set()

    def read(self, path: str) -> Secret:
        self.reads.append(path)
        made = self._answer(path)
        self.gate.wait(30)
        return made

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        self.bulk_reads += 1
        return {path: self._answer(path) for path in paths if path in self.served or self.away}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        self._insist()
        return {path: str(self.served[path]) for path in paths if path in self.served}

    def below(self, folder: str, /) -> Sequence[str]:
        self._insist()
        return [path for path in self.served if path.startswith(f"{folder}/" if folder else "")]

    def _answer(self, path: str) -> Secret:
        self._insist()
        if path not in self.served:
            raise NotFound("read", f"{self.name}:{path}", "there is none", "Check its name")
        version = self.served[path]
        return secret(path, version, self.name, fields=self.fields.get((path, version)))

    def put(self, path: str, fields: Mapping[str, Any]) -> Notice:
        """Serve these fields as the next version; the notice that tells of it."""
        version = self.served.get(path, 0) + 1
        self.fields[path, version], self.served[path] = fields, version
        return Notice(SECRET_ROTATED, path, version, MADE)

    def _insist(self) -> None:
        if self.away:
            raise Unavailable("read", self.name, "it does not answer", "Try again")
