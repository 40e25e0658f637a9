"""The settings that all kinds of access log share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from keyturn.core.rights.rights import Document
from keyturn.settings.fields import Line, Model, PositiveDuration
from keyturn.settings.stores import Accounts


class AccessLogBase(Model):
    """A log of who has read secrets.

    Each kind of source has its own ``kind``, and names what reads it in :attr:`ADAPTER`.
    """

    if TYPE_CHECKING:
        kind: str

    machine: Line | None = None
    """The one machine that reads it, by its host name; without it, whichever does."""
    pace: PositiveDuration = timedelta(seconds=1)
    """How long to wait where there was nothing more to read."""
    keep_malformed: bool = True
    """Whether the beginning of an unreadable record is kept aside; without, only its place and the reason."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "machine", "pace", "keep_malformed"})
    """The settings that are not passed to the adapter."""
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.access_source.AccessSource`, as MODULE:CLASS; imported when it is first opened.

    It is opened with a :class:`keyturn.core.ports.access_source.SourceOpening`, and all settings but those in OWN.
    """
    LOCAL: ClassVar[bool] = False
    """Whether it reads what this machine itself received, so that each machine has its own."""
    EXTRA: ClassVar[str] = ""
    """The extra of the package with its SDK; empty where it needs none."""

    @property
    def accounts(self) -> Accounts:
        """The accounts or projects in its settings, by their place there."""
        return {}

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the paths in the hub's state mount of the keys that must sign accesses for the log of this name."""
        return ()

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """Yield the documents that allow a login to read it, and nothing else; none where its login is no cloud's.

        ``file`` is the prefix of their names, ``origin`` is their source.
        """
        return iter(())
