"""The port of access logs: the hub's audit log, and cloud logs that may be added."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct

READ: Final = "read"
LOGIN: Final = "login"
CHANGE: Final = "change"
DELETE: Final = "delete"
DESTROY: Final = "destroy"

HUB: Final = "hub"
"""The hub's name in accesses; other systems are named after a store or log."""


class Access(Struct, frozen=True, gc=False, omit_defaults=True):
    """An attempt to read, end or change something, or to log in; one of millions.

    ``system`` is "hub" or a store's name, ``path`` the secret's hub path, ``version`` the one returned or requested,
    None if not logged. ``principal`` is the system's name for the requester (a display name, an entity or ARN),
    ``login`` distinguishes its logins, ``source`` is its address. ``denied`` means that it got nothing. ``action`` is
    one of:

    - READ
    - LOGIN, with the login method in ``path``
    - CHANGE, with the changed object in ``path``: ``policies/`` and a policy's name, or the system's name of a role,
      user or group
    - DELETE of versions, which is reversible, or DESTROY, which is not

    ``agent`` is the program's own name. ``root`` means unrestricted rights. ``granted`` is the first policy that
    allowed it; for a login, all its policies separated by commas.

    A new field needs a default and must come last: trail events are hashed as JSON without defaults
    (:mod:`keyturn.access_log.trail.leaves`).
    """

    at: datetime
    system: str
    path: str
    version: int | None
    principal: str
    source: str
    denied: bool = False
    login: str = ""
    action: str = READ
    agent: str = ""
    root: bool = False
    granted: str = ""


class AccessSum(Struct, frozen=True, gc=False):
    """``count`` accesses that differ only in time: the first, and the last time."""

    access: Access
    last: datetime
    count: int


@dataclass(frozen=True)
class Coverage:
    """The lines or events read of a log, with first and last time.

    ``gaps`` describes what was unreadable or missing.
    """

    lines: int = 0
    first: datetime | None = None
    last: datetime | None = None
    gaps: tuple[str, ...] = ()


class AccessLog(Protocol):
    """One system's log. ``name`` appears in reports; ``coverage`` is complete at the end of :meth:`accesses`."""

    name: str
    coverage: Coverage

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        """All reads and attempts in that period, oldest first, and other actions if configured.

        Raises Unavailable.
        """


@runtime_checkable
class SummedAccessLog(Protocol):
    """Capability: sums accesses that differ only in time."""

    name: str
    coverage: Coverage

    def sums(self, paths: Collection[str], since: datetime, until: datetime) -> Iterator[AccessSum]:
        """Reads of these secrets in that period, and the same principals' other reads. Raises Unavailable."""
