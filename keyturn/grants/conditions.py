"""The conditions of a policy: small checks that return objections."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final
from zoneinfo import ZoneInfo

from keyturn.catalogue.access_policies import ConditionSettings, IncidentCondition
from keyturn.core.schedule.windows import Window
from keyturn.grants.facts import AccessFacts
from keyturn.settings.durations import show

WORKDAYS: Final = frozenset(range(5))
ALL_DAYS: Final = frozenset(range(7))


@dataclass(frozen=True)
class Objection:
    """Why a condition fails, for people, or is ``unknown``."""

    words: str
    unknown: bool = False


def objections(conditions: ConditionSettings, facts: AccessFacts) -> list[Objection]:
    """All objections to these conditions, none if all hold."""
    return [objection for check in CHECKS for objection in check(conditions, facts)]


def _hours(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    days = ALL_DAYS if conditions.weekends else WORKDAYS
    if hours := conditions.hours:
        window = Window(days, hours.begin, hours.end, conditions.timezone)
        if not window.holds(facts.now):
            beyond = "" if conditions.weekends else " on a working day"
            yield Objection(
                f"it is not between {hours.begin:%H:%M} and {hours.end:%H:%M} {conditions.timezone}{beyond}"
            )
    elif not conditions.weekends and facts.now.astimezone(_zone(conditions)).weekday() not in WORKDAYS:
        yield Objection(f"it is no working day in {conditions.timezone}")


def _login(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    wanted = conditions.networks or conditions.logins or conditions.login_within or conditions.metadata
    if wanted and facts.login is None:
        yield Objection("the hub could not be asked about the login", unknown=True)


def _networks(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    if conditions.networks is None or facts.login is None:
        return
    if not facts.login.networks:
        yield Objection("the hub binds the login to no addresses (token_bound_cidrs)")
    for network in facts.login.networks:
        if not any(_within(network, allowed) for allowed in conditions.networks):
            yield Objection(f"the login may come from {network}, which is not within {', '.join(conditions.networks)}")


def _mounts(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    if conditions.logins is None or facts.login is None:
        return
    if not any(facts.login.path.startswith(f"auth/{mount}/") for mount in conditions.logins):
        yield Objection(f"the login was made at {facts.login.path}, not at {' or '.join(conditions.logins)}")


def _age(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    if conditions.login_within is None or facts.login is None:
        return
    if facts.login.made_at is None:
        yield Objection("the hub does not say when the login was made", unknown=True)
    elif facts.now - facts.login.made_at > conditions.login_within:
        yield Objection(f"the login is older than {show(conditions.login_within)}: log in again")


def _metadata(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    for name, value in (conditions.metadata or {}).items() if facts.login else ():
        if facts.login and facts.login.metadata.get(name) != value:
            yield Objection(f"the login's metadata does not say {name}: {value}")


def _incident(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    if conditions.incident is None:
        return
    if facts.incident is None:
        yield Objection("whether an incident holds the secret could not be looked at", unknown=True)
    elif facts.incident is not (conditions.incident is IncidentCondition.OPEN):
        yield Objection("an incident holds the secret" if facts.incident else "no incident holds the secret")


def _alerts(conditions: ConditionSettings, facts: AccessFacts) -> Iterator[Objection]:
    if conditions.alerts is None:
        return
    if facts.alert is None:
        yield Objection("could not check whether an alert is about the requester", unknown=True)
    elif facts.alert:
        yield Objection(f"an alert is about the requester: {facts.alert}")


CHECKS: Final[tuple[Callable[[ConditionSettings, AccessFacts], Iterator[Objection]], ...]] = (
    _hours,
    _login,
    _networks,
    _mounts,
    _age,
    _metadata,
    _incident,
    _alerts,
)


def _zone(conditions: ConditionSettings) -> ZoneInfo:
    return ZoneInfo(conditions.timezone)


def _within(network: str, allowed: str) -> bool:
    inner, outer = ip_network(network, strict=False), ip_network(allowed)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version
