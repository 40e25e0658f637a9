"""The secret that an application receives, and the sources of a client."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from keyturn.core.errors import NotFound
from keyturn.core.sensitive import SecretFields, Sensitive

if TYPE_CHECKING:
    from keyturn.core.ports.engines import Lessor


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as ``source`` served it at ``read_at``. It and its fields can't be printed.

    ``version`` is the hub's number, None where the source does not know it for this value. Every write changes
    ``revision``, the source's own mark. ``made_at`` is the version's time, ``expires_at`` the credential's end.
    ``stale``: no source answered when a new read was due.
    """

    path: str
    fields: SecretFields = field(compare=False)
    version: int | None
    revision: str
    source: str
    read_at: datetime
    made_at: datetime | None = None
    expires_at: datetime | None = None
    stale: bool = False

    def __getitem__(self, name: str) -> Sensitive:
        """One field. Raises KeyError."""
        return self.fields[name]

    def field(self, name: str) -> Sensitive:
        """One field. Raises NotFound, which names the field."""
        try:
            return self.fields[name]
        except KeyError:
            raise NotFound("read", self.path, f"it has no field {name}", "Check the field's name") from None

    def age(self, now: datetime | None = None) -> float:
        """Seconds since it was read."""
        return ((now or datetime.now(UTC)) - self.read_at).total_seconds()


def secret_data(secret: Secret) -> dict[str, Any]:
    """The secret as JSON in clear, without ``stale``."""
    return {
        "path": secret.path,
        "fields": secret.fields.reveal(),
        "version": secret.version,
        "revision": secret.revision,
        "source": secret.source,
        "read_at": secret.read_at.isoformat(),
        "made_at": secret.made_at.isoformat() if secret.made_at else None,
        "expires_at": secret.expires_at.isoformat() if secret.expires_at else None,
    }


def secret_of(data: Mapping[str, Any], *, stale: bool = False) -> Secret:
    """The secret of such data. Raises ValueError, KeyError and TypeError."""
    return Secret(
        str(data["path"]),
        SecretFields(dict(data["fields"])),
        None if data["version"] is None else int(data["version"]),
        str(data["revision"]),
        str(data["source"]),
        datetime.fromisoformat(data["read_at"]),
        _instant(data["made_at"]),
        _instant(data["expires_at"]),
        stale,
    )


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class NotServed(NotFound):
    """This source has no place for the secret, so the next one is asked."""


class SecretSource(Protocol):
    """Reads secrets by hub path. Raises the errors of :mod:`keyturn.core.errors`. Thread-safe."""

    name: str

    def read(self, path: str) -> Secret:
        """The secret that is served now. Raises NotFound, NotServed."""

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        """Many secrets, in as few calls as possible, without the absent ones."""

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The revisions served now, without reading values, and without absent secrets."""


class Lends(Protocol):
    """A source whose engines issue leases."""

    @property
    def lessor(self) -> "Lessor":
        """The port that issues them."""


class Lists(Protocol):
    """A source that can list its secrets by hub path."""

    def below(self, folder: str, /) -> Sequence[str]:
        """The paths of all secrets served below a folder, at any depth."""
