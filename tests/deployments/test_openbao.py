"""The hub's server: durable across restarts, private files, nothing to see in the process list."""

import stat
from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest

from local.openbao import OpenBao
from local.support.ports import free_port
from tests.support.mounts import make_kv
from tests.support.programs import command_line

pytestmark = pytest.mark.sampled(4, of="file")


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("bao with space"), free_port()) as server:
        yield server


def client(server: OpenBao) -> hvac.Client:
    return hvac.Client(url=server.address, token=server.root_token)


def test_what_was_written_is_there_after_a_restart_that_unseals_itself(durable: OpenBao) -> None:
    make_kv(client(durable), "kept")
    client(durable).secrets.kv.v2.create_or_update_secret("a", {"k": "v"}, mount_point="kept")
    token = durable.root_token
    durable.stop()
    durable.start()
    read = client(durable).secrets.kv.v2.read_secret_version("a", mount_point="kept", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"k": "v"}
    assert durable.root_token == token


def test_the_root_token_may_administer_and_never_expires(durable: OpenBao) -> None:
    described = client(durable).auth.token.lookup_self()["data"]
    assert described["policies"] == ["root"]
    assert described["expire_time"] is None
    assert described["orphan"]


def test_every_request_reaches_the_audit_log_without_the_token(durable: OpenBao) -> None:
    client(durable).sys.list_auth_methods()
    written = durable.audit_log.read_text()
    assert '"path":"sys/auth"' in written
    assert durable.root_token not in written


def test_files_that_open_the_hub_are_for_their_owner_alone(durable: OpenBao) -> None:
    for name in ("root.token", "seal.key", "config.json", "audit.log", "openbao.log"):
        assert stat.S_IMODE((durable.directory / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(durable.directory.stat().st_mode) == 0o700


def test_starting_a_running_server_leaves_it_alone(durable: OpenBao) -> None:
    before = durable.process.pid
    OpenBao(durable.directory, durable.port).start()
    assert durable.process.pid == before


def test_a_first_start_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    server = OpenBao(tmp_path / "bao", free_port())
    half = tmp_path / "bao" / "raft" / "vault.db"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"")
    with server:
        assert client(server).is_authenticated()


def test_dev_mode_is_in_memory_audited_and_shows_no_token_in_the_process_list(tmp_path: Path) -> None:
    with OpenBao(tmp_path / "bao", free_port(), dev=True) as server:
        client(server).secrets.kv.v2.create_or_update_secret("a", {"k": "v"})
        listed = command_line(server.process.pid)
        assert b"server" in listed
        assert server.root_token.encode() not in listed
        assert '"path":"secret/data/a"' in server.audit_log.read_text()
    with server, pytest.raises(hvac.exceptions.InvalidPath):
        client(server).secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
