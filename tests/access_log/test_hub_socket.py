"""The hub's socket audit device: received, kept on the disk and read from there; by a real OpenBao, too."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.access_log.log_files import rotations
from keyturn.access_log.sources.hub_socket import HubSocket
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access_source import AccessSource, Batch, ReleasesRead, SourceOpening, TellsTrouble
from keyturn.core.text.audit_lines import AuditMount
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.access_log.test_hub_file import AuditLog
from tests.contracts.access_source import SourceContract, drained, paths, records
from tests.support.hooks import eventually


class SentLog(AuditLog):
    """What a hub sends to a socket in the file system."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory
        self._hub: socket.socket | None = None

    def opened(self, **settings: Any) -> AccessSource:
        opening = SourceOpening("hub", 0.1, AuditMount("secret"), str(self.directory / "kept"))
        source = HubSocket(opening, **({"directory": str(self.directory)} | settings))
        self._sources.append(source)
        return source

    def open(self) -> AccessSource:
        for source in self._sources:
            source.close()
        self.hang_up()
        return self.opened()

    def hang_up(self) -> None:
        if self._hub:
            self._hub.close()
        self._hub = None

    def write(self, text: bytes) -> None:
        if self._hub is None:
            self._sources[-1].read(None, 1)
            self._hub = socket.socket(socket.AF_UNIX)
            self._hub.connect(str(self.directory / "audit.sock"))
        self._hub.sendall(text)

    def close(self) -> None:
        self.hang_up()
        super().close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SentLog]:
    made = SentLog(tmp_path)
    yield made
    made.close()


class TestHubSocket(SourceContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[SentLog]:
        made = SentLog(tmp_path)
        yield made
        made.close()


def gaps(batches: Iterator[Batch]) -> list[str]:
    return [gap for batch in batches for gap in batch.gaps]


def test_that_nobody_listened_is_told(log: SentLog) -> None:
    first = log.open()
    log.add("a")
    assert eventually(lambda: records(first))
    *_, last = drained(first, None)
    assert gaps(drained(first, None)) == []
    first.close()
    kept = log.directory / "kept" / "received.log"
    os.utime(kept, (1_790_000_000, 1_790_000_000))
    second = log.open()
    (gap,) = gaps(drained(second, last.cursor))
    assert gap.startswith("whatever came from 2026-09-21 14:13:20 to ")
    assert gap.endswith(" UTC was not taken")


def test_what_was_sent_when_it_is_let_go_of_is_on_the_disk(log: SentLog) -> None:
    source = log.open()
    for number in range(300):
        log.add(f"n{number}")
    source.close()
    assert paths(records(log.open())) == [f"n{number}" for number in range(300)]


def test_a_line_that_breaks_off_is_set_apart(log: SentLog) -> None:
    source = log.open()
    log.write(log.line("a")[:200])
    source.close()
    log.open()
    log.add("b")
    assert eventually(lambda: records(log._sources[-1]))
    assert [len(batch.malformed) for batch in drained(log._sources[-1], None)] == [1]


def test_a_full_disk_ends_the_connection_and_is_a_gap(log: SentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    source = log.opened()
    assert isinstance(source, HubSocket)
    log.add("a")
    assert eventually(lambda: records(source))
    monkeypatch.setattr(source._lines, "_limit", 0)
    log.add("lost")
    assert eventually(lambda: source.trouble)
    assert isinstance(source, TellsTrouble)
    assert "were not read yet" in source.trouble
    monkeypatch.undo()
    receiver = source._receiver
    assert receiver
    assert receiver._missed_since
    receiver._missed_since = receiver._missed_since.replace(year=2025)
    log.hang_up()
    log.add("b")
    assert eventually(lambda: len(records(source)) == 2)
    assert paths(records(source)) == ["a", "b"]
    assert len(gaps(drained(source, None))) == 1
    assert source.trouble == ""


def test_files_that_were_read_are_dropped_and_others_are_not(log: SentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    source = log.opened()
    assert isinstance(source, HubSocket)
    assert isinstance(source, ReleasesRead)
    source._lines._part = 1000
    for number in range(20):
        log.add(f"n{number}")
        assert eventually(lambda: len(records(source)) == number + 1)  # noqa: B023
    batches = list(drained(source, None, 3))
    middle = batches[len(batches) // 2].cursor
    kept = rotations(source._lines.current)
    source.release(middle)
    assert 1 < len(rotations(source._lines.current)) < len(kept)
    rest = paths(records(source, middle))
    assert rest == [f"n{number}" for number in range(20)][-len(rest) :]
    assert gaps(drained(source, middle)) == []


def test_each_machine_has_a_log_of_its_own(tmp_path: Path) -> None:
    names = {SentLog(tmp_path / machine).opened().name for machine in ("a", "b", "a")}
    assert len(names) == 2
    assert all(name.startswith("hub-") for name in names)


def test_where_something_else_listens_it_says_so(log: SentLog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"listen {place}"):
            log.opened(directory=None, listen=place).read(None, 1)


class SendingBao(OpenBao):
    """An OpenBao whose lines go to sockets, too."""

    def __init__(self, directory: Path, sockets: list[tuple[str, str]]) -> None:
        super().__init__(directory, free_port(), dev=True)
        self._sockets = sockets

    def _audit(self) -> list[dict[str, Any]]:
        return super()._audit() + [
            {"type": "socket", "path": kind, "options": {"socket_type": kind, "address": address}}
            for kind, address in self._sockets
        ]


def test_a_real_hub_sends_to_a_port_and_to_a_file(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    at_port, at_file = SentLog(tmp_path / "port"), SentLog(tmp_path / "file")
    at_file.directory.mkdir()
    sources = [at_port.opened(directory=None, listen=place), at_file.opened()]
    for source in sources:
        source.read(None, 1)
    sockets = [("tcp", place), ("unix", str(at_file.directory / "audit.sock"))]
    with SendingBao(tmp_path / "bao", sockets) as server:
        root = hvac.Client(url=server.address, token=server.root_token)
        root.secrets.kv.v2.create_or_update_secret("ml/database", {"password": "x"})
        root.secrets.kv.v2.read_secret_version("ml/database", raise_on_deleted_version=True)
        for source in sources:
            assert eventually(lambda: records(source))  # noqa: B023
            (record,) = records(source)
            assert (record.access.path, record.access.root) == ("ml/database", True)
    at_port.close()
    at_file.close()
