"""Where a user's directories are, and whose they are."""

import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from keyturn.core.errors import Invalid
from keyturn.settings.directories import cache_directory, make_private, state_directory


def test_the_environment_goes_before_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_directory() == tmp_path / ".cache" / "keyturn"
    assert state_directory() == tmp_path / ".local" / "state" / "keyturn"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/mine")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert cache_directory() == Path("/var/cache/mine/keyturn")
    assert state_directory() == tmp_path / ".local" / "state" / "keyturn"
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for place in (cache_directory, state_directory):
        with pytest.raises(Invalid, match="no home directory"):
            place()


def test_what_is_made_is_for_its_owner_alone_and_what_is_there_stays(tmp_path: Path) -> None:
    assert make_private(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "c").mkdir(0o755)
    assert make_private(tmp_path / "c").stat().st_mode & 0o777 == 0o755
