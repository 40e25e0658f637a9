"""Only the hub's user can send lines to the audit socket."""

import os
import socket
import stat
from pathlib import Path

from keyturn.access_log.sources.hub_socket import SOCKET, Receiver, allowed_users, listener_in
from keyturn.access_log.sources.line_spool import LineSpool
from tests.access_log.test_hub_socket import SentLog
from tests.contracts.access_source import drained
from tests.support.hooks import eventually


def test_a_user_other_than_the_hubs_is_refused_and_reported(tmp_path: Path) -> None:
    spool = LineSpool(tmp_path / "kept")
    receiver = Receiver(listener_in(tmp_path), spool, frozenset({os.getuid() + 1}))
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(tmp_path / SOCKET))
        stranger.settimeout(10)
        assert stranger.recv(1) == b""
    assert eventually(lambda: receiver.trouble)
    assert "may not send lines" in receiver.trouble
    receiver.close()
    assert not spool.current.exists()


def test_only_root_this_user_and_listed_users_may_send() -> None:
    assert allowed_users(["nobody"]) == {0, os.getuid(), 65534}


def test_a_received_line_that_imitates_the_spools_own_lines_has_no_effect(tmp_path: Path) -> None:
    log = SentLog(tmp_path)
    source = log.open()
    times = '"since":"2026-01-01T00:00:00+00:00","until":"2026-01-01T00:00:01+00:00"'
    log.write(f'{{"keyturn":"gap",{times},"text":"<script>"}}\n'.encode())
    log.write(b'{"keyturn":"gap","since":"<script>"}\n{"keyturn":{"type":"response"}}\n')
    assert eventually(lambda: sum(batch.lines for batch in drained(source, None)) == 3)
    (batch,) = drained(source, None)
    assert batch.records == []
    assert batch.gaps == ("whatever came from 2026-01-01 00:00:00 to 2026-01-01 00:00:01 UTC was not taken",)
    assert "<script>" not in "".join(malformed.problem for malformed in batch.malformed)
    assert len(batch.malformed) == 2
    log.close()


def test_received_lines_are_readable_only_by_keyturns_user(tmp_path: Path) -> None:
    log = SentLog(tmp_path)
    source = log.open()
    log.add("a")
    assert eventually(lambda: any(batch.records for batch in drained(source, None)))
    log.close()
    for path in (tmp_path / "kept", *(tmp_path / "kept").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
