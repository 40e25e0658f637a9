"""The settings that all kinds of access log share."""

from datetime import timedelta
from typing import ClassVar

from keyturn.settings.fields import Line, PositiveDuration
from keyturn.settings.stores import OpenedWithRights


class AccessLogBase(OpenedWithRights):
    """A log of who has read secrets."""

    machine: Line | None = None
    """The one machine that reads it, by its host name; without it, whichever does."""
    pace: PositiveDuration = timedelta(seconds=1)
    """How long to wait where there was nothing more to read."""
    keep_malformed: bool = True
    """Whether the beginning of an unreadable record is kept aside; without, only its place and the reason."""

    OWN = frozenset({"kind", "machine", "pace", "keep_malformed"})
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.access_source.AccessSource`, as MODULE:CLASS; imported when it is first opened.

    It is opened with a :class:`keyturn.core.ports.access_source.SourceOpening`, and all settings but those in OWN.
    """
    LOCAL: ClassVar[bool] = False
    """Whether it reads what this machine itself received, so that each machine has its own."""

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the paths in the hub's state mount of the keys that must sign accesses for the log of this name."""
        return ()
