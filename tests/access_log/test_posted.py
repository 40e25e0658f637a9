"""Accesses that applications post: taken once, on the disk before that is said, and read as any other log."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from keyturn.access_log.sources.line_spool import SpoolTurn
from keyturn.access_log.sources.post_door import PostAnswer, PostDoor, PostedLog, Poster
from keyturn.access_log.sources.posted import PostedSource
from keyturn.core.notifications.messages import ID, POSTER, SIGNATURE, TIMESTAMP, signature
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import AccessSource, ReleasesRead, SourceOpening
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.audit_lines import AuditMount
from keyturn.core.webhook_keys import generate_webhook_key
from tests.contracts.access_source import SourceContract, paths, records

KEY, OTHER = generate_webhook_key(), generate_webhook_key()
NOW = datetime.now(UTC).replace(microsecond=0)


class Postings:
    """A log of posted accesses: two applications, and a door for each process of the machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.door = self.new_door()
        self._sources: list[AccessSource] = []
        self.number = 0

    def new_door(self) -> PostDoor:
        posters = {"trainer": Poster("trainer", lambda: [KEY]), "shop": Poster("approle shop", lambda: [OTHER, KEY])}
        return PostDoor([PostedLog("apps", self.directory, posters)], clock=NOW.timestamp)

    def post(self, *accesses: Any, door: PostDoor | None = None, **changes: Any) -> PostAnswer:
        headers, body = self.message(*accesses, **changes)
        return (door or self.door).answer(headers, body)

    def message(
        self,
        *accesses: Any,
        poster: str = "apps/trainer",
        key: Sensitive = KEY,
        message_id: str = "",
        at: datetime = NOW,
    ) -> tuple[dict[str, str], bytes]:
        self.number += 1
        body = json.dumps({"accesses": accesses}).encode()
        message_id, stamp = f"msg_{self.number}", int(at.timestamp())
        signed = signature(key, message_id, stamp, body)
        return {ID: message_id, TIMESTAMP: str(stamp), SIGNATURE: signed, POSTER: poster}, body

    def open(self) -> AccessSource:
        self._sources.append(PostedSource(SourceOpening("apps", 0.1, AuditMount("secret"), str(self.directory))))
        return self._sources[-1]

    def add(self, path: str) -> None:
        assert self.post(read_of(path)).status == HTTPStatus.OK

    def spoil(self, text: str) -> None:
        with (self.directory / "received.log").open("ab") as out:
            out.write(f'{{"received":1,"poster":"{text}"'.encode() + b"\n")

    def close(self) -> None:
        for source in self._sources:
            source.close()


def read_of(path: str, at: datetime = NOW, **more: Any) -> dict[str, Any]:
    return {"at": at.isoformat(), "path": path, **more}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Postings]:
    made = Postings(tmp_path / "posted")
    yield made
    made.close()


class TestPosted(SourceContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Postings]:
        made = Postings(tmp_path / "posted")
        yield made
        made.close()


def test_all_that_is_said_of_an_access_is_told_and_who_it_was_by_the_key(log: Postings) -> None:
    more = {"version": 3, "source": "10.0.0.9", "agent": "trainer 1.2", "login": "ab", "denied": True}
    log.post(read_of("ml/key", NOW - timedelta(hours=1), **more, principal="root", system="hub"))
    log.post(read_of("shop/smtp"), poster="apps/shop", key=OTHER)
    assert [record.access for record in records(log.open())] == [
        Access(NOW - timedelta(hours=1), "apps", "ml/key", 3, "trainer", "10.0.0.9", True, "ab", "read", "trainer 1.2"),
        Access(NOW, "apps", "shop/smtp", None, "approle shop", ""),
    ]


def test_a_message_that_comes_again_is_taken_once_by_whichever_process(log: Postings) -> None:
    headers, body = log.message(read_of("a"), read_of("b"))
    answers = [door.answer(headers, body) for door in (log.door, log.door, log.new_door(), log.new_door())]
    assert [answer.status for answer in answers] == [HTTPStatus.OK] * 4
    assert log.post(read_of("c"), door=log.new_door()).status == HTTPStatus.OK
    assert log.door.answer(headers, body).text == "it was taken before"
    assert paths(records(log.open())) == ["a", "b", "c"]


@pytest.mark.parametrize("left", [0, 1, 150, 400, 500])
def test_of_a_message_that_was_half_written_when_its_taker_died_the_rest_is_taken(log: Postings, left: int) -> None:
    headers, body = log.message(*(read_of(path) for path in "abcd"))
    log.door.answer(headers, body)
    os.truncate(log.directory / "received.log", left)
    assert log.new_door().answer(headers, body).text == "taken"
    assert paths(records(log.open())) == list("abcd")
    assert log.new_door().answer(headers, body).text == "it was taken before"


def test_while_a_key_is_replaced_both_are_taken(log: Postings) -> None:
    for key in (KEY, OTHER):
        assert log.post(read_of("a"), poster="apps/shop", key=key).status == HTTPStatus.OK


@pytest.mark.parametrize(
    ("access", "problem"),
    [
        (read_of("a", NOW + timedelta(minutes=6)), "in the future"),
        (read_of("a", NOW - timedelta(hours=25)), "more than a day ago"),
        (read_of(""), "path"),
        (read_of("a\nb"), "path"),
        (read_of("a", action="delete"), "action"),
        (read_of("a", version=-1), "version"),
        ({"at": "2026-01-01T00:00:00", "path": "a"}, "at"),
        ({"path": "a"}, "at"),
        (read_of("a", agent="x" * 300), "agent"),
    ],
)
def test_what_is_wrong_with_an_access_is_answered(log: Postings, access: dict[str, Any], problem: str) -> None:
    answer = log.post(access)
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert problem in answer.text
    assert not (log.directory / "received.log").exists()


def test_what_can_not_be_kept_may_come_again(log: Postings, monkeypatch: pytest.MonkeyPatch) -> None:
    headers, body = log.message(read_of("a"))
    full = log.new_door()
    monkeypatch.setattr(SpoolTurn, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
    answer = full.answer(headers, body)
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    monkeypatch.undo()
    assert full.answer(headers, body).text == "taken"
    assert paths(records(log.open())) == ["a"]


def test_a_log_to_which_nobody_has_posted_yet_is_released_as_any_other(log: Postings) -> None:
    source = log.open()
    assert isinstance(source, ReleasesRead)
    batch = source.read(None, 10)
    source.release(batch.cursor)
    assert source.read(batch.cursor, 10) == batch
