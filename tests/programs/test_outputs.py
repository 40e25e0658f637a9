"""Files are written whole, all or none, and lie where they should."""

import os
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.sensitive import Sensitive
from keyturn.programs.outputs import Output, remove_outputs, write_outputs
from keyturn.programs.private_directory import PrivateDirectory, in_memory, insist_on_memory


def output(file: Path, text: str = "new", mode: int = 0o600) -> Output:
    return Output(file, Sensitive(text), mode)


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    first, second = output(tmp_path / "a"), output(tmp_path / "b")
    assert write_outputs([first, second]) == [first, second]
    before = (tmp_path / "a").stat()
    changed = output(tmp_path / "b", "newer")
    assert write_outputs([first, changed]) == [changed]
    assert (tmp_path / "a").stat().st_ino == before.st_ino
    assert (tmp_path / "b").read_text() == "newer"
    (tmp_path / "a").chmod(0o644)
    assert write_outputs([first, changed]) == [first]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("hindrance", ["a directory in its place", "no directory for it", "no room"])
def test_where_one_can_not_be_written_all_stay_as_they_were(
    tmp_path: Path, hindrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("old")
    last = tmp_path / "c"
    if hindrance == "a directory in its place":
        last.mkdir()
    elif hindrance == "no directory for it":
        last = tmp_path / "missing" / "c"
    else:
        rename = os.rename

        def full(source: str, name: str, **places: int) -> None:
            if source == ".c.keyturn.new":
                raise OSError(28, "No space left on device")
            rename(source, name, **places)

        monkeypatch.setattr(os, "rename", full)
    with pytest.raises(KeyturnError, match=str(last)):
        write_outputs([output(tmp_path / "a"), output(tmp_path / "new"), output(tmp_path / "b"), output(last)])
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) in (["a", "b"], ["a", "b", "c"])


def test_an_owner_that_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: owners.append((user, group)))
    real = os.stat

    def theirs(path: str, **more: object) -> os.stat_result:
        status = real(path, **more)  # type: ignore[arg-type]
        return os.stat_result([*status[:4], 1234, 5678, *status[6:]]) if path == "a" else status

    monkeypatch.setattr(os, "stat", theirs)
    write_outputs([output(tmp_path / "a")])
    assert owners == [(1234, 5678)]


def test_what_was_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ours, others = output(tmp_path / "a"), output(tmp_path / "b")
    write_outputs([ours, others])
    (tmp_path / "b").write_text("of somebody else")
    remove_outputs([ours, others, output(tmp_path / "never")])
    assert os.listdir(tmp_path) == ["b"]


def test_the_kernel_says_what_is_in_memory(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="it would reach a disk"):
        insist_on_memory(Path("/proc"))
    insist_on_memory(Path("/dev/shm"))


def test_a_directory_that_a_killed_process_left_is_removed_by_the_next_and_no_other(tmp_path: Path) -> None:
    with PrivateDirectory(tmp_path) as living:
        left = tmp_path / "keyturn-exec-left"
        left.mkdir()
        (left / "password").write_text("x")
        (tmp_path / "keyturn-exec-file").write_text("x")
        (tmp_path / "keyturn-exec-link").symlink_to(living.path)
        with PrivateDirectory(tmp_path) as other:
            assert other.path.stat().st_mode & 0o777 == 0o700
            names = {living.path.name, other.path.name, "keyturn-exec-file", "keyturn-exec-link"}
            assert set(os.listdir(tmp_path)) == names
    assert set(os.listdir(tmp_path)) == {"keyturn-exec-file", "keyturn-exec-link"}


def test_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    with PrivateDirectory() as directory:
        descriptor = os.open(directory.path, os.O_RDONLY)
        assert in_memory(descriptor)
        os.close(descriptor)
    assert not directory.path.exists()
