"""What each of several processes compiles of the tests, so that none compiles what another does at that moment."""

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from tests.support.sampling import ROOT

PATTERN: Final = "test_*.py"


def share_out(arguments: Sequence[str]) -> None:
    """Import this process's share of the tests first: in a fresh checkout that is to rewrite and compile them.

    All of them takes a process half a minute. The others find it done when they come to it, that and what Hypothesis
    keeps about each module.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if count == 1:
        return
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    for file in share(files_of(arguments), number, count):
        # Whatever is wrong with it is told when it is collected.
        with suppress(Exception, pytest.skip.Exception):
            import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


def files_of(arguments: Sequence[str]) -> list[Path]:
    """The files with tests in the folders that are named, in their order."""
    folders = [path for argument in arguments if (path := ROOT / argument).is_dir()]
    return sorted({file for folder in folders for file in folder.rglob(PATTERN)})


def share(files: Sequence[Path], number: int, count: int) -> Sequence[Path]:
    """What the process of that number begins with, of so many: neighbours, which import the same."""
    return files[len(files) * number // count : len(files) * (number + 1) // count]
