"""Each file of tests is the share of one process, and none ends the others."""

import sys
from pathlib import Path

import pytest

from tests.support import collecting
from tests.support.sampling import ROOT


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_file_is_in_the_share_of_exactly_one_process(count: int) -> None:
    files = collecting.files_of(["tests"])
    assert Path(__file__) in files
    assert [file for number in range(count) for file in collecting.share(files, number, count)] == files


def test_of_folders_that_are_named_it_is_their_files_alone_and_each_once() -> None:
    files = collecting.files_of(["tests/support", "tests/support/test_collecting.py", "tests/support"])
    assert files == sorted((ROOT / "tests/support").glob(collecting.PATTERN))


def test_a_file_that_can_not_be_imported_is_left_to_the_collection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "test_broken.py").write_text("raise ValueError")
    (tmp_path / "test_skipped.py").write_text("import pytest\npytest.skip('not here', allow_module_level=True)")
    (tmp_path / "test_whole.py").write_text("FOUND = True")
    monkeypatch.setattr(collecting, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    for process in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", process)
        collecting.share_out(["."])
    assert sys.modules.pop("test_whole").FOUND
    assert "test_broken" not in sys.modules
