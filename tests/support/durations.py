"""Where the time of a run goes: its sum by folder, and with ``--times`` by file and by fixture, too.

A fixture's time includes that of the fixtures it asks for only where it is the one that starts them.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import pytest

OPTION: Final = "--times"
OUTPUT: Final = "keyturn-fixtures"
"""What a process of the run hands over, by this name: the seconds of its fixtures."""
LINES: Final = 40


class Durations:
    """Adds up the seconds of tests and fixtures over all processes of a run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files: Counter[str] = Counter()
        self._fixtures: Counter[str] = Counter()
        self._nested = [0.0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._files[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        begun = time.monotonic()
        self._nested.append(0.0)
        try:
            return (yield)
        finally:
            whole, inner = time.monotonic() - begun, self._nested.pop()
            self._nested[-1] += whole
            self._fixtures[f"{fixturedef.argname} ({fixturedef.baseid})"] += whole - inner  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[OUTPUT] = dict(self._fixtures)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._fixtures.update(getattr(node, "workeroutput", {}).get(OUTPUT, {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if len(self._files) > 1:
            terminalreporter.write_line(f"time by folder: {by_folder(self._files)}")
        if self._config.getoption(OPTION):
            for name, counted in (("file", self._files), ("fixture", self._fixtures)):
                terminalreporter.section(f"time by {name}")
                for key, seconds in counted.most_common(LINES):
                    terminalreporter.write_line(f"{seconds:8.1f} s  {key}")


def by_folder(files: Mapping[str, float]) -> str:
    """Each folder's share of the time of all tests, the largest first; those below a hundredth together."""
    folders: Counter[str] = Counter()
    for file, seconds in files.items():
        parts = PurePath(file).parts
        folders["/".join(parts[:2]) if len(parts) > 2 else parts[0]] += seconds  # type: ignore[assignment]
    whole = sum(folders.values()) or 1.0
    shares = {name: round(100 * seconds / whole) for name, seconds in folders.most_common()}
    return ", ".join([f"{whole:.0f} s", *(f"{name} {share} %" for name, share in shares.items() if share)])
