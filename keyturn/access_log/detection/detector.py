"""Scores accesses one by one, as they arrive."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from math import inf
from typing import Final

from keyturn.access_log.detection.alerts import Alert, Factor, Finding, Level
from keyturn.access_log.detection.bounds import drop_least
from keyturn.access_log.detection.explanations import explained_weight
from keyturn.access_log.detection.grouping import AlertGroups
from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import (
    MANY_READERS,
    NO_HISTORY,
    History,
    IncidentHistory,
    Watch,
    near_secrets,
)
from keyturn.access_log.detection.logins import Logins
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicies, MonitorPolicy, React
from keyturn.access_log.detection.profile import MINUTE, Profile
from keyturn.access_log.detection.reorder import LATENESS, LATEST, NEVER, OrderCounts, Reorder, Timed, in_batches
from keyturn.access_log.detection.rules.base import Rule, tuning_of
from keyturn.access_log.detection.rules.registry import make_rules
from keyturn.access_log.detection.scores import ADDRESS, HOURS, LIMIT, PATH, describe_scores
from keyturn.access_log.detection.window import PRINCIPALS, PrincipalWindow
from keyturn.core.ports.access import DELETE, DESTROY, LOGIN, READ, Access

AHEAD: Final = 60.0
"""Seconds that a time may be ahead of the clock."""


class Arrivals:
    """Releases each access at once with its time, unlike :class:`.reorder.Reorder`.

    Logs differ in delay, so waiting would delay alerts and dropping would lose them. Accesses more than ``lateness``
    behind their system are counted. Times ahead of the clock (:meth:`advance`) count as now.
    """

    def __init__(self, lateness: timedelta = LATENESS) -> None:
        self.counts = OrderCounts()
        self._lateness = lateness.total_seconds()
        self._newest: dict[str, float] = {}
        self._now = inf

    def push(self, accesses: Iterable[Access]) -> Sequence[Timed]:
        """Release accesses, without those with an impossible time."""
        ready, impossible, latest = [], 0, self._now + AHEAD
        for access in accesses:
            at = access.at.timestamp()
            if not 0 <= at < LATEST:
                impossible += 1
                continue
            if at > latest:
                self.counts.ahead += 1
                at = self._now
            newest = self._newest.get(access.system, NEVER)
            if at >= newest:
                self._newest[access.system] = at
            elif at < newest - self._lateness:
                self.counts.late += 1
            ready.append((at, access))
        self.counts.impossible += impossible
        self.counts.accesses += len(ready)
        return ready

    def advance(self, now: float) -> Sequence[Timed]:
        """Set the clock to ``now``. Nothing is waiting."""
        self._now = now
        return ()

    def end(self) -> Sequence[Timed]:
        """Nothing is waiting."""
        return ()


UNEXPLAINED: Final = "dormant"
"""With this rule, a principal's earlier behaviour explains nothing."""

WATCHED: Final = "watched"
"""With this rule, earlier behaviour does not explain a foreign address."""


ENDS: Final = (DELETE, DESTROY)
"""Actions that delete or destroy versions of secrets."""


@dataclass
class DetectionCounts:
    """Counts of odd accesses and forgotten principals.

    ``explained`` accesses would be odd, but are usual for their principals.
    """

    order: OrderCounts
    odd: int = 0
    explained: int = 0
    forgotten: int = 0


def last_seen(window: PrincipalWindow) -> float:
    """When the principal was last seen. New ones stay."""
    return window.last if window.times else inf


class Detector:
    """Scores accesses by their principal's last 24 hours, and groups odd ones into alerts. Not thread-safe.

    Accesses are judged by time, at most ``lateness`` late. With ``live`` they are judged on arrival (:mod:`.arrivals`),
    and alerts are reported when they begin, worsen and complete. Memory is limited by :mod:`.window` and the rules.
    """

    def __init__(
        self,
        policies: MonitorPolicies,
        history: History = NO_HISTORY,
        *,
        lateness: timedelta = LATENESS,
        live: bool = False,
    ) -> None:
        self._policies = policies
        peers = Peers()
        self._rules = make_rules(history, peers)
        self._usual_network = peers.usual_network
        self._order = Arrivals(lateness) if live else Reorder(lateness)
        self._groups = AlertGroups(live=live)
        self._logins = Logins()
        self._windows: dict[str, dict[str, PrincipalWindow]] = {}
        self._incidents = history if isinstance(history, IncidentHistory) else NO_HISTORY
        self._watched = 0
        self._learning = False
        self._look_at = NEVER
        self._profiles: dict[tuple[int, tuple[str, ...]], Profile] = {}
        self.counts = DetectionCounts(self._order.counts)

    def alerts(self, accesses: Iterable[Access]) -> Iterator[Alert]:
        """Yield the alerts of a whole log."""
        for some in in_batches(accesses):
            yield from self.take_all(some)
        yield from self.end()

    def take(self, access: Access) -> Sequence[Alert]:
        """Take one access, and return new alerts."""
        return self.take_all((access,))

    def take_all(self, accesses: Iterable[Access]) -> Sequence[Alert]:
        """Take several accesses in their order of arrival, which costs less."""
        ready = self._order.push(accesses)
        return self._judged(ready) if ready else ()

    def learn(self, accesses: Iterable[Access], *, grouped: bool = True) -> None:
        """Take accesses that were judged before, as after a start, without reporting anything.

        Without ``grouped`` they were never reported, so that later ones begin new alerts. Rules' reactions are off.
        """
        self._learning = True
        try:
            for some in in_batches(accesses):
                if grouped:
                    self.take_all(some)
                else:
                    for at, access in self._order.push(some):
                        self._judge(access, at)
        finally:
            self._learning = False

    def advance(self, now: datetime) -> Sequence[Alert]:
        """Advance the clock: judge waiting accesses, and complete quiet alerts. Frequent calls are cheap."""
        moment = now.timestamp()
        return [*self._judged(self._order.advance(moment)), *self._groups.advance(moment)]

    def end(self) -> Sequence[Alert]:
        """Return the remaining alerts."""
        return [*self._judged(self._order.end()), *self._groups.end()]

    def _judged(self, ready: Sequence[Timed]) -> Sequence[Alert]:
        alerts: list[Alert] = []
        if ready:
            self._watch(ready[0][0])
        for at, access in ready:
            if at >= self._look_at:
                self._look_at = at + MINUTE
                self._watch(at)
                alerts += self._groups.complete(access.system, at)
            if finding := self._judge(access, at):
                alerts += self._groups.add(finding, at)
        return alerts

    def _watch(self, at: float) -> None:
        """Watch secrets near those revoked since."""
        revoked: dict[str, float] = {}
        revocations = self._incidents.revocations(self._watched)
        for number, moment, path in takewhile(lambda revocation: revocation[1] <= at, revocations):
            self._watched, revoked[path] = number, moment
        if not revoked:
            return
        near: dict[str, list[set[str]]] = {path: [] for path in revoked}
        for window in self._all_windows():
            if not window.paths.keys().isdisjoint(revoked):
                read = {path for path, seen_path in window.paths.items() if seen_path.at != NEVER}
                for path in revoked.keys() & read:
                    near[path].append(read - {path})
        others = {path: set(near_secrets(readings)) for path, readings in near.items()}
        narrow = self._narrow(set[str]().union(*others.values()))
        for path, read in others.items():
            for other in sorted(read & narrow):
                self._incidents.watch(other, Watch(revoked[path], path))

    def _narrow(self, paths: set[str]) -> set[str]:
        """The secrets with few readers. Common ones are near to none."""
        readers = Counter(path for window in self._all_windows() for path in paths if window.was_given(path))
        return {path for path in paths if readers[path] <= MANY_READERS}

    def _all_windows(self) -> Iterator[PrincipalWindow]:
        return (window for windows in self._windows.values() for window in windows.values())

    def _judge(self, access: Access, at: float) -> Finding | None:
        """Score an access and remember it.

        It is one function because it takes most of the time. A late access is compared with the current state.
        """
        path, source = access.path, access.source
        if access.action != READ:
            return self._judge_end(access, at) if access.action in ENDS else self._judge_login(access, at)
        of_system = self._windows.get(access.system)
        window = (of_system and of_system.get(access.principal)) or self._open(access)
        seen_path = window.paths.get(path) or window.begin(path, self._profile(window, access))
        profile = seen_path.profile
        policy, rules = profile.policy, profile.always
        horizon, times, last, read_at = at - DAY, window.times, window.last, window.read_at
        if last <= horizon:
            rules += profile.returning
        recent = at if at > last else last
        novel = recent >= window.next_hour and window.begin_hour(recent)
        times.append(recent)
        window.count += 1
        if read_at <= horizon:
            window.come_back(at)
        since = window.back_to if at < window.back_until else horizon
        score = odd = 0
        if len(times) > profile.limit and times[-1 - profile.limit] > horizon:
            score, odd = policy.limit_weight, LIMIT
        if not profile.since <= at < profile.until:
            profile.settle(at)
        if profile.outside:
            score, odd = score + policy.hours_weight, odd | HOURS
        if (path_at := seen_path.at) <= since:
            rules += profile.new_path
            novel = novel or path_at == NEVER
            if read_at != NEVER:
                score, odd = score + policy.path_weight, odd | PATH
        address_at = window.addresses.get(source, NEVER) if source else at
        if address_at <= since and read_at != NEVER:
            score, odd = score + policy.address_weight, odd | ADDRESS
        if novel or address_at == NEVER or window.count > window.brisk or at < window.watched_until:
            rules += profile.novel
        if access.denied:
            rules += profile.denied
        if access.root:
            rules += profile.root
        factors = self._ask(rules, access, at, window, policy) if rules else ()
        window.last = recent
        if not access.denied:
            if path_at == NEVER:
                window.add_path(path, seen_path, recent)
                window.logins.use(access, at)
            seen_path.at = window.read_at = recent
            if address_at == NEVER:
                window.add_address(source, recent)
            elif source:
                window.addresses[source] = recent
        if not factors and score <= policy.alert:
            return None
        watched = any(factor.name == WATCHED for factor in factors)
        explained = explained_weight(
            access, at, odd, window, policy, path_at, address_at, self._usual_network, watched=watched
        )
        return self._conclude(access, score, odd, factors, policy, explained)

    def _judge_login(self, access: Access, at: float) -> Finding | None:
        """Score a failed login, and remember a successful one or a change of rights.

        A failed login adds no principal, because many invented names would displace others.
        """
        self._logins.learn(access, at)
        if access.action != LOGIN or not access.denied:
            return None
        policy = self._policies.policy(access.principal, access.path)
        profile, window = self._made(access.principal, policy), PrincipalWindow()
        return self._conclude(access, 0, 0, self._ask(profile.denied, access, at, window, policy), policy)

    def _judge_end(self, access: Access, at: float) -> Finding | None:
        """Score a deletion or destruction by rules alone."""
        policy = self._policies.policy(access.principal, access.path)
        profile, window = self._made(access.principal, policy), PrincipalWindow(self._logins.of(access))
        rules = profile.ended + profile.root if access.root else profile.ended
        return self._conclude(access, 0, 0, self._ask(rules, access, at, window, policy), policy)

    def _ask(
        self, rules: tuple[Rule, ...], access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy
    ) -> tuple[Factor, ...]:
        """Return the factors that the rules find odd."""
        return tuple(
            Factor(rule.name, tuning.weight, words, React.OFF if self._learning else tuning.react)
            for rule in rules
            if (words := rule.judge(access, at, window, policy)) and (tuning := tuning_of(rule, policy))
        )

    def _conclude(
        self,
        access: Access,
        score: int,
        odd: int,
        factors: tuple[Factor, ...],
        policy: MonitorPolicy,
        explained: int = 0,
    ) -> Finding | None:
        """Return the finding, if its unexplained score suffices."""
        score += sum(factor.weight for factor in factors)
        if score <= policy.alert:
            return None
        if score - explained <= policy.alert and not any(factor.name == UNEXPLAINED for factor in factors):
            self.counts.explained += 1
            return None
        self.counts.odd += 1
        level = Level.HIGH if score > policy.high else Level.ALERT
        return Finding(access, level, score, (*describe_scores(access, odd, policy), *factors))

    def _open(self, access: Access) -> PrincipalWindow:
        """Begin to remember a principal."""
        windows = self._windows.setdefault(access.system, {})
        window = windows[access.principal] = PrincipalWindow(self._logins.of(access))
        if len(windows) > PRINCIPALS:
            self.counts.forgotten += drop_least(windows, PRINCIPALS, last_seen)
        return window

    def _profile(self, window: PrincipalWindow, access: Access) -> Profile:
        """Return how this principal is judged at this secret."""
        policy = self._policies.policy(access.principal, access.path)
        profile = window.profiles.get(id(policy))
        if profile is None:
            profile = window.profiles[id(policy)] = self._made(access.principal, policy)
            window.make_room(profile.limit)
        return profile

    def _made(self, principal: str, policy: MonitorPolicy) -> Profile:
        """The rules for a principal, shared between equal ones."""
        rules = tuple(
            rule for rule in self._rules if tuning_of(rule, policy).weight and rule.concerns(principal, policy)
        )
        key = (id(policy), tuple(rule.name for rule in rules))
        if key not in self._profiles:
            self._profiles[key] = Profile(policy, rules)
        return self._profiles[key]
