"""Where the application reads its secrets, and when a secret is what a notice promised."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from keyturn.core.errors import NotFound, Unavailable
from keyturn.core.hub import Hub
from keyturn.core.notices import Notice
from keyturn.core.sensitive import SecretFields

POLL: Final = 0.05
"""Seconds between two looks at a copy that lags."""


@dataclass(frozen=True)
class Credential:
    """A secret as its source serves it now.

    ``version`` is the hub's number, None where the source can't tell it for this very value. ``revision``
    is the source's own mark of the value, other after every write.
    """

    fields: SecretFields
    version: int | None
    revision: str
    rotated_at: datetime | None

    def fulfils(self, notice: Notice, held: "Credential | None") -> bool:
        """Whether this is what ``notice`` promised; ``known`` was served when the notice before it was settled."""
        if self.version is not None:
            return self.version >= notice.version
        return held is None or self.revision != held.revision


class Source(Protocol):
    """Reads secrets by their hub path. Raises the errors of :mod:`keyturn.core.errors`."""

    name: str

    def read(self, path: str) -> Credential:
        """What is served now. Raises NotFound."""


class HubSource:
    """Reads the hub itself."""

    name = "hub"

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def read(self, path: str) -> Credential:
        """The newest version."""
        secret = self._hub.read(path)
        if secret is None:
            raise NotFound("read", path, "the hub has no such secret", "Write it there first")
        return Credential(secret.fields, secret.version, str(secret.version), None)


def read_promised(source: Source, notice: Notice, held: Credential | None, patience: float) -> Credential:
    """The secret as the notice promised it, for which a lagging copy is given ``patience`` seconds.

    Raises Unavailable when they are over.
    """
    deadline = time.monotonic() + patience
    while True:
        credential = source.read(notice.secret_path)
        if credential.fulfils(notice, held):
            # A source that can't tell the version serves the promised one, by the notice's word.
            return credential if credential.version else replace(credential, version=notice.version)
        if time.monotonic() >= deadline:
            problem = f"version {notice.version} is not visible after {patience:g} s"
            raise Unavailable("reload", notice.secret_path, problem, "See whether it was pushed there")
        time.sleep(POLL)
