"""Drift of files: edited, left without marks, removed, or replaced by something else."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keyturn.core.plan import Action
from tests.sync.drift.suite import CHANGED, ERASED, STRIPPED, TAKEN, Act, DriftContract


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
        """Remove the hidden file beside it."""
        (self.directory / f".{name}.keyturn.json").unlink()

    def erase(self, name: str) -> None:
        """Remove the file and leave what lies beside it."""
        (self.directory / name).unlink()

    def clear(self, name: str) -> None:
        """Remove the file and its marks."""
        self.strip(name)
        self.erase(name)

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
