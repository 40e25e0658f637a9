"""Posted access records can't be forged, replayed or used to block others."""

import json
import stat
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest

from keyturn.access_log.sources.post_door import BODY_LIMIT, BURST
from keyturn.catalogue.files.load import find_problems
from keyturn.core.notifications.messages import ID, POSTER, SIGNATURE, TIMESTAMP
from tests.access_log.test_posted import KEY, NOW, OTHER, Postings, read_of
from tests.contracts.access_source import records


@pytest.fixture
def log(tmp_path: Path) -> Postings:
    return Postings(tmp_path / "posted")


def taken(log: Postings) -> list[str]:
    source = log.open()
    told = [f"{record.access.principal} {record.access.path}" for record in records(source)]
    source.close()
    return told


def test_an_application_can_not_post_under_anothers_name(log: Postings) -> None:
    for poster, key in (("apps/shop", KEY), ("apps/trainer", OTHER), ("apps/nobody", KEY), ("other/trainer", KEY)):
        expected = HTTPStatus.OK if (poster, key) == ("apps/shop", KEY) else HTTPStatus.UNAUTHORIZED
        assert log.post(read_of("a", principal="root"), poster=poster, key=key).status == expected
    assert taken(log) == ["approle shop a"]


@pytest.mark.parametrize("header", [ID, TIMESTAMP, SIGNATURE, POSTER])
def test_a_message_without_one_of_its_headers_or_with_another_is_refused(log: Postings, header: str) -> None:
    headers, body = log.message(read_of("a"))
    for value in ("", "x", "v1,AAAA", "9" * 30, "\x00", str(int(NOW.timestamp()) + 1)):
        assert log.door.answer(headers | {header: value}, body).status == HTTPStatus.UNAUTHORIZED
    assert log.door.answer(headers, body + b" ").status == HTTPStatus.UNAUTHORIZED
    assert taken(log) == []


def test_a_replayed_message_adds_nothing(log: Postings) -> None:
    headers, body = log.message(read_of("a"))
    for _ in range(3):
        assert log.door.answer(headers, body).status == HTTPStatus.OK
    old = log.message(read_of("b"), at=NOW - timedelta(minutes=6))
    assert log.door.answer(*old).status == HTTPStatus.UNAUTHORIZED
    ahead = log.message(read_of("c"), at=NOW + timedelta(minutes=6))
    assert log.door.answer(*ahead).status == HTTPStatus.UNAUTHORIZED
    assert taken(log) == ["trainer a"]


def test_a_flooding_application_is_throttled_and_others_are_not(log: Postings) -> None:
    answers = [log.post(read_of("a")).status for _ in range(BURST + 5)]
    assert answers == [HTTPStatus.OK] * BURST + [HTTPStatus.TOO_MANY_REQUESTS] * 5
    assert log.post(read_of("b"), poster="apps/shop", key=OTHER).status == HTTPStatus.OK


def test_replays_of_a_message_do_not_throttle_its_sender(log: Postings) -> None:
    headers, body = log.message(read_of("a"))
    for _ in range(2 * BURST):
        log.door.answer(headers, body)
    assert log.post(read_of("b")).status == HTTPStatus.OK


def test_oversized_and_excess_posts_are_refused(log: Postings) -> None:
    assert log.door.answer({}, b"x" * (BODY_LIMIT + 1)).status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert log.post(*(read_of("a") for _ in range(1001))).status == HTTPStatus.BAD_REQUEST
    assert log.post().status == HTTPStatus.BAD_REQUEST


def test_no_answer_quotes_what_was_posted(log: Postings) -> None:
    secret = "s3cr3t-c4nary"
    for access in (read_of("a", action=secret), read_of("a", version=secret), {"at": secret, "path": secret}, secret):
        answer = log.post(access)
        assert answer.status == HTTPStatus.BAD_REQUEST
        assert secret not in answer.text


def test_posted_records_are_readable_only_by_keyturns_user(log: Postings) -> None:
    log.post(read_of("a"))
    for path in (log.directory, *log.directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert KEY.reveal() not in json.dumps([path.read_text() for path in log.directory.iterdir()])


@pytest.mark.parametrize(
    "settings",
    [
        "kind: hub-file, log_file: ~/.ssh/id_rsa",
        "kind: hub-file, log_file: /proc/self/environ",
        "kind: hub-socket, directory: /etc/keyturn",
        "kind: hub-socket, directory: ~/.ssh",
        'kind: hub-socket, listen: "0.0.0.0:9750"',
        'kind: hub-socket, listen: "10.0.0.5:9750"',
        'kind: hub-socket, listen: "127.0.0.1:9750", users: [bao]',
        "kind: hub-socket",
        "kind: posted, posters: { ../webhooks/trainer: {} }",
        "kind: posted, posters: {}",
    ],
)
def test_a_catalogue_can_not_move_a_log_to_another_directory(tmp_path: Path, settings: str) -> None:
    (tmp_path / "logs.yaml").write_text(f"access_logs: {{ log: {{ {settings} }} }}\n")
    assert find_problems(tmp_path, {})
