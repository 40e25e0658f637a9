"""Rules that look at one access at a time, and keep nothing between accesses."""

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from keyturn.access_log.detection.habits import DAY
from keyturn.access_log.detection.history import NO_HISTORY, History, IncidentHistory
from keyturn.access_log.detection.peers import Peers
from keyturn.access_log.detection.policy import MonitorPolicy, Network, Tuning
from keyturn.access_log.detection.profile import SATURDAY
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Rule, Trigger, tuning_of
from keyturn.access_log.detection.window import PrincipalWindow
from keyturn.core.hosts import to_address
from keyturn.core.ports.access import Access

REMEMBERED: Final = 10_000


class AddressRange(Rule):
    """The caller's address is in none of the policy's ``addresses``, or invalid.

    Forwarded and missing addresses are ignored.
    """

    name = "address-range"
    tuning = Tuning(800)

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return bool(policy.addresses)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if not access.source or _within(access.source, policy.addresses):
            return ""
        return f"from {access.source}, outside {', '.join(map(str, policy.addresses))}"


@lru_cache(REMEMBERED)
def _within(source: str, networks: tuple[Network, ...]) -> bool:
    """Whether a logged address, perhaps IPv4-mapped, is in one of these."""
    address = to_address(source.partition(",")[0].strip())
    if address is None:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == network.version and address in network for network in networks)


class AfterRevocation(Rule):
    """An access or attempt ``within`` a time after the revocation, by a principal that has not read it from there.

    Consumers at their usual place are exempt.
    """

    name = "after-revocation"
    tuning = Tuning(1000, 0, timedelta(hours=1))

    def __init__(self, history: History, peers: Peers) -> None:
        self._history = history

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return self._history is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        revoked = self._history.revoked_at(access.path, at)
        if revoked is None or at > revoked + tuning_of(self, policy).within.total_seconds():
            return ""
        if window.has_read(access.path, access.source):
            return ""
        return f"{(at - revoked) / 60:.0f} min after it was revoked, and not from who and where it is read otherwise"


class Awakened(Rule):
    """A secret that it never read, or many more accesses than ever, on the day after ``within`` a time of absence.

    ``dormant`` judges the first access.
    """

    name = "awakened"
    tuning = Tuning(800, 0, timedelta(days=30))
    trigger = Trigger.NOVEL

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if window.away < tuning_of(self, policy).within.total_seconds() or window.last <= at - DAY:
            return ""
        days = f"it was away for {window.away / DAY:.0f} days, and now"
        if not window.was_given(access.path):
            return f"{days} reads what it was never given"
        return f"{days} reads more than {window.brisk:,.0f} times an hour" if window.count > window.brisk else ""


class Decoy(Rule):
    """Any access to a decoy, successful or not."""

    name = "decoy"
    tuning = Tuning(1000)

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return policy.decoy

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        return "it is a decoy, which no one has a reason to read"


class Dormant(Rule):
    """The first access after more than ``within`` a time without any, except a principal's very first."""

    name = "dormant"
    tuning = Tuning(500, 0, timedelta(days=30))
    trigger = Trigger.RETURNING

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        away = at - window.last
        if window.last == NEVER or away <= tuning_of(self, policy).within.total_seconds():
            return ""
        return f"it comes back after {away / DAY:.0f} days"


class OtherReader(Rule):
    """An access or attempt by a principal that matches none of the policy's ``readers``."""

    name = "other-reader"
    tuning = Tuning(800)

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return bool(policy.readers) and not any(fnmatchcase(principal, pattern) for pattern in policy.readers)

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        return f"it is none of those who read this: {', '.join(policy.readers)}"


LAG: Final = DAY
LONG: Final = 7 * DAY
"""Seconds in which a consumer may lag, in general, and by one version at its usual place."""


class RetiredVersion(Rule):
    """An access to a version older than CURRENT that was retired or revoked.

    A known reader may lag by a day, or at its usual place by one version for a week.
    """

    name = "retired-version"
    tuning = Tuning(800)

    def __init__(self, history: History, peers: Peers) -> None:
        self._history = history

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return self._history is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        version = access.version
        ended = None if version is None else self._history.retired_at(access.path, version, at)
        if not ended or version is None or self._is_behind(access, version, at - ended, at, window):
            return ""
        return f"version {version}, which ended at {datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M} UTC"

    def _is_behind(self, access: Access, version: int, ago: float, at: float, window: PrincipalWindow) -> bool:
        if ago < LAG:
            return window.was_given(access.path)
        last = self._history.retired_at(access.path, version + 1, at) is None
        return ago < LONG and last and window.has_read(access.path, access.source)


class RootToken(Rule):
    """The login has the hub's root policy."""

    name = "root-token"
    tuning = Tuning(800)
    trigger = Trigger.ROOT

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        return "with the root policy"


class SelfGranted(Rule):
    """A new secret, allowed by a policy that the principal itself changed ``within`` a time.

    The same holds for a policy that it has only had since it changed a role, user or group.
    """

    name = "self-granted"
    tuning = Tuning(800, 0, timedelta(days=7))
    trigger = Trigger.NEW_PATH

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        if not access.granted or access.denied or window.was_given(access.path):
            return ""
        logins, within = window.logins, tuning_of(self, policy).within
        since = at - within.total_seconds()
        if logins.changes.by_itself(access, since, at):
            return f"allowed by {access.granted}, which it changed itself in the {within.days} days before"
        if logins.changes.of_logins(access, since) and logins.is_new_policy(access, at):
            return f"allowed by {access.granted}, which is new to it, after it changed who has which policies"
        return ""


class Watched(Rule):
    """An access to a secret ``within`` a time after it was put on the watch list.

    Exempt are earlier readers from a network they already used.
    """

    name = "watched"
    tuning = Tuning(300, 0, timedelta(days=14))

    def __init__(self, history: History, peers: Peers) -> None:
        self._incidents = history if isinstance(history, IncidentHistory) else NO_HISTORY

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return self._incidents is not NO_HISTORY

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        watch = self._incidents.watched(access.path, at)
        if watch is None or at > watch.since + tuning_of(self, policy).within.total_seconds():
            return ""
        if window.knows(access.path, access.source, watch.since):
            return ""
        since = datetime.fromtimestamp(watch.since, UTC)
        return f"watched since {since:%Y-%m-%d}: who read {watch.revoked}, which was revoked then, read this, too"


class Weekend(Rule):
    """An access on a weekend in the policy's zone, where none is expected."""

    name = "weekend"
    tuning = Tuning(200)

    def concerns(self, principal: str, policy: MonitorPolicy) -> bool:
        return not policy.weekends

    def judge(self, access: Access, at: float, window: PrincipalWindow, policy: MonitorPolicy) -> str:
        local = access.at.astimezone(ZoneInfo(policy.zone))
        return f"on a {local:%A} in {policy.zone}" if local.weekday() >= SATURDAY else ""
