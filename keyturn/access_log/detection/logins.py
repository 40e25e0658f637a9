"""From where principals have logged in, which policies they were given by that, and who has changed policies."""

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
"""How many principals' logins are remembered, of each so many logins and policies; beyond, the oldest logins go,
and nothing is new of policies."""

CHANGED: Final = 20_000
AUTHORS: Final = 8
"""Policies whose changes are remembered, and of each those who made some; beyond, those that were changed first go."""

GRANTED_FOR: Final = 3 * DAY
"""Seconds after a policy was changed, or given to somebody, in which its use for something new is what it is for."""

POLICY: Final = "policies/"
IDENTITY: Final = "identity/"
"""How the path of a policy's change begins, and that of an entity's or a group's."""


FAILURES: Final = 3
"""Logins that failed within a day from an address, or of a name, from which on one that follows shows nothing of who
is there.
"""

NARROW: Final = 10
"""Principals that have a policy at most, where a change of it explains what one of them reads."""


class Session:
    """One login: when it was made, from which address and by which program, and whether many failed there before."""

    __slots__ = ("at", "guessed", "program", "source")

    def __init__(self, at: float, source: str, program: str, *, guessed: bool = False) -> None:
        self.at = at
        self.source = source
        self.program = program
        self.guessed = guessed


class Changes:
    """Who has changed which policies, roles, users and groups, and when: the last of each of them."""

    def __init__(self) -> None:
        self._changed: dict[tuple[str, str], dict[str, float]] = {}
        self._authors: dict[tuple[str, str], float] = {}
        self._identities: dict[str, dict[str, float]] = {}
        self._holders: dict[tuple[str, str], int] = {}

    def hold(self, policy: tuple[str, str]) -> None:
        """That one more principal of a system has a policy."""
        self._holders[policy] = self._holders.pop(policy, 0) + 1
        if len(self._holders) > CHANGED:
            del self._holders[next(iter(self._holders))]

    def is_narrow(self, access: Access) -> bool:
        """Whether few have the policy that allowed a read."""
        return self._holders.get((access.system, access.granted), 0) <= NARROW

    def add(self, access: Access, at: float) -> None:
        """That somebody has changed something."""
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
        """Whether somebody else than the principal of a read changed the policy that allowed it, in that time."""
        return any(author != access.principal and since < when <= until for author, when in self._of(access))

    def by_itself(self, access: Access, since: float, until: float) -> bool:
        """Whether the principal itself did."""
        return any(author == access.principal and since < when <= until for author, when in self._of(access))

    def of_logins(self, access: Access, since: float) -> bool:
        """Whether the principal has changed since then who has which policies."""
        return self._authors.get((access.system, access.principal), NEVER) > since

    def of_identities(self, access: Access, since: float) -> bool:
        """Whether somebody else has changed an entity or a group since then."""
        changed = self._identities.get(access.system, {})
        return any(author != access.principal and moment > since for author, moment in changed.items())

    def _of(self, access: Access) -> Iterable[tuple[str, float]]:
        return self._changed.get((access.system, f"{POLICY}{access.granted}"), {}).items()


class PrincipalLogins:
    """One principal's: its last logins by their ids, since when it logs in, and when it was first given each policy.

    ``used`` says when each policy first allowed it anything. ``moved`` are the last days on which one of its logins was
    used from another network than it was made from.
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
        """That it logs in; ``guessed`` says that many logins failed at its address just before."""
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
        """That a policy allows it something."""
        if access.granted:
            _note(self.used, access.granted, at)

    def session(self, access: Access) -> Session | None:
        """The login that an access was made with; None where it is not known."""
        return self.sessions.get(access.login)

    def is_expected(self, access: Access, at: float) -> bool:
        """Whether it was given something lately that explains what it reads: its policy, or what that allows.

        What somebody gives to oneself explains nothing, nor does a change of a policy that many have.
        """
        since = at - GRANTED_FOR
        if not access.granted or self.changes.by_itself(access, since, at):
            return False
        if self.changes.is_narrow(access) and self.changes.by_others(access, since, at):
            return True
        return self.is_new_policy(access, at) and not self.changes.of_logins(access, since)

    def is_new_policy(self, access: Access, at: float) -> bool:
        """Whether it has had the policy that allowed a read for some days only.

        It has to have logged in before, or be one of few that have it: the policies of many are no news. What its last
        login did not have somebody has to have given to its entity or group since.
        """
        since = at - GRANTED_FOR
        if access.granted not in self.policies and not self.changes.of_identities(access, max(since, self.last)):
            return False
        begun = min(self.policies.get(access.granted, at), self.used.get(access.granted, at))
        if begun <= since or len(self.policies) >= POLICIES:
            return False
        return self.begun <= begun - DAY or (self.begun < inf and self.changes.is_narrow(access))

    def move(self, at: float, days: int) -> bool:
        """That a login is used from elsewhere; whether it was so on as many days before."""
        day = int(at // DAY)
        usual = sum(other < day for other in self.moved) >= days
        if day not in self.moved:
            self.moved = (*self.moved, day)[-days - 1 :]
        return usual


class Logins:
    """Those of all principals, bounded. Used by one thread."""

    def __init__(self) -> None:
        self.changes = Changes()
        self._failed: dict[tuple[str, str], list[float]] = {}
        self._of: dict[tuple[str, str], PrincipalLogins] = {}

    def learn(self, access: Access, at: float) -> None:
        """Take a login or a change; one that failed teaches nothing but that, and where."""
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
        """Those of the principal of an access."""
        who = (access.system, access.principal)
        logins = self._of.get(who)
        if logins is None:
            logins = self._of[who] = PrincipalLogins(self.changes)
            if len(self._of) > PRINCIPALS:
                drop_least(self._of, PRINCIPALS, lambda other: inf if other is logins else other.last)
        return logins


def _places(access: Access) -> Iterator[tuple[str, str]]:
    """Where a login comes from, and whose it is by its path; some methods' name nobody there."""
    yield access.system, access.source
    if not access.path.endswith("/login"):
        yield access.system, access.path


def _note(firsts: dict[str, float], name: str, at: float) -> None:
    if name in firsts or len(firsts) < POLICIES:
        firsts[name] = min(at, firsts.get(name, at))


NO_LOGINS: Final = PrincipalLogins(Changes())
"""Where nothing is known."""
