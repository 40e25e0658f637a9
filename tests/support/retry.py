"""Run the tests that failed in a whole run once more: those that pass then are flaky, not broken.

A run writes its failures to the file that ``KEYTURN_FAILURES`` names. ``python -m tests.support.retry FILE`` runs
exactly these again, each file in a process of its own, and ends with 0 if all pass. It prints their names behind
``flaky:``, with the first line of the first error. It refuses, with 1, what a second look can't excuse: more than
:data:`MOST` failures, a run that was interrupted, or one that could not collect its tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

VARIABLE: Final = "KEYTURN_FAILURES"
MOST: Final = 10
"""More failures than this in one run are no accident."""
LONGEST: Final = 300
"""Characters of an error."""


class FailureList:
    """Writes the names and errors of failed tests, with the run's exit code, when the run ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._errors: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self._errors.setdefault(report.nodeid, message.strip().partition("\n")[0][:LONGEST])

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._file.write_text(json.dumps({"exit": int(exitstatus), "errors": self._errors}))


def list_failures(config: pytest.Config) -> None:
    """Let this run write its failures, if it is to. Processes that run its tests for it write none."""
    file = os.environ.get(VARIABLE)
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureList(Path(file)))


def main(file: Path, pytest_command: list[str]) -> int:
    """Run the failures of a run again. Returns the exit code."""
    try:
        run = json.loads(file.read_text())
    except (OSError, ValueError):
        return refuse("the run wrote no list of failures")
    errors: Mapping[str, str] = run["errors"]
    if run["exit"] != pytest.ExitCode.TESTS_FAILED or not errors:
        return refuse(f"the run ended with {run['exit']}, which is no failure of single tests")
    if len(errors) > MOST:
        return refuse(f"{len(errors)} tests failed, more than {MOST}")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    for name, tests in groupby(sorted(errors), lambda test: test.partition("::")[0]):
        again = list(tests)
        say(f"retry: {len(again)} of {name}")
        if code := subprocess.run([*pytest_command, *again], env=environment, stdin=subprocess.DEVNULL).returncode:
            return refuse(f"a second run of {name} ended with {code}, too")
    for test, error in errors.items():
        say(f"flaky: {test}: {error}")
    return 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def refuse(reason: str) -> int:
    say(f"retry: FAILED: {reason}")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [sys.executable, "-m", "pytest", "--quiet"]))
