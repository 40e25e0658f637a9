"""Data keys from a key file, and which key files are refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.ports.envelope import DataKeys
from keyturn.providers.files.data_keys import FileDataKeys
from tests.contracts.data_keys import DataKeysContract
from tests.support.offline import add_generation


class TestFileDataKeys(DataKeysContract):
    """The contract."""

    @pytest.fixture
    def keys(self, tmp_path: Path) -> DataKeys:
        add_generation(tmp_path / "key")
        return FileDataKeys(tmp_path / "key")

    @pytest.fixture
    def other(self, tmp_path: Path) -> DataKeys:
        add_generation(tmp_path / "other")
        return FileDataKeys(tmp_path / "other")

    @pytest.fixture
    def rotate(self, tmp_path: Path) -> Callable[[], object]:
        return lambda: add_generation(tmp_path / "key")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    add_generation(tmp_path / "key")
    return tmp_path / "key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o700])
@pytest.mark.attack
def test_a_file_that_others_may_use_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(Invalid, match="others may read or write this key"):
        FileDataKeys(file)


def test_a_file_that_changes_its_mode_later_is_refused_then(file: Path) -> None:
    keys = FileDataKeys(file)
    file.chmod(0o644)
    with pytest.raises(Invalid):
        keys.make({})


def test_a_link_a_directory_and_nothing_are_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "none", "."):
        with pytest.raises(Invalid, match="use "):
            FileDataKeys(tmp_path / name)


def test_a_file_of_another_owner_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(Invalid, match="another user"):
        FileDataKeys(file)


@pytest.mark.parametrize("text", ["", "short\n", "c2hvcnQ=\n", "\u00e9\n"])
def test_a_file_of_another_shape_is_refused_without_its_text(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(Invalid, match="its lines are not 32 bytes in base64 each") as caught:
        FileDataKeys(file)
    assert not text.strip() or text.strip() not in str(caught.value)
