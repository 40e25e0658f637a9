"""Principals' logins and policies, and changes of policies."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.habits import DAY, program_of
from keyturn.access_log.detection.reorder import NEVER
from keyturn.core.ports.access import CHANGE, LOGIN, Access

PRINCIPALS: Final = 50_000
SESSIONS: Final = 16
POLICIES: Final = 200
"""The most principals, and logins and policies of each. The oldest logins are forgotten, further policies ignored."""

CHANGED: Final = 20_000
AUTHORS: Final = 8
"""The most changed policies, and authors of each. The oldest are forgotten."""

GRANTED_FOR: Final = 3 * DAY
"""Seconds in which a policy's change or grant explains reads."""

POLICY: Final = "policies/"
IDENTITY: Final = "identity/"
"""Path prefixes of changes of policies, and of entities and groups."""


FAILURES: Final = 3
"""Failed logins of an address or name within a day after which a login proves no identity."""

NARROW: Final = 10
"""The most principals of a policy whose change explains reads."""


class Session:
    """A login. ``guessed`` means that many failed there before."""

    __slots__ = ("at", "guessed", "program", "source")

    def __init__(self, at: float, source: str, program: str, *, guessed: bool = False) -> None:
        self.at = at
        self.source = source
        self.program = program
        self.guessed = guessed


class Changes:
    """The latest changes of policies, roles, users and groups."""

    def __init__(self) -> None:
        self._changed: dict[tuple[str, str], dict[str, float]] = {}
        self._authors: dict[tuple[str, str], float] = {}
        self._identities: dict[str, dict[str, float]] = {}
        self._holders: dict[tuple[str, str], int] = {}

    def hold(self, policy: tuple[str, str]) -> None:
        """Count one more principal of a policy."""
        self._holders[policy] = self._holders.pop(policy, 0) + 1
        if len(self._holders) > CHANGED:
            del self._holders[next(iter(self._holders))]

    def is_narrow(self, access: Access) -> bool:
        """Whether few principals have the policy that allowed a read."""
        return self._holders.get((access.system, access.granted), 0) <= NARROW

    def add(self, access: Access, at: float) -> None:
        """Remember a change."""
        what = (access.system, access.path)
        authors = self._changed.pop(what, {})
        self._changed[what] = authors
        authors[access.principal] = at
        if len(authors) > AUTHORS:
            del authors[min(authors, key=lambda name: authors[name])]
        if len(self._changed) > CHANGED:
            del self._changed[next(iter(self._changed))]
        if access.path.startswith(IDENTITY):
            self._identities.setdefault(access.system, {})[access.principal] = at
            if len(self._identities[access.system]) > CHANGED:
                drop_least(self._identities[access.system], CHANGED, lambda moment: moment)
        if not access.path.startswith(POLICY):
            author = (access.system, access.principal)
            self._authors[author] = at
            if len(self._authors) > CHANGED:
                drop_least(self._authors, CHANGED, lambda moment: moment)

    def by_others(self, access: Access, since: float, until: float) -> bool:
        """Whether another principal changed the policy of a read in that time."""
        return any(author != access.principal and since < when <= until for author, when in self._of(access))

    def by_itself(self, access: Access, since: float, until: float) -> bool:
        """Whether the principal itself changed it."""
        return any(author == access.principal and since < when <= until for author, when in self._of(access))

    def of_logins(self, access: Access, since: float) -> bool:
        """Whether the principal has changed the assignment of policies since then."""
        return self._authors.get((access.system, access.principal), NEVER) > since

    def of_identities(self, access: Access, since: float) -> bool:
        """Whether another principal has changed identities since then."""
        changed = self._identities.get(access.system, {})
        return any(author != access.principal and moment > since for author, moment in changed.items())

    def _of(self, access: Access) -> Iterable[tuple[str, float]]:
        return self._changed.get((access.system, f"{POLICY}{access.granted}"), {}).items()


class PrincipalLogins:
    """One principal's last logins by id, its first one, and when it first got each policy.

    ``used`` has the first uses of policies, ``moved`` the last days with a login used from another network.
    """

    __slots__ = ("begun", "changes", "last", "moved", "policies", "sessions", "used")

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.begun, self.last = inf, NEVER
        self.sessions: dict[str, Session] = {}
        self.policies: dict[str, float] = {}
        self.used: dict[str, float] = {}
        self.moved: tuple[int, ...] = ()

    def add(self, access: Access, at: float, *, guessed: bool) -> None:
        """Remember a login. ``guessed`` means many failures just before."""
        self.begun, self.last = min(self.begun, at), max(self.last, at)
        if access.login:
            self.sessions[access.login] = Session(at, access.source, program_of(access.agent), guessed=guessed)
            if len(self.sessions) > SESSIONS:
                del self.sessions[next(iter(self.sessions))]
        for policy in filter(None, access.granted.split(",")):
            if policy not in self.policies:
                self.changes.hold((access.system, policy))
            _note(self.policies, policy, at)

    def use(self, access: Access, at: float) -> None:
        """Remember the use of a policy."""
        if access.granted:
            _note(self.used, access.granted, at)

    def session(self, access: Access) -> Session | None:
        """The login of an access, None if unknown."""
        return self.sessions.get(access.login)

    def is_expected(self, access: Access, at: float) -> bool:
        """Whether a recent grant or change of its policy explains a read.

        Grants to oneself, and changes of a policy with many principals, do not.
        """
        since = at - GRANTED_FOR
        if not access.granted or self.changes.by_itself(access, since, at):
            return False
        if self.changes.is_narrow(access) and self.changes.by_others(access, since, at):
            return True
        return self.is_new_policy(access, at) and not self.changes.of_logins(access, since)

    def is_new_policy(self, access: Access, at: float) -> bool:
        """Whether it only recently got the policy that allowed a read.

        It must have logged in before, or the policy have few principals. If its last login lacked the policy, another
        principal must have changed an identity since.
        """
        since = at - GRANTED_FOR
        if access.granted not in self.policies and not self.changes.of_identities(access, max(since, self.last)):
            return False
        begun = min(self.policies.get(access.granted, at), self.used.get(access.granted, at))
        if begun <= since or len(self.policies) >= POLICIES:
            return False
        return self.begun <= begun - DAY or (self.begun < inf and self.changes.is_narrow(access))

    def move(self, at: float, days: int) -> bool:
        """Remember a login's use from elsewhere. Whether that happened on ``days`` days before."""
        day = int(at // DAY)
        usual = sum(other < day for other in self.moved) >= days
        if day not in self.moved:
            self.moved = (*self.moved, day)[-days - 1 :]
        return usual


class Logins:
    """The logins of all principals, bounded. Not thread-safe."""

    def __init__(self) -> None:
        self.changes = Changes()
        self._failed: dict[tuple[str, str], list[float]] = {}
        self._of: dict[tuple[str, str], PrincipalLogins] = {}

    def learn(self, access: Access, at: float) -> None:
        """Learn from a login or a change."""
        if access.action == LOGIN and access.denied:
            for place in _places(access):
                self._failed[place] = [*self._failed.pop(place, ())[1 - FAILURES :], at]
            while len(self._failed) > PRINCIPALS:
                del self._failed[next(iter(self._failed))]
        elif access.action == LOGIN:
            failed = (self._failed.get(place, ()) for place in _places(access))
            guessed = any(sum(moment > at - DAY for moment in moments) >= FAILURES for moments in failed)
            self.of(access).add(access, at, guessed=guessed)
        elif access.action == CHANGE and not access.denied:
            self.changes.add(access, at)

    def of(self, access: Access) -> PrincipalLogins:
        """The logins of an access's principal."""
        who = (access.system, access.principal)
        logins = self._of.get(who)
        if logins is None:
            logins = self._of[who] = PrincipalLogins(self.changes)
            if len(self._of) > PRINCIPALS:
                drop_least(self._of, PRINCIPALS, lambda other: inf if other is logins else other.last)
        return logins


def _places(access: Access) -> Iterator[tuple[str, str]]:
    """A login's address, and its path if that names a user."""
    yield access.system, access.source
    if not access.path.endswith("/login"):
        yield access.system, access.path


def _note(firsts: dict[str, float], name: str, at: float) -> None:
    if name in firsts or len(firsts) < POLICIES:
        firsts[name] = min(at, firsts.get(name, at))


NO_LOGINS: Final = PrincipalLogins(Changes())
"""For unknown principals."""
