"""Settings for the detection of unusual reads of secrets."""

from collections.abc import Mapping
from datetime import time
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from keyturn.access_log.detection.policy import React, Site
from keyturn.access_log.detection.rules.registry import RULES
from keyturn.catalogue.choice import CHOOSING, About, Choice
from keyturn.core.text.suggest import advice
from keyturn.settings.fields import Line, Model, PositiveDuration, refused
from keyturn.settings.timing import ClockTime, Timezone

WHOLE: Final = 1000
"""The unit of weights, as thousandths."""

LARGEST_LIMIT: Final = 1_000_000
"""The largest limit, as so many times may have to be kept for one principal."""


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        remedy = "Write 10.1.0.0/16, 2001:db8::/32 or one address, without bits behind the network's own."
        raise refused("is no network", remedy) from None
    return text


def _rule(name: str) -> str:
    if name not in RULES:
        raise refused("is no rule", advice(name, RULES, ""))
    return name


NetworkText = Annotated[str, AfterValidator(_network), WithJsonSchema({"type": "string", "minLength": 1})]
RuleName = Annotated[str, AfterValidator(_rule), WithJsonSchema({"enum": list(RULES)})]
Weight = Annotated[float, Field(ge=0, le=10)]


class HoursSettings(Model):
    """The usual hours of a day. If the end is before the begin, they cross midnight."""

    begin: Annotated[ClockTime, Field(alias="from")]
    """The first minute, local time."""
    end: Annotated[ClockTime, Field(alias="to")]
    """The end, local time, exclusive."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.begin == self.end:
            raise refused("from and to are the same", "To let any hour pass, give hours the weight 0.", "to")
        return self


class WeightSettings(Model):
    """The weights of the four scores; 0 disables a score."""

    limit: Weight | None = None
    """More accesses within 24 hours than the limit; 0.3 by default."""
    hours: Weight | None = None
    """An access outside the usual hours; 0.2 by default."""
    address: Weight | None = None
    """An address from which the principal has not read within 24 hours; 0.4 by default."""
    path: Weight | None = None
    """A secret that the principal has not received within 24 hours; 0.3 by default."""


class DetectionRuleSettings(Model):
    """The settings of a rule; for defaults see docs/access-monitoring-reference.md."""

    weight: Weight | None = None
    """The rule's weight; 0 disables it."""
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The threshold of a rule that counts."""
    within: PositiveDuration | None = None
    """The period of a rule that looks back."""
    react: React | None = None
    """The response for a secret that was read this way: off by default; dry-run reports what a revocation would do."""


class SiteSettings(Model):
    """The position of networks."""

    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1)]
    """Networks, IPv4 and IPv6; a narrower network takes precedence."""
    latitude: Annotated[float, Field(ge=-90, le=90)]
    """Degrees north of the equator."""
    longitude: Annotated[float, Field(ge=-180, le=180)]
    """Degrees east of Greenwich."""


class MonitorSettings(Choice):
    """The judgement of accesses by principals to secrets; without conditions, of all accesses."""

    model_config = ConfigDict(json_schema_extra=None)

    principals: tuple[Line, ...] = ()
    """Principals as the hub's audit log names them, such as `approle trainer`; * is any text."""
    limit: Annotated[int, Field(ge=1, le=LARGEST_LIMIT)] | None = None
    """The usual number of accesses by one principal within 24 hours; 1000 by default."""
    hours: HoursSettings | None = None
    """The usual hours; 06:00 to 22:00 by default."""
    timezone: Timezone | None = None
    """The time zone of hours and weekends: its name in the IANA database, such as Europe/Berlin; UTC by default."""
    weekends: bool | None = None
    """Whether accesses on Saturdays and Sundays are usual; true by default."""
    addresses: Annotated[tuple[NetworkText, ...], Field(min_length=1)] | None = None
    """Networks of usual accesses, IPv4 and IPv6; any by default."""
    readers: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """Principals that may read these secrets, even if the hub allows others; * is any text; any by default."""
    restricted: bool | None = None
    """Whether a first read by a principal is unusual; by default, for secrets of the classification restricted."""
    sites: Annotated[dict[Line, SiteSettings], Field(min_length=2)] | None = None
    """Positions of addresses, by the name of the site: no one is at two sites at once."""
    identity: Line | None = None
    """A common name for these principals, even across systems."""
    weights: WeightSettings | None = None
    """The weights of the four scores."""
    alert: Weight | None = None
    """The score above which there is an alert; 0.7 by default."""
    high: Weight | None = None
    """The score above which the alert is high; 0.9 by default."""
    rules: Annotated[dict[RuleName, DetectionRuleSettings], Field(min_length=1)] | None = None
    """The settings of the rules beyond the scores, by name."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        for key in (*CHOOSING, "principals"):
            if key in self.model_fields_set and not getattr(self, key):
                raise refused("is empty", "Write at least one, or leave it out for all.", key)
        return self

    @model_validator(mode="after")
    def _revokes_by_choice(self) -> Self:
        revokes = any(rule.react is React.REVOKE for rule in (self.rules or {}).values())
        if revokes and not any(getattr(self, key) for key in CHOOSING):
            remedy = "Say by paths, owners, classifications or labels which secrets a rule may end."
            raise refused("a rule that revokes needs chosen secrets", remedy, "rules")
        return self

    @property
    def conditions(self) -> int:
        return sum(bool(getattr(self, key)) for key in (*CHOOSING, "principals"))

    def means(self, principal: str, path: str, about: About | None, mounts: Mapping[str, object]) -> bool:
        named = not self.principals or any(fnmatchcase(principal, pattern) for pattern in self.principals)
        return named and self.covers(path, about, mounts)

    def changes(self) -> dict[str, Any]:
        plain = ("limit", "weekends", "restricted", "readers", "identity")
        made: dict[str, Any] = {key: value for key in plain if (value := getattr(self, key)) is not None}
        if self.hours:
            made |= {"begin": _minutes(self.hours.begin), "end": _minutes(self.hours.end)}
        if self.timezone:
            made["zone"] = self.timezone
        if self.addresses:
            made["addresses"] = tuple(map(ip_network, self.addresses))
        if self.sites:
            made["sites"] = tuple(_site(name, settings) for name, settings in self.sites.items())
        made |= {key: thousandths(value) for key in ("alert", "high") if (value := getattr(self, key)) is not None}
        weights = self.weights or WeightSettings()
        made |= {f"{key}_weight": thousandths(value) for key, value in weights if value is not None}
        return made


def _site(name: str, settings: SiteSettings) -> Site:
    return Site(name, tuple(map(ip_network, settings.networks)), settings.latitude, settings.longitude)


def _minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def thousandths(weight: float) -> int:
    return round(weight * WHOLE)
