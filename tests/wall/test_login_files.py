"""Another user of the machine can't replace or read Keyturn's login files unnoticed."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.logins.files import LIMIT, read_login, read_own
from keyturn.settings.hub import HubSettings
from tests.support.world import World


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A directory that every user may enter, as `/etc/keyturn` is."""
    opened = [parent for parent in (tmp_path, *tmp_path.parents) if parent.owner() == Path.home().owner()]
    before = {parent: parent.stat().st_mode for parent in opened}
    for parent in opened:
        parent.chmod(parent.stat().st_mode | 0o001)
    yield tmp_path
    for parent, mode in before.items():
        parent.chmod(mode)


def token_in(directory: Path, mode: int) -> str:
    file = directory / "token"
    file.write_text("hvs.a-token\n")
    file.chmod(mode)
    return str(file)


def linked(home: Path) -> None:
    (home / "elsewhere").write_text("hvs.of-an-attacker")
    (home / "elsewhere").chmod(0o600)
    (home / ".vault-token").symlink_to(home / "elsewhere")


def readable(home: Path) -> None:
    (home / ".vault-token").write_text("hvs.mine")
    (home / ".vault-token").chmod(0o644)


def writable(home: Path) -> None:
    (home / ".vault-token").write_text("hvs.mine")
    (home / ".vault-token").chmod(0o620)


def a_pipe(home: Path) -> None:
    os.mkfifo(home / ".vault-token", 0o600)


@pytest.mark.parametrize("trap", [linked, readable, writable, a_pipe])
def test_a_login_file_that_others_can_access_is_not_used(
    world: World, tmp_path: Path, trap: Callable[[Path], None]
) -> None:
    trap(tmp_path)
    settings = HubSettings.from_environment({"VAULT_ADDR": world.hub_address, "HOME": str(tmp_path)})
    with closing(VaultHub(settings)) as hub, pytest.raises(Denied, match=r"\.vault-token.*Remove it") as caught:
        hub.read("ml-training/database")
    assert "hvs." not in str(caught.value)


def test_a_file_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = token_in(tmp_path, 0o600)
    assert read_own(file) == "hvs.a-token"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Denied, match="belongs to another user"):
        read_own(file)


def test_a_login_that_every_user_may_write_is_refused(public: Path) -> None:
    with pytest.raises(Denied, match="every user of this machine may write it"):
        read_login(token_in(public, 0o606), "KEYTURN_HUB_TOKEN_FILE")


def test_a_login_that_every_user_may_read_is_reported_once(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = token_in(public, 0o644)
    with caplog.at_level(logging.WARNING):
        assert [read_login(file, "KEYTURN_HUB_TOKEN_FILE") for _ in range(3)] == ["hvs.a-token"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} holds a login, and every user of this machine may read it: chmod 0600 it"
    ]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440])
def test_a_login_of_its_owner_or_group_is_read_without_a_warning(
    public: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    assert read_login(token_in(public, mode), "KEYTURN_HUB_TOKEN_FILE") == "hvs.a-token"
    assert not caplog.records


def test_a_file_that_others_can_not_reach_is_not_open_to_them(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    (public / "private").mkdir(0o700)
    assert read_login(token_in(public / "private", 0o666), "KEYTURN_HUB_TOKEN_FILE") == "hvs.a-token"
    assert not caplog.records


def test_a_malformed_login_file_is_reported_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "login"
    for content in (b"", b"\n", b"two\nlines", b"\x1b[2Jhvs.x", b"x" * (LIMIT + 1)):
        file.write_bytes(content)
        with pytest.raises(Invalid, match="it holds no login") as caught:
            read_login(str(file), "KEYTURN_HUB_TOKEN_FILE")
        assert "hvs" not in str(caught.value)
    with pytest.raises(NotFound, match=r"no such file.*KEYTURN_HUB_TOKEN_FILE"):
        read_login(str(tmp_path / "nothing"), "KEYTURN_HUB_TOKEN_FILE")
    with pytest.raises(KeyturnError, match=r"can't be read.*KEYTURN_HUB_TOKEN_FILE"):
        read_login(str(tmp_path), "KEYTURN_HUB_TOKEN_FILE")
