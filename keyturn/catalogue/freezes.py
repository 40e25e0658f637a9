"""The freeze calendar: times in which rotations wait unless they are urgent."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from keyturn.core.mounts import EVERY, MOUNT
from keyturn.core.schedule.windows import Freeze, instant
from keyturn.core.text.path_patterns import covers, has_stars_beside
from keyturn.settings.fields import Line, Model, illegal_secret, refused
from keyturn.settings.timing import Timezone

LOCAL: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]$"
PATTERN: Final = rf"^(({MOUNT}|\*):)?[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)*$"
EVERYTHING: Final = f"{EVERY}:**"


def _local(value: Any) -> datetime:
    try:
        if isinstance(value, str) and re.fullmatch(LOCAL, value):
            return datetime.fromisoformat(value)
    except ValueError:
        raise refused("is not a day of the calendar", "Correct the date.") from None
    raise refused("is not a date with a time of day", 'Write both, local time: "2026-12-20T18:00".')


def illegal_pattern(pattern: str) -> tuple[str, str] | None:
    """The reason and the remedy if ``pattern`` is no legal path pattern; else None."""
    if has_stars_beside(pattern):
        return "** is combined with something else", "Write it alone between two slashes, as in prod/**."
    return illegal_secret(pattern.replace("*", "x"))


def _pattern(pattern: str) -> str:
    if flaw := illegal_pattern(pattern):
        raise refused(*flaw)
    return pattern


LocalTime = Annotated[datetime, BeforeValidator(_local), WithJsonSchema({"type": "string", "pattern": LOCAL})]
PathPattern = Annotated[str, AfterValidator(_pattern), WithJsonSchema({"type": "string", "pattern": PATTERN})]


class FreezeSettings(Model):
    """A time in which rotations wait unless they are urgent, for all secrets or some."""

    begin: Annotated[LocalTime, Field(alias="from")]
    """The first minute, local time, such as 2026-12-20T18:00."""
    end: Annotated[LocalTime, Field(alias="to")]
    """The end, local time, exclusive."""
    timezone: Timezone
    """The time zone's name in the IANA database, such as Europe/Berlin."""
    reason: Line
    """The reason, for people who find a rotation delayed."""
    paths: Annotated[tuple[PathPattern, ...], Field(min_length=1)] = (EVERYTHING,)
    """The secrets of the freeze, all by default: * is any text within one part of a path, ** any number of parts. The
    name of a mount and a colon come before the paths of other mounts; *: is any mount."""

    @model_validator(mode="after")
    def _real_and_in_order(self) -> Self:
        for key, local in (("from", self.begin), ("to", self.end)):
            if instant(local, self.zone).astimezone(self.zone).replace(tzinfo=None) != local:
                raise refused("the clocks skip this time on that day", "Write the time an hour later.", key)
        if self.policy("").begins >= self.policy("").ends:
            raise refused("the freeze ends before it begins", "Let it end later than it begins.", "to")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def policy(self, name: str) -> Freeze:
        """The freeze in UTC. An ambiguous local time counts so that the freeze is longer."""
        return Freeze(name, instant(self.begin, self.zone), instant(self.end, self.zone, fold=1), self.reason)

    def covers(self, path: str) -> bool:
        return any(covers(pattern, path) for pattern in self.paths)
