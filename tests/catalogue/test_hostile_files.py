"""Hostile catalogue files are refused at once."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn.catalogue import CatalogueInvalid, Problem, find_problems
from keyturn.catalogue.files.reading import FILE_LIMIT
from keyturn.catalogue.files.syntax import DEPTH_LIMIT
from keyturn.cli.app import app

BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 14)}]\n" for n in range(1, 40)
)
"""3.4 KB that stand for more values than there are atoms."""

HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "this is a pipe, and can't be read as a file"),
    "a link to a device that never ends": (
        lambda path: path.symlink_to("/dev/zero"),
        "this is a device, and can't be read as a file",
    ),
    "a socket": (lambda path: listening(path), "this is a socket, and can't be read as a file"),
    "a directory": (Path.mkdir, "this is a directory, and can't be read as a file"),
    "a link to itself": (lambda path: path.symlink_to(path), "the file can't be read (Too many levels of symbolic"),
    "a file without an end": (
        lambda path: path.write_bytes(bytes(FILE_LIMIT + 1)),
        f"the file has more than {FILE_LIMIT:,} bytes",
    ),
    "a bomb of aliases": (lambda path: path.write_text(BOMB), "the aliases of this file expand to "),
    "flow lists in lists": (lambda path: path.write_text("a: " + "[" * 400 + "]" * 400), "the file is nested too deep"),
    "block lists in lists": (lambda path: path.write_text("- " * 300_000), "the file is nested too deeply"),
    "aliases in aliases": (
        lambda path: path.write_text("a: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))),
        "the file is nested too deeply",
    ),
}


def listening(path: Path) -> None:
    """A socket's name in the file system; the path may be longer than a socket's may be."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def only(problems: list[Problem]) -> Problem:
    """The one problem there is."""
    assert len(problems) == 1, problems
    return problems[0]


def test_what_is_no_file_of_a_catalogue_is_refused_at_once_each_by_itself(tmp_path: Path) -> None:
    for number, (make, _) in enumerate(HOSTILE.values()):
        make(tmp_path / f"{number:02}.yaml")
    program = "import sys; from pathlib import Path; from keyturn.catalogue import find_problems\n"
    program += "[print(p.message) for p in find_problems(Path(sys.argv[1]), {})]"
    # A hang, or memory without end, would be the whole test run's: so it is a process with limits of its own.
    limited = f"ulimit -v 2000000; exec {sys.executable} -c '{program}' {tmp_path}"
    told = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=20, check=True)
    lines = told.stdout.splitlines()
    assert len(lines) == len(HOSTILE)
    for line, (kind, (_, message)) in zip(lines, HOSTILE.items(), strict=True):
        assert line.startswith(message), kind


def test_a_catalogue_of_links_is_read_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "all.yaml").write_text("stores: {}\n")
    (tmp_path / "all.yaml").symlink_to("..data/all.yaml")
    assert find_problems(tmp_path, {}) == []


def test_aliases_that_save_a_few_lines_are_read(tmp_path: Path) -> None:
    store = "{kind: aws-secrets-manager, region: eu-central-1}"
    others = "".join(f"  s{n}: *one\n" for n in range(200))
    (tmp_path / "all.yaml").write_text(f"stores:\n  one: &one {store}\n{others}")
    found = find_problems(tmp_path, {})
    assert not [problem for problem in found if "aliases" in problem.message]


def test_nesting_is_allowed_as_deep_as_the_limit(tmp_path: Path) -> None:
    inner = DEPTH_LIMIT - 1
    (tmp_path / "all.yaml").write_text(f"stores: {'[' * inner}{']' * inner}\n")
    assert only(find_problems(tmp_path, {})).message == "must be a mapping of names"


def test_a_hundred_thousand_mistakes_are_a_count_and_the_first_fifty() -> None:
    every = [Problem("all.yaml", line, "stores.s", "is wrong", "Mend it.") for line in range(1, 100_001)]
    lines = str(CatalogueInvalid("catalogue", every)).splitlines()
    assert "100,000 problems" in lines[0]
    assert lines[1:51] == [f"  {problem}" for problem in every[:50]]
    assert lines[51:] == ["  and 99,950 more: fix these first, then check again"]


def test_the_command_shows_the_count_and_the_first_fifty(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("stores:\n" + "".join(f"  s{n}: {{}}\n" for n in range(1_000)))
    result = CliRunner().invoke(app, ["catalogue", "validate", str(tmp_path)])
    lines = result.output.splitlines()
    assert (result.exit_code, len(lines)) == (1, 2 * 50 + 2)
    assert lines[-2:] == ["and 950 more: fix these first, then check again", f"1,000 problems in {tmp_path}"]


@pytest.mark.attack
def test_a_key_that_would_steer_the_reviewers_terminal_is_shown_without_that(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text('stores:\n  "a\\e[2K\\e[1A\\u202eb": {}\n')
    result = CliRunner().invoke(app, ["catalogue", "validate", str(tmp_path)])
    assert result.exit_code == 1
    assert not any(steering in result.output for steering in ("\x1b", "\u202e"))
    assert "stores.a\ufffd[2K\ufffd[1A\ufffdb" in result.output
