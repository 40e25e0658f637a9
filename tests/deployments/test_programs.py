"""The table of programs names each that is used, and each starts from its unpacked packages alone."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from local.programs import BY_PROGRAM, PACKAGED, Packaged, find_program
from tests.support.rabbitmq import RabbitMq

ROOT = Path(__file__).parents[2]
SOURCES = [file for folder in ("local", "tests", "tools", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
TABLE = ROOT / "local" / "programs.py"
UNPACKERS = {"program", "_unpack"}
TOOLS = ("sh", "sed", "grep", "dirname", "basename", "readlink", "cat", "expr", "id", "uname", "mkdir", "touch", "env")
"""What scripts of packages expect of any system."""


def calls(name: str) -> Iterator[ast.Call]:
    """The calls of a function by this name, in every file but the table."""
    for file in SOURCES:
        if file != TABLE and name in (text := file.read_text()):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield node


def test_the_table_holds_every_program_that_is_asked_for() -> None:
    asked = {node.args[0].value for node in calls("find_program") if isinstance(node.args[0], ast.Constant)}
    assert len(asked) > 10
    assert asked <= BY_PROGRAM.keys()


def test_every_program_of_the_table_is_asked_for() -> None:
    texts = [file.read_text() for file in SOURCES if file not in (TABLE, Path(__file__))]
    assert [name for name in BY_PROGRAM if not any(f'"{name}"' in text for text in texts)] == []


def test_no_other_file_unpacks_packages() -> None:
    importing = {
        file.relative_to(ROOT).as_posix()
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "local.debian"
        if UNPACKERS & {name.name for name in node.names}
    }
    assert importing == {"local/programs.py", "tests/deployments/test_debian.py"}


def tools(directory: Path) -> Path:
    """A directory with those alone."""
    for tool in TOOLS:
        (directory / tool).symlink_to(which(tool) or "/bin/false")
    return directory


@pytest.mark.sampled(5, each=())
@pytest.mark.parametrize("packaged", [each for each in PACKAGED if each.version], ids=lambda packaged: packaged.package)
def test_a_program_starts_from_its_unpacked_packages_alone(packaged: Packaged, tmp_path: Path) -> None:
    found, *_ = [find_program(name) for name in packaged.programs]
    assert found.root is not None
    places = [found.path.parent, *(found.root / place for place in ("usr/bin", "usr/sbin"))]
    environment = {"PATH": os.pathsep.join(map(str, [*places, tools(tmp_path)])), "HOME": str(tmp_path)}
    done = subprocess.run(
        [found.path, *packaged.version],
        env={**environment, **found.environment},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == packaged.code, done.stdout + done.stderr
    assert done.stdout + done.stderr


@pytest.mark.slow
def test_rabbitmq_which_prints_no_version_without_a_node_starts_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools").mkdir()
    assert {each.package for each in PACKAGED if not each.version} == {"rabbitmq-server"}
    server = find_program("rabbitmq-server")
    assert server.root is not None
    monkeypatch.setenv("PATH", str(tools(tmp_path / "tools")))
    with RabbitMq(tmp_path / "node") as node:
        assert node.logs_in("admin", node.admin_password)
