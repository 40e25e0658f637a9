"""What a notice means for a program, and that nothing which goes wrong ends the looking."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from keyturn.cli.programs.exec_order import keys_in, usable_keys
from keyturn.client.client import SecretClient
from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice
from keyturn.programs.follower import Follower
from keyturn.programs.references import FieldReference
from keyturn.programs.rendering import Declaration, Rendering
from tests.support.served import MemorySource

GIVEN = Declaration({"PW": FieldReference("a", "password")})


class Program:
    """Takes note of what it is handed, and has it at once, or not at all."""

    def __init__(
        self, source: MemorySource, *, takes: bool = True, stop_revoked: bool = False, poll: float = 0
    ) -> None:
        self.handed: list[Rendering | KeyturnError] = []
        self.lines: list[str] = []
        self.heard = threading.Event()
        self._takes = takes
        client = SecretClient([source], poll=0, patience=0)
        self.follower = Follower(
            client, GIVEN, GIVEN.render(client), self.submit, bool, self.tell, poll, 30, stop_revoked=stop_revoked
        )

    def submit(self, rendering: Rendering | KeyturnError) -> "Future[None]":
        self.handed.append(rendering)
        done: Future[None] = Future()
        if self._takes:
            done.set_result(None)
        else:
            done.set_exception(Unavailable("give", "it", "it has ended"))
        return done

    def tell(self, line: str) -> None:
        self.lines.append(line)
        self.heard.set()

    def passwords(self) -> list[str]:
        return [each.environment["PW"].reveal() for each in self.handed if isinstance(each, Rendering)]


def rotated(path: str, version: int, event: str = SECRET_ROTATED, *, replaced: bool = True) -> Notice:
    return Notice(event, path, version, datetime.now(UTC), replaced)


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1, b=1)


def test_a_notice_of_another_secret_or_of_what_it_has_hands_nothing_over(source: MemorySource) -> None:
    program = Program(source)
    source.served["b"] = 2
    program.follower.told(rotated("b", 2))
    program.follower.told(rotated("a", 1))
    assert program.handed == []
    source.served["a"] = 2
    program.follower.told(rotated("a", 2))
    program.follower.told(rotated("a", 2))
    assert program.passwords() == ["a-2"]


def test_a_notice_whose_change_did_not_reach_it_fails_and_is_tried_again(source: MemorySource) -> None:
    program = Program(source, takes=False)
    source.served["a"] = 2
    for _ in range(2):
        with pytest.raises(Unavailable, match="it has ended"):
            program.follower.told(rotated("a", 2))
    assert program.passwords() == ["a-2", "a-2"]


def test_what_was_revoked_without_a_replacement_is_not_acknowledged_while_it_is_held(source: MemorySource) -> None:
    program = Program(source)
    with pytest.raises(Unavailable):
        program.follower.told(rotated("a", 1, SECRET_REVOKED, replaced=False))
    assert program.handed == []


def test_it_is_ended_where_that_was_asked_for_and_not_by_a_notice_that_came_late(source: MemorySource) -> None:
    program = Program(source, stop_revoked=True)
    source.served["a"] = 2
    program.follower.told(rotated("a", 1, SECRET_REVOKED, replaced=False))
    assert program.passwords() == ["a-2"]
    program.follower.told(rotated("a", 2, SECRET_REVOKED, replaced=False))
    assert isinstance(program.handed[-1], Denied)


@pytest.mark.parametrize("stop_revoked", [False, True])
def test_what_two_looks_in_a_row_find_gone_ends_it_where_that_was_asked_for(
    source: MemorySource, stop_revoked: bool
) -> None:
    program = Program(source, stop_revoked=stop_revoked, poll=0.01)
    looks = threading.Semaphore(0)
    read = source.read

    def counted(path: str) -> object:
        looks.release()
        return read(path)

    source.read = counted  # type: ignore[assignment]
    del source.served["a"]
    program.follower.begin()
    for _ in range(4):
        assert looks.acquire(timeout=30)
    program.follower.stop()
    assert {type(each) for each in program.handed} == ({Denied} if stop_revoked else set())
    assert "there is none" in program.lines[0]


def test_an_error_that_nobody_foresaw_is_said_without_its_text_and_looking_goes_on(source: MemorySource) -> None:
    program = Program(source, poll=0.01)
    read: Callable[[str], object] = source.read

    def broken(path: str) -> object:
        raise ValueError("the-value")

    source.read = broken  # type: ignore[assignment]
    program.follower.begin()
    assert program.heard.wait(30)
    program.heard.clear()
    source.read = read  # type: ignore[assignment, method-assign]
    assert program.heard.wait(30)
    program.follower.stop()
    assert "unexpected ValueError" in program.lines[0]
    assert program.lines[1] == "the secrets can be read again"
    assert "the-value" not in "".join(program.lines)


def test_where_the_keys_of_notices_can_not_be_read_the_sender_tries_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_bytes(b"\xff")
    (tmp_path / "empty").touch()
    for file in (tmp_path / "keys", tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(Unavailable, match=r"can't be read|holds no key"):
            keys_in(file)
        usable_keys(partial(keys_in, file))
        assert f"read {file}: the file " in capsys.readouterr().err


def test_keys_of_notices_that_nothing_will_bring_end_the_command() -> None:
    def denied() -> list[object]:
        raise Denied("read", "webhooks/none", "the hub denies it")

    with pytest.raises(Denied):
        usable_keys(denied)
