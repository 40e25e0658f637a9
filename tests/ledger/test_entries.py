"""The canonical bytes of an entry."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import TEXT_LIMIT, Numbered, leaf, parse_leaf
from tests.ledger.entries import entry

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=9))])
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2240, 1, 1), timezones=ZONES)
ENTRIES = st.builds(
    Entry,
    time=TIMES,
    actor=TEXTS,
    action=TEXTS,
    outcome=st.sampled_from(Outcome),
    secret=TEXTS,
    version=st.integers(0, 10**9),
    fingerprint=TEXTS,
    place=TEXTS,
    note=TEXTS,
    run=TEXTS,
    host=TEXTS,
)

WHOLE = (
    '{"seq":7,"time":"2026-03-01T03:12:00.130456Z","actor":"on-call@example.org","action":"rotate-secret/promote",'
    '"outcome":"done","secret":"ml-training/database-0","version":7,"fingerprint":"' + "0" * 63 + '7",'
    '"place":"postgresql:ml-postgres","note":"Größe \\"5\\"","run":"flow-run/0f3c2b44-9b7e-4f7d-8a5c-2f1f6f0d9a11",'
    '"host":"worker-3"}'
).encode()


def test_the_bytes_of_a_whole_entry_stay_what_they_are() -> None:
    assert leaf(7, entry(7, note='Größe "5"')) == WHOLE


def test_what_is_empty_is_left_out() -> None:
    least = Entry(datetime(2026, 3, 1, tzinfo=UTC), "", "", Outcome.BEGUN)
    told = b'{"seq":1,"time":"2026-03-01T00:00:00.000000Z","actor":"","action":"","outcome":"begun"}'
    assert leaf(1, least) == told
    assert parse_leaf(told) == Numbered(1, least)


@given(st.integers(1, 2**62), ENTRIES)
def test_an_entry_reads_back_as_it_was(sequence: int, one: Entry) -> None:
    assert parse_leaf(leaf(sequence, one)) == Numbered(sequence, one)


@given(ENTRIES)
def test_an_entry_is_one_line_whatever_its_texts_hold(one: Entry) -> None:
    assert len(leaf(1, one).splitlines()) == 1


def test_a_long_text_is_cut() -> None:
    told = parse_leaf(leaf(1, entry(note="x" * 5_000))).entry
    assert told.note == "x" * (TEXT_LIMIT - 1) + "…"


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert parse_leaf(leaf(1, entry(note="a\ud800b"))).entry.note == "a?b"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid, match="its time has no zone"):
        leaf(1, Entry(datetime(2026, 3, 1), "me", "do", Outcome.DONE))


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        WHOLE + b" ",
        WHOLE.replace(b'"seq":7', b'"seq":07'),
        WHOLE.replace(b'"seq":7', b'"seq":7.0'),
        WHOLE.replace(b'"seq":7', b'"seq":true'),
        WHOLE.replace(b'"version":7', b'"version":7.0'),
        WHOLE.replace(b'"version":7', b'"version":true'),
        WHOLE.replace(b'"version":7', b'"version":0'),
        WHOLE.replace(b'"version":7', b'"version":"7"'),
        WHOLE.replace(b'"done"', b'"undone"'),
        WHOLE.replace(b'"host"', b'"guest"'),
        WHOLE.replace(b'"host":"worker-3"', b'"host":3'),
        WHOLE.replace(b'"host":"worker-3"', b'"host":[]'),
        WHOLE.replace(b'"host":"worker-3"', b'"host":""'),
        WHOLE.replace(b"Z", b"+00:00"),
        WHOLE.replace(b".130456Z", b".130Z"),
        WHOLE.replace(b".130456Z", b".130456"),
        WHOLE.replace(b'"actor"', b'"actor":"me","actor"'),
        WHOLE.replace("Größe".encode(), b"Gr\\u00f6\\u00dfe"),
    ],
)
def test_what_keyturn_would_not_have_written_is_no_entry(other: bytes) -> None:
    with pytest.raises(Invalid, match="it is not spelled as Keyturn writes it"):
        parse_leaf(other)
