"""What an application gets when it asks for a secret, and whom the client asks for it."""

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
    """A secret as ``source`` served it at ``read_at``. It refuses to be printed, as its fields do.

    ``version`` is the hub's number, None where the source can't tell it for this very value; ``revision`` is the
    source's own mark of the value, other after every write. ``made_at`` is when the version was made, and
    ``expires_at`` when the credential ends by itself, where the source tells. ``stale`` says that the source could not
    be asked when this was due to be read again.
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
        """The same. Raises NotFound, which names the field."""
        try:
            return self.fields[name]
        except KeyError:
            raise NotFound("read", self.path, f"it has no field {name}", "Check the field's name") from None

    def age(self, now: datetime | None = None) -> float:
        """Seconds since it was read."""
        return ((now or datetime.now(UTC)) - self.read_at).total_seconds()


def secret_data(secret: Secret) -> dict[str, Any]:
    """All of it in clear, as JSON has it, but for whether it is stale: for whoever may have the value."""
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
    """The same, read back. Raises ValueError, KeyError and TypeError for what is none."""
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
    """This source has no place for that secret, so it says nothing of whether there is one: the next is asked."""


class SecretSource(Protocol):
    """Reads secrets by their hub path. Raises the errors of :mod:`keyturn.core.errors`; serves many threads."""

    name: str

    def read(self, path: str) -> Secret:
        """What is served now. Raises NotFound, NotServed."""

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        """The same of many, in as few calls as it allows; what is absent is left out."""

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The revision that is served now of each, without reading values; what is absent is left out."""


class Lends(Protocol):
    """A source whose engines give leases."""

    @property
    def lessor(self) -> "Lessor":
        """What gives them."""


class Lists(Protocol):
    """What a source can do besides where it knows all secrets by their hub paths."""

    def below(self, folder: str, /) -> Sequence[str]:
        """The paths of all secrets that are served below a folder, in its folders too."""
