"""Durations: what is written is read back, and what is no duration is refused without being quoted."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.settings import durations

SECONDS = int(durations.LONGEST.total_seconds())


@given(st.integers(0, SECONDS))
def test_what_is_shown_reads_back_as_the_same_duration(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert durations.parse(durations.show(duration)) == duration


@given(st.fixed_dictionaries({}, optional={unit: st.integers(0, 500) for unit in durations.UNITS}))
def test_units_add_up_when_the_largest_comes_first(counts: dict[str, int]) -> None:
    text = "".join(f"{counts[unit]}{unit}" for unit in durations.UNITS if unit in counts)
    seconds = sum(count * durations.UNITS[unit] for unit, count in counts.items())
    if not text or seconds > SECONDS:
        with pytest.raises(ValueError, match=r"is not a duration|is longer"):
            durations.parse(text)
    else:
        assert durations.parse(text) == timedelta(seconds=seconds)


@given(st.text())
def test_any_text_is_read_or_refused_without_being_quoted(text: str) -> None:
    said = ""
    try:
        assert durations.parse(text) <= durations.LONGEST
    except ValueError as error:
        said = str(error)
    assert said in ("", "is not a duration", "is longer than ten years")


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("0s", timedelta(0)),
    ],
)
def test_the_usual_writings(text: str, duration: timedelta) -> None:
    assert durations.parse(text) == duration


@pytest.mark.parametrize(
    "text", ["", "30", "h", "30m1h", "1h1h", "1.5h", "-1h", "1 h", "1h ", "1h\n", "\u0663d", "1H", "PT1H"]
)
def test_other_writings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.parse(text)


def test_days_are_shown_rather_than_weeks() -> None:
    assert durations.show(timedelta(days=30, hours=12)) == "30d12h"
