"""Notifications and ledger entries about alerts contain names only, as plain text."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from keyturn.access_log.detection.alerts import Evidence, FactorCount, Level, Stage
from keyturn.access_log.reactions.channel import ChannelReaction
from keyturn.access_log.reactions.ledger import LedgerReaction, note_of
from keyturn.core.notifications.alerts import ROOM, AlertNote
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Entry
from tests.access_log.reactions.samples import BEGUN, NIGHT, alert, complete

MARKUP = "<b>x</b> *x* [x](http://evil.example) `x` ~x~ @channel <!here> www.evil.example \x1b[2J \u202e"


class Channel:
    def __init__(self) -> None:
        self.sent: list[Announcement] = []

    def send(self, announcement: Announcement) -> None:
        self.sent.append(announcement)


class Book:
    """A ledger that keeps what is written."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        self.entries += entries


def told(*alerts: object) -> list[Announcement]:
    channel = Channel()
    ChannelReaction(channel).react(alerts)  # type: ignore[arg-type]
    return channel.sent


def test_a_message_says_who_what_and_why() -> None:
    (message,) = told(alert())
    assert message.subject == "Keyturn: very odd access by approle trainer: ml/key"
    assert "0.4 new-address: nothing was read from 203.0.113.9 in the window" in message.body
    assert "23:00:00 read ml/key from 203.0.113.9 by curl/8" in message.body


def test_many_alerts_are_one_message_with_the_worst_first() -> None:
    mild = replace(BEGUN, level=Level.ALERT, score=800)
    (message,) = told(*(replace(mild, id=f"m{n}", principal=f"p{n}") for n in range(30)), alert("worst"))
    assert message.subject == "Keyturn: 31 alerts, the worst of approle trainer"
    assert message.body.index("worst") < message.body.index("m0")
    assert "and 26 more alerts" in message.body


def test_a_storm_is_told_by_its_number() -> None:
    (message,) = told(alert(principal="", principals=75, count=400))
    assert message.subject == "Keyturn: very odd access by 75 principals or more"


def test_the_end_is_told_where_more_has_come_and_a_repeat_has_the_same_id() -> None:
    assert told(alert(stage=Stage.COMPLETE)) == []
    assert told(alert(), complete()) == told(complete())
    assert told(alert())[0].id == told(alert())[0].id != told(complete())[0].id


def hostile() -> Sequence[object]:
    event = Evidence(NIGHT, MARKUP, MARKUP, "read", 3, MARKUP, True, 1200, ("new-address",))
    factors = (FactorCount("new-address", 400, f"nothing was read from {MARKUP}", 1),)
    return [replace(BEGUN, principal=MARKUP, system=MARKUP, events=(event,), factors=factors)]


@pytest.mark.parametrize("dangerous", ["<", ">", "*", "[", "`", "~", " @", "://", "www.", "\x1b", "\u202e"])
def test_markup_stays_text(dangerous: str) -> None:
    (message,) = told(*hostile())
    assert dangerous not in message.subject.removeprefix("Keyturn") + message.body.partition("When the secret")[0]


def written(*alerts: object) -> list[Entry]:
    book = Book()
    clock = datetime.fromisoformat("2026-03-04T23:00:02+00:00")
    LedgerReaction(book, lambda: "approle keyturn-serve", lambda: clock).react(alerts)  # type: ignore[arg-type]
    return book.entries


def test_the_ledger_has_an_entry_that_tells_the_alert() -> None:
    (entry,) = written(alert())
    assert (entry.action, entry.secret, entry.place, entry.actor) == ("alert", "ml/key", "hub", "approle keyturn-serve")
    assert AlertNote.from_text(entry.note) == note_of(alert())


def test_the_entry_names_no_secret_where_it_is_about_several() -> None:
    other = replace(BEGUN.events[0], path="ml/db")
    assert written(alert(events=(*BEGUN.events, other), count=2))[0].secret == ""
    assert written(complete(count=40))[0].secret == "", "not all of the forty are named"


def test_a_note_has_room_for_whatever_names_hold() -> None:
    (entry,) = written(replace(BEGUN, principal="\\" * 5000, events=(replace(BEGUN.events[0], source='"' * 900),)))
    assert len(entry.note) <= ROOM
    assert AlertNote.from_text(entry.note).id == "a1"
