"""Notifying a local program by a file and a signal."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.client.webhooks.notice_files import NoticeFiles
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.notifications.messages import SignedMessage
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.host import process
from keyturn.providers.host.process import HostProcess
from tests.support.hooks import eventually
from tests.support.programs import program

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def notice(version: int = 7) -> Notice:
    return Notice(SECRET_ROTATED, "ml-training/database", version, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))


def message(version: int = 7) -> SignedMessage:
    return sign_notice([KEY], notice(version), f"msg_{version}", "trainer")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "notices"
    made.mkdir(mode=0o770)
    return made


class Application:
    """Takes notices from a directory, in a thread; ``broken`` while it can take none."""

    def __init__(self, directory: Path, key: Sensitive = KEY) -> None:
        self.notices: list[Notice] = []
        self.asked = 0
        self.broken = False
        receiver = Receiver([key])

        def handle(text: bytes) -> int:
            self.asked += 1
            return receiver.handle_message(text, self.take)

        self.files = NoticeFiles(directory, handle)

    def take(self, told: Notice) -> None:
        if self.broken:
            raise ConnectionError
        self.notices.append(told)


@pytest.fixture
def application(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.setattr("keyturn.client.webhooks.notice_files.EVERY", 0.02)
    made = Application(directory)
    thread = threading.Thread(target=made.files.run)
    thread.start()
    yield made
    made.files.stop()
    thread.join()


def test_what_is_taken_out_of_the_directory_is_acknowledged(directory: Path, application: Application) -> None:
    sender = HostProcess("trainer", directory=str(directory))
    sender.send(message(), 10)
    sender.send(message(), 10)
    sender.send(message(8), 10)
    assert application.notices == [notice(), notice(8)]
    assert list(directory.iterdir()) == []


def test_what_is_not_taken_waits_and_is_signed_anew_by_the_next_try(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = HostProcess("trainer", directory=str(directory))
    with pytest.raises(Unavailable, match=r"not taken its notice within 0\.1 s"):
        sender.send(message(), 0.1)
    (file,) = directory.iterdir()
    first = SignedMessage.from_json(file.read_bytes())
    now = datetime.now(UTC).timestamp()
    monkeypatch.setattr("keyturn.providers.deliver_notices.datetime", type("Later", (), {"now": lambda _: later(now)}))
    with pytest.raises(Unavailable):
        sender.send(message(), 0.1)
    (file,) = directory.iterdir()
    again = SignedMessage.from_json(file.read_bytes())
    assert (first.id, first.body) == (again.id, again.body)
    assert first.headers != again.headers


def later(now: float) -> datetime:
    return datetime.fromtimestamp(now + 60, UTC)


def test_what_the_application_can_not_take_stays_and_is_taken_later(directory: Path, application: Application) -> None:
    sender = HostProcess("trainer", directory=str(directory))
    application.broken = True
    with pytest.raises(Unavailable):
        sender.send(message(), 0.1)
    assert eventually(lambda: application.asked)
    application.broken = False
    application.files.wake()
    assert eventually(lambda: application.notices == [notice()])
    assert list(directory.iterdir()) == []


def test_what_is_not_signed_by_keyturn_stays_and_is_looked_at_once(directory: Path) -> None:
    application = Application(directory, Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"))
    (directory / "msg_7.json").write_text(message().to_json())
    assert [application.files.read_once() for _ in range(3)] == [0, 0, 0]
    assert (application.asked, application.notices) == (1, [])
    os.utime(directory / "msg_7.json", (1, 1))
    assert application.files.read_once() == 0
    assert application.asked == 2


def test_what_is_no_file_of_ours_is_left_alone(directory: Path, tmp_path: Path) -> None:
    application = Application(directory)
    (tmp_path / "elsewhere").write_text(message().to_json())
    (directory / "link.json").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(directory / "pipe.json")
    (directory / "folder.json").mkdir()
    (directory / ".msg_7.json.new").write_text("half")
    (directory / "notes.txt").write_text("mine")
    assert application.files.read_once() == 0
    assert application.asked == 0


def test_a_file_longer_than_a_notice_is_refused(directory: Path) -> None:
    application = Application(directory)
    (directory / "long.json").write_text(" " * 1_000_000)
    assert (application.files.read_once(), application.notices) == (0, [])


def test_a_draft_that_a_killed_run_left_is_in_nobodys_way(directory: Path, application: Application) -> None:
    (directory / ".msg_7.json.new").write_text("half")
    HostProcess("trainer", directory=str(directory)).send(message(), 10)
    assert application.notices == [notice()]
    assert list(directory.iterdir()) == []


def test_a_directory_is_not_filled_without_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST", 2)
    for number in range(2):
        (directory / f"msg_{number}x.json").write_text("{}")
    with pytest.raises(Unavailable, match="2 notices wait"):
        HostProcess("trainer", directory=str(directory)).send(message(), 0.1)


def test_a_directory_that_is_none_is_named(directory: Path) -> None:
    with pytest.raises(NotFound, match="its directory is not there"):
        HostProcess("trainer", directory=str(directory / "none")).send(message(), 0.1)
    (directory / "file").write_text("")
    with pytest.raises(Invalid, match="its directory is none"):
        HostProcess("trainer", directory=str(directory / "file")).send(message(), 0.1)


@pytest.mark.attack
def test_an_acknowledgement_in_a_world_writable_directory_is_not_trusted(directory: Path) -> None:
    directory.chmod(0o777)
    with pytest.raises(Denied, match="everybody on this machine"):
        HostProcess("trainer", directory=str(directory)).send(message(), 0.1)
    assert list(directory.iterdir()) == []


def test_a_program_is_signalled_by_its_pid_file(tmp_path: Path) -> None:
    with program(tmp_path, "SIGUSR1") as running:
        HostProcess("nginx", pid_file=str(running.pid_file), signal="USR1").send(message(), 5)
        assert running.heard() == "signalled"
        assert running.runs()


def test_a_signal_says_that_there_is_a_notice(tmp_path: Path, directory: Path) -> None:
    with program(tmp_path) as running:
        sender = HostProcess("trainer", directory=str(directory), pid_file=str(running.pid_file))
        thread = threading.Thread(target=sender.send, args=(message(), 10))
        thread.start()
        assert running.heard() == "signalled"
        (file,) = directory.iterdir()
        file.unlink()
        thread.join(10)
        assert not thread.is_alive()


def test_the_reader_looks_at_once_when_a_signals_handler_wakes_it(
    directory: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.client.webhooks.notice_files.EVERY", 600)
    time.sleep(0.05)
    application.files.wake()
    assert eventually(lambda: not application.files._woken.qsize())
    (directory / "msg_7.json").write_text(message().to_json())
    application.files.wake(1, None)
    assert eventually(lambda: application.notices == [notice()])
