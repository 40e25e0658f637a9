"""Drift of files: edited, left without marks, removed, or replaced by something else."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keyturn.core.plan import Action
from keyturn.wiring.registry import open_store
from tests.support.lab import Lab
from tests.sync.drift.site import STORE, Look, RealSite
from tests.sync.drift.suite import CHANGED, ERASED, STRIPPED, TAKEN, Act, DriftContract

pytestmark = pytest.mark.sampled(9, of="file")


@dataclass
class Shell:
    """Somebody at a shell in the directory."""

    directory: Path

    def put(self, name: str, fields: dict[str, str]) -> None:
        """Write the file in place, as editors do."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        (self.directory / name).write_text(self.text(fields))

    def text(self, fields: dict[str, str]) -> str:
        """The file's content."""
        return json.dumps(fields, separators=(",", ":"))

    def strip(self, name: str) -> None:
        """Remove the hidden file next to it."""
        (self.directory / f".{name}.keyturn.json").unlink()

    def erase(self, name: str) -> None:
        """Remove the file and leave what lies next to it."""
        (self.directory / name).unlink()

    def clear(self, name: str) -> None:
        """Remove the file and its marks."""
        self.strip(name)
        self.erase(name)

    def restore(self, name: str) -> None:
        """Put the file and its marks back from a backup."""
        for kept in (self.directory / name, self.directory / f".{name}.keyturn.json"):
            if kept.exists():
                text = kept.read_text()
                kept.unlink()
                kept.write_text(text)

    def put_aside(self, name: str) -> None:
        """Replace it by a link to where the same text lies."""
        (self.directory / name).rename(self.directory / f"{name}.aside")
        (self.directory / name).symlink_to(f"{name}.aside")

    def served(self, name: str) -> Any:
        """What a program reads there."""
        file = self.directory / name
        return json.loads(file.read_text()) if file.exists() else None


class Dotenv(Shell):
    """The same, in lines."""

    def text(self, fields: dict[str, str]) -> str:
        """KEY="value"."""
        return "".join(f'{key}="{value}"\n' for key, value in fields.items())

    def served(self, name: str) -> Any:
        """The lines' fields."""
        file = self.directory / name
        if not file.exists():
            return None
        return {key: said.strip("'\"") for key, _, said in (line.partition("=") for line in file.read_text().split())}


CLEARED = Act("removed-with-its-marks", Shell.clear, Action.CREATE)
LINKED = Act("replaced-by-a-link", Shell.put_aside, Action.CONFLICT)


class TestFiles(DriftContract):
    acts = (CHANGED, STRIPPED, TAKEN, ERASED, CLEARED, LINKED)
    restores = (Shell.restore,)
    sync: ClassVar = {"separator": "-"}

    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        return {"kind": "file", "directory": str(tmp_path / "copies")}

    @pytest.fixture
    def hands(self, tmp_path: Path) -> Shell:
        return Shell(tmp_path / "copies")


class TestFilesAsDotenv(TestFiles):
    # Without its marks, nothing says that a file's lines once were an object.
    acts = (CHANGED, replace(STRIPPED, found=Action.CONFLICT), TAKEN, ERASED, CLEARED, LINKED)

    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        return {"kind": "file", "directory": str(tmp_path / "copies"), "format": "dotenv"}

    @pytest.fixture
    def hands(self, tmp_path: Path) -> Shell:
        return Dotenv(tmp_path / "copies")


def lines_for(lab: Lab, directory: Path, reader: str | None, **sync: Any) -> RealSite:
    """A site whose copies are lines for this reader."""
    settings = {"kind": "file", "directory": str(directory), "format": "dotenv"}
    return RealSite(lab, {**settings, **({"reader": reader} if reader else {})}, {"separator": "-", **sync})


def test_lines_for_another_reader_are_written_once_more_also_where_drift_is_only_reported(
    lab: Lab, tmp_path: Path
) -> None:
    with lines_for(lab, tmp_path, None, drift="report") as before:
        path = before.write("a", A="a$b", N=1)
        before.run()
        file = tmp_path / before.remote(path)
        assert file.read_text() == "A='a$b'\nN='1'\n"
        after = lines_for(lab, tmp_path, "docker", drift="report")
        after.folder = before.folder
        for look in Look:
            after.store, after.hub = open_store(STORE, after.catalogue.store(STORE)), before.hub
            item = after.item(path, look)
            assert (item.action, item.why) == (Action.UPDATE, "it was written for another reader")
        after.run()
        assert file.read_text() == "A=a$b\nN=1\n"
        assert [after.item(path, look).action for look in Look] == [Action.IN_SYNC] * len(Look)


def test_a_value_that_the_reader_would_not_give_back_is_blocked_and_the_others_are_written(
    lab: Lab, tmp_path: Path
) -> None:
    with lines_for(lab, tmp_path, "python") as site:
        bad, good = site.write("bad", A="before"), site.write("good", A="`id` $(id)")
        site.run()
        file = tmp_path / site.remote(bad)
        site.write("bad", A="${HOME}hunter2")
        site.write("good", A="it's `id`")
        results = {result.path: result for result in site.run()}
        assert site.item(bad).action is Action.BLOCKED
        assert "the field A holds ${" in site.item(bad).why
        assert "hunter2" not in site.item(bad).why
        assert results[good].state == "updated"
        assert file.read_text() == "A='before'\n"
        assert (tmp_path / site.remote(good)).read_text() == "A='it\\'s `id`'\n"
