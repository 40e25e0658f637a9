"""The port of what tells who has read secrets: the hub's audit log, and the logs of clouds that may join it later."""

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
"""What accesses call the hub; any other system is a store's name, or a log's."""


class Access(Struct, frozen=True, gc=False, omit_defaults=True):
    """An attempt to read a secret's value, to end it, to log in, or to change what logins may do; one of millions.

    ``system`` is where it was read ("hub", or a store's name), ``path`` the secret's in the hub, ``version`` the one
    that was given or asked for, None where the log does not tell. ``principal`` is who, in the system's own words (a
    display name, an entity or ARN), ``login`` tells two logins of one principal apart, ``source`` is the address it
    came from; both are empty where the log does not tell. ``denied`` says that it got nothing. ``action`` is READ;
    LOGIN, whose ``path`` is the login method's; CHANGE, whose ``path`` is what was changed, ``policies/`` and the
    name of a policy, or a role, a user, a group as the system has it; DELETE of versions, which can be taken back; or
    DESTROY, which can't. ``agent`` is the program that asked, by its own
    word, where the log tells it; ``root`` says that the login may do everything there. ``granted`` names the policy
    that allowed it, the first where several did; of a login all policies that it was given, with commas between.

    A field that is added later needs a default, and its place behind the others: the trail's events are hashed as JSON
    that leaves defaults out (:mod:`keyturn.access_log.trail.leaves`).
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
    """``count`` accesses that differ in their moments alone: the first of them, and when the last was."""

    access: Access
    last: datetime
    count: int


@dataclass(frozen=True)
class Coverage:
    """What a log was read of: how many lines or events, the first and the last moment they tell of.

    ``gaps`` says in words what could not be read or is not there; whoever trusts the log has to know them.
    """

    lines: int = 0
    first: datetime | None = None
    last: datetime | None = None
    gaps: tuple[str, ...] = ()


class AccessLog(Protocol):
    """One system's log. ``name`` stands in reports, ``coverage`` is that of the last :meth:`accesses`, at its end."""

    name: str
    coverage: Coverage

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        """Every read and attempt to read within that time, oldest first; others where the log was made to tell them.

        Raises Unavailable where it can't be read.
        """


@runtime_checkable
class SummedAccessLog(Protocol):
    """A log that can add up what is the same but its moment: of many accesses, few sums."""

    name: str
    coverage: Coverage

    def sums(self, paths: Collection[str], since: datetime, until: datetime) -> Iterator[AccessSum]:
        """Reads of these secrets within that time, and what else the same principals read. Raises Unavailable."""
