"""What the settings of every access log have, wherever it comes from."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from keyturn.core.rights.rights import Document
from keyturn.settings.fields import Line, Model, PositiveDuration
from keyturn.settings.stores import Accounts


class AccessLogBase(Model):
    """A log that tells who has read secrets.

    Each way of getting at one has a ``kind`` of its own, and says in :attr:`ADAPTER` what reads it.
    """

    if TYPE_CHECKING:
        kind: str

    machine: Line | None = None
    """The one machine that reads it, by its host name; without it, whichever does."""
    pace: PositiveDuration = timedelta(seconds=1)
    """How long to wait where there was nothing more to read."""
    keep_malformed: bool = True
    """Whether the beginning of a record that can't be read is kept aside; without, only where it stands and why."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "machine", "pace", "keep_malformed"})
    """What the adapter is not opened with."""
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.access_source.AccessSource`, as MODULE:CLASS; imported when it is first opened.

    It is opened with a :class:`keyturn.core.ports.access_source.SourceOpening`, and all settings but those in OWN.
    """
    LOCAL: ClassVar[bool] = False
    """Whether it reads what this machine itself has received, so that each machine has one of its own."""
    EXTRA: ClassVar[str] = ""
    """The extra of the package that brings its SDK; empty where it needs none."""

    @property
    def accounts(self) -> Accounts:
        """The accounts or projects that it names, by where its settings do."""
        return {}

    def keys(self, name: str) -> tuple[str, ...]:
        """The paths in the hub's state mount of what has to sign what it is told, where its own name is that."""
        return ()

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """The documents that let a login read it, and nothing else; none where its login is no cloud's.

        ``file`` is what their names begin with, ``origin`` says of what they are made.
        """
        return iter(())
