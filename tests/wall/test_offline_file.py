"""A stolen offline file is unreadable; a changed, moved or restored one is refused."""

import logging
import os
import pickle
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.client.offline import contents as offline_contents
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event
from keyturn.client.webhooks.notice_journal import compacted, parse
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.ports.envelope import Refusal, SealRefused
from keyturn.core.sensitive import SecretFields, Sensitive
from tests.support.offline import Host
from tests.support.served import MADE, MemorySource
from tests.support.served import secret as served
from tests.wall.test_processes import core_size

ROOT = Path(__file__).parents[2]
VALUE = "tR0ub4dor&3-correct-horse"

Attack = Callable[[Host], object]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)
    return Host(tmp_path)


def lived(host: Host, *paths: str) -> None:
    with host.client(serving(*paths), host.offline()) as client:
        for path in paths:
            client.get(path)


def serving(*paths: str) -> MemorySource:
    source = MemorySource()
    source.served = dict.fromkeys(paths, 1)
    return source


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def roll_back(host: Host) -> None:
    """Put the file back as it was before another secret was read."""
    before = host.file.read_bytes()
    lived(host, "a", "b")
    host.file.write_bytes(before)


def exchange_notices(host: Host) -> None:
    """Those of another directory take the place of those that the file knows."""
    other = Host(host.directory / "other")
    lived(other, "a")
    shutil.copy(other.notices, host.notices)


def forget_notices(host: Host) -> None:
    """Put the notices back as they were before the file was written last."""
    before = host.notices.read_bytes()
    with host.client(MemorySource(a=2), host.offline()) as client:
        client.told(Notice(SECRET_REVOKED, "b", 1, MADE))
        client.get("a")
    host.notices.write_bytes(before)


def drop_a_line(host: Host) -> None:
    lines = host.notices.read_bytes().splitlines(keepends=True)
    host.notices.write_bytes(b"".join([*lines[:1], *lines[2:]]))


def rename_notices(host: Host) -> None:
    journal = parse(host.notices.read_bytes())
    journal.name = "another"
    host.notices.write_bytes(compacted(journal, 0))


def move(host: Host) -> None:
    """The whole directory lies elsewhere now."""
    host.cache.rename(host.directory / "elsewhere")
    host.directory = host.directory / "moved"
    host.directory.mkdir()
    (host.directory.parent / "elsewhere").rename(host.cache)


def rename(host: Host) -> None:
    host.name = "another host"


ATTACKS: dict[str, tuple[Attack, Refusal]] = {
    "tampered": (lambda host: flip(host.file, -20), Refusal.TAMPERED),
    "another wrapped key": (lambda host: flip(host.file, host.file.read_bytes().index(b"\n") - 8), Refusal.KEYLESS),
    "cut by a byte": (lambda host: cut(host.file, -1), Refusal.TAMPERED),
    "cut in the header": (lambda host: cut(host.file, 40), Refusal.MALFORMED),
    "empty": (lambda host: cut(host.file, 0), Refusal.MALFORMED),
    "another host": (rename, Refusal.FOREIGN),
    "another path": (move, Refusal.FOREIGN),
    "rolled back": (roll_back, Refusal.ROLLED_BACK),
    "notices deleted": (lambda host: host.notices.unlink(), Refusal.ROLLED_BACK),
    "notices of another": (exchange_notices, Refusal.ROLLED_BACK),
    "notices rolled back": (forget_notices, Refusal.ROLLED_BACK),
    "a notice cut out": (drop_a_line, Refusal.ROLLED_BACK),
    "a notice edited": (lambda host: flip(host.notices, 40), Refusal.ROLLED_BACK),
    "notices under another name": (rename_notices, Refusal.ROLLED_BACK),
}


@pytest.mark.parametrize(("attack", "refusal"), ATTACKS.values(), ids=ATTACKS)
def test_a_file_that_is_not_what_was_written_here_last_is_refused_and_counted(
    host: Host, attack: Attack, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    key_file = host.key_file
    lived(host, "a")
    attack(host)
    host.key_file = key_file
    source = MemorySource(a=1)
    source.away = True
    offline = host.offline()
    with host.client(source, offline) as client:
        for _ in range(2):
            with pytest.raises(Unavailable):
                client.get("a")
        assert offline.refusals == {refusal: 1}
        assert client.statistics[Event.REFUSED] == 1
        assert f"is refused ({refusal})" in caplog.text
        source.away = False
        host.pass_by(2)
        assert client.get("a").version == 1
        assert offline.flush()
    source.away = True
    with host.client(source, host.offline()) as client:
        assert client.get("a").version == 1


@pytest.mark.parametrize("name", ["secrets", "notices"])
def test_a_link_in_a_files_place_is_not_followed(host: Host, name: str, tmp_path: Path) -> None:
    lived(host, "a")
    file = host.cache / name
    shutil.move(file, tmp_path / "theirs")
    file.symlink_to(tmp_path / "theirs")
    source = MemorySource(a=1)
    source.away = True
    with host.client(source, host.offline()) as client, pytest.raises(Unavailable):
        client.get("a")


def parts(text: str) -> set[bytes]:
    """The text and all of its parts of six characters."""
    return {text[start : start + 6].encode() for start in range(len(text) - 5)}


def test_neither_a_file_nor_what_is_shown_holds_a_value(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    source = MemorySource(a=1)
    monkeypatch.setattr(source, "_answer", lambda path: served(path, text=VALUE))
    offline = host.offline()
    with host.client(source, offline) as client:
        client.get("a")
        left = keep_the_draft(host, monkeypatch)
        assert not offline.flush()
        monkeypatch.setattr("os.rename", left)
        client.refresh("a")
        client.told(Notice(SECRET_REVOKED, "a", 1, MADE))
        assert offline.flush()
        shown = repr(vars(offline)) + repr(offline) + str(host.offline()._directory)
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(offline)
    files = [file for file in host.directory.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= {"secrets", "notices", "kept draft"}
    content = b"".join(file.read_bytes() for file in files) + (shown + caplog.text).encode()
    assert not [part for part in parts(VALUE) if part in content]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in host.cache.iterdir())
    assert host.cache.stat().st_mode & 0o777 == 0o700


def keep_the_draft(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What a process that is killed before the file takes its place leaves behind; gives the true ``os.rename``."""
    rename = os.rename

    def fail(*names: str, **directories: int) -> None:
        shutil.copy(host.cache / names[0], host.directory / "kept draft")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.rename", fail)
    return rename


def test_the_data_of_an_error_contains_no_value(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is sealed soundly, and is of another shape within."""
    for text in (f'{{"generation": "{VALUE}"}}', f'["{VALUE}"', VALUE):
        with pytest.raises(SealRefused) as caught:
            offline_contents.decode(Sensitive(text))
        chain = "".join(traceback.format_exception(caught.value))
        assert VALUE not in chain + repr(caught.value.__context__) + repr(vars(caught.value))
    secret = Secret("a", SecretFields({"password": VALUE}), 1, "1", "hub", MADE)
    assert VALUE not in repr(offline_contents.Aged(secret, 1.0))


def test_a_process_with_an_offline_file_leaves_no_core(host: Host) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.support.offline import Host\n"
        "from tests.support.served import MemorySource\n"
        "host = Host(Path(sys.argv[1])); client = host.client(MemorySource(a=1), host.offline())\n"
        "client.get('a'); print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(host.directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            assert core_size(child.pid) == ["0", "0"]
        finally:
            child.kill()
