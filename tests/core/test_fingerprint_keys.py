"""Generations of the fingerprints' key: what is made, what is believed of marks, and what of notes."""

from datetime import UTC, datetime

import pytest

from keyturn.core.fingerprint import fingerprint, is_noted, under_every_key, vouches
from keyturn.core.fingerprint_keys import (
    BOUND,
    MOST,
    FingerprintKey,
    FingerprintKeys,
    generation_of,
    generations,
    keys_of,
    read_key,
)
from keyturn.core.sensitive import Sensitive

AT = datetime(2026, 11, 28, tzinfo=UTC)
TEXT = Sensitive("value")
FIRST = FingerprintKey(1, Sensitive("aa" * 32), AT, bound=False)
SECOND = FingerprintKey(2, Sensitive("bb" * 32), AT)
THIRD = FingerprintKey(3, Sensitive("cc" * 32), AT)


def keys(*names: str) -> FingerprintKeys:
    """Three keys, used as these entries say."""
    return keys_of((FIRST, SECOND, THIRD), names, {})


def test_the_key_of_an_older_release_makes_what_it_always_made() -> None:
    assert keys().make("a/b", TEXT) == fingerprint(FIRST.key, TEXT)


def test_fingerprints_are_bound_to_their_path_and_say_whose_they_are() -> None:
    made = keys("2.used")
    assert made.make("a/b", TEXT) != made.make("a/c", TEXT)
    assert made.make("a/b", Sensitive("c")) != made.make("a/", Sensitive("bc"))
    assert generation_of(made.make("a/b", TEXT)) == 2
    assert generation_of(keys().make("a/b", TEXT)) == 1


@pytest.mark.parametrize("text", ["", "-", "aa-", "aa-x", "aa-2-3", "aa--2", f"aa-{'9' * 5000}", "aa-²"])
def test_what_is_no_fingerprint_is_of_no_key(text: str) -> None:
    assert generation_of(text) == 0
    assert not keys("2.used").outlived(text)


def test_a_mark_by_any_accepted_key_stands_for_the_text_and_one_by_a_retired_key_for_nothing() -> None:
    marks = [key.digest("a/b", TEXT) for key in (FIRST, SECOND, THIRD)]
    made = keys("2.used").make("a/b", TEXT)
    assert [vouches(mark, made) for mark in marks] == [True, True, True]
    retired = keys("2.used", "1.retired")
    assert [vouches(mark, retired.make("a/b", TEXT)) for mark in marks] == [False, True, True]
    assert [retired.refuses(mark) for mark in marks] == [True, False, False]
    assert [retired.outlived(mark) for mark in marks] == [False, False, False]
    assert [keys("2.used").outlived(mark) for mark in marks] == [True, False, False]
    assert not any(vouches(mark, made) for mark in (key.digest("a/c", TEXT) for key in (SECOND, THIRD)))


def test_what_was_noted_is_known_by_retired_keys_too() -> None:
    made = keys("3.used", "1.retired", "2.retired").make("a/b", TEXT)
    for key in (FIRST, SECOND, THIRD):
        assert is_noted([key.digest("a/b", TEXT)], made)
        assert not is_noted([key.digest("a/b", Sensitive("another"))], made)
    assert len(under_every_key(made)) == 3
    assert not is_noted([""], made)


def test_a_mark_that_names_a_key_that_the_hub_does_not_have_is_refused() -> None:
    assert keys().refuses(f"{'0' * 64}-9")
    assert not keys().refuses("")  # of a copy that is yet to be completed


def test_no_word_retires_the_key_in_use_or_uses_one_that_is_not_there() -> None:
    assert keys("1.retired").accepted == (1, 2, 3)
    assert keys("1.retired", "9.used").in_use == 1
    assert keys("2.used", "2.retired").accepted == (1, 2, 3)


def test_keys_are_counted_up_to_the_first_that_is_missing() -> None:
    assert list(generations({"2", "3", "5", "2.used"})) == [1, 2, 3]
    assert len(list(generations({str(number) for number in range(100_000)}))) == MOST


@pytest.mark.parametrize("data", [{}, {"key": ""}, {"key": 1}])
def test_an_entry_without_a_key_is_none(data: dict[str, object]) -> None:
    assert read_key(2, data, AT) is None


def test_only_a_first_key_of_an_older_release_is_not_bound() -> None:
    held = [read_key(1, {"key": "k"}, AT), read_key(1, {"key": "k", BOUND: True}, AT), read_key(2, {"key": "k"}, AT)]
    assert [key and key.bound for key in held] == [False, True, True]
