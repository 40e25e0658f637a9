"""When a secret is replaced, as the catalogue says it: an interval or a cron."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from keyturn.core.schedule.cron import Cron
from keyturn.core.schedule.facts import Schedule
from keyturn.settings.timing import Timing

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Ending(Timing):
    """Values that end by themselves."""

    ends_by_itself: ClassVar[bool] = True


def timing(kind: type[Timing] = Timing, **given: Any) -> Timing:
    return kind.model_validate({"grace": "1h", **given})


def refusal(**given: Any) -> tuple[str, str]:
    """The one key that is refused, and why."""
    with pytest.raises(ValidationError) as refused:
        timing(**given)
    (error,) = refused.value.errors()
    return str(error["loc"][0]), error["msg"]


SUNDAYS: dict[str, Any] = {"cron": "0 3 * * sun", "timezone": "Europe/Berlin"}


def test_an_interval_is_the_schedule() -> None:
    said = timing(interval="30d", jitter="2h")
    assert said.schedule == Schedule(30 * DAY, 2 * HOUR)
    assert said.longest == 30 * DAY + 2 * HOUR


def test_a_cron_with_its_time_zone_is_the_schedule() -> None:
    said = timing(**SUNDAYS, jitter="2h")
    assert said.schedule == Schedule(None, 2 * HOUR, cron=Cron("0 3 * * sun", "Europe/Berlin"))
    assert said.longest == 7 * DAY + HOUR + 2 * HOUR  # the Sunday on which the clocks go back


def test_what_ends_by_itself_needs_neither() -> None:
    said = timing(Ending)
    assert said.schedule == Schedule()
    assert said.longest is None
    assert timing(Ending, interval="30d").longest == 30 * DAY


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("interval", "is missing")),
        ({"interval": None}, ("interval", "is missing")),
        ({**SUNDAYS, "interval": "7d"}, ("interval", "is given together with cron")),
        ({"cron": "0 3 * * sun"}, ("timezone", "is missing")),
        ({"interval": "7d", "timezone": "UTC"}, ("timezone", "is given without cron")),
        ({**SUNDAYS, "timezone": "Mars/Olympus"}, ("timezone", "is not a known time zone")),
        ({**SUNDAYS, "cron": "weekly"}, ("cron", "is not a cron expression: has not five fields")),
        ({**SUNDAYS, "cron": "0 25 * * *"}, ("cron", "is not a cron expression: bad hour")),
        ({**SUNDAYS, "cron": "* 3 * * sun"}, ("cron", "comes round more often than every 15 minutes")),
        ({**SUNDAYS, "cron": "0 0 * 2 mon#5"}, ("cron", "comes round less than once in eight years")),
        ({**SUNDAYS, "jitter": "-1h"}, ("jitter", "is not a duration")),
    ],
)
def test_a_mistake_is_told_once_at_its_key(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusal(**given) == expected
