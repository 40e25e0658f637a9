"""A deep run in shares that can be interrupted: ``KEYTURN_SHARD=3/12`` runs the third of twelve and writes its results.

Results are kept per state of the checkout in ``dist/deep``. A share that is run again skips what has already passed.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.sampling import DEEP_VARIABLE, ROOT

VARIABLE: Final = "KEYTURN_SHARD"
DIRECTORY: Final = ROOT / "dist" / "deep"
SHARES: Final = 12
SLOW_WEIGHT: Final = 10
"""A test marked slow counts as this many others when files are divided into shares."""


@dataclass(frozen=True)
class Shard:
    """The share ``number`` of ``count``, both from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``3/12``. Raises ValueError for anything else."""
        number, _, count = text.partition("/")
        if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise ValueError(f"{VARIABLE}={text}: expected NUMBER/COUNT, such as 3/12")
        return cls(int(number), int(count))

    @property
    def results(self) -> Path:
        """The file with one line of JSON per finished test and per run."""
        return DIRECTORY / checkout_state() / f"{self.number:02}-of-{self.count:02}.jsonl"


def chosen() -> Shard | None:
    """The shard of this run, if any. Raises ValueError."""
    text = os.environ.get(VARIABLE)
    return Shard.parse(text) if text else None


def checkout_state() -> str:
    """The commit, and a digest of uncommitted changes if there are any."""

    def git(*arguments: str) -> str:
        asked = ("git", "-C", str(ROOT), *arguments)
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    changes = git("diff", "HEAD")
    suffix = f"+{sha256(changes.encode()).hexdigest()[:8]}" if changes else ""
    return git("rev-parse", "--short=12", "HEAD").strip() + suffix


def divide(weights: Mapping[str, int], count: int) -> list[set[str]]:
    """Divide files into ``count`` shares of about equal weight; every file is in exactly one."""
    shares: list[set[str]] = [set() for _ in range(count)]
    loads = [0] * count
    for file, weight in sorted(weights.items(), key=lambda entry: (-entry[1], entry[0])):
        lightest = loads.index(min(loads))
        shares[lightest].add(file)
        loads[lightest] += weight
    return shares


def not_in_shard(items: Sequence[Any], shard: Shard) -> list[Any]:
    """The tests of other shares, and those of this one that have passed in this state of the checkout."""
    weights: Counter[str] = Counter()
    for item in items:
        weights[file_of(item.nodeid)] += SLOW_WEIGHT if item.get_closest_marker("slow") else 1
    share = divide(weights, shard.count)[shard.number - 1]
    done = passed(shard)
    return [item for item in items if file_of(item.nodeid) not in share or item.nodeid in done]


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.partition("::")[0]


def read_results(file: Path) -> list[dict[str, Any]]:
    """The lines of a results file; a last line that was cut off is dropped."""
    if not file.exists():
        return []
    lines = file.read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def last_outcomes(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The newest outcome of each test."""
    return {line["test"]: line["outcome"] for line in lines if "test" in line}


def passed(shard: Shard) -> Collection[str]:
    """The tests whose newest outcome is not a failure."""
    return {test for test, outcome in last_outcomes(read_results(shard.results)).items() if outcome != "failed"}


class Recorder:
    """A pytest plugin for the controlling process: writes each test's outcome when it is known."""

    def __init__(self, shard: Shard) -> None:
        self._file = shard.results
        self._started = time.time()
        self._outcomes: dict[str, tuple[str, float]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the worst outcome of set-up, call and tear-down, and write it after tear-down."""
        outcome, seconds = self._outcomes.get(report.nodeid, ("passed", 0.0))
        worse = report.outcome if outcome == "passed" or report.failed else outcome
        self._outcomes[report.nodeid] = (worse, seconds + report.duration)
        if report.when == "teardown":
            outcome, seconds = self._outcomes.pop(report.nodeid)
            self._write({"test": report.nodeid, "outcome": outcome, "seconds": round(seconds, 2)})

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write how long this run took and how it ended. A share whose tests have all passed before has succeeded."""
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
        self._write({"run": round(time.time() - self._started), "exit": int(session.exitstatus)})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def summary(directory: Path) -> tuple[list[str], bool]:
    """A line per share of one state of the checkout, the failures, and whether every share is complete and green."""
    files = {file.stem: read_results(file) for file in sorted(directory.glob("*-of-*.jsonl"))}
    count = max((int(name.partition("-of-")[2]) for name in files), default=0)
    lines, total, green = [], 0, bool(files)
    for number in range(1, count + 1):
        results = files.get(f"{number:02}-of-{count:02}")
        if results is None:
            lines.append(f"shard {number}/{count}: not run")
            green = False
            continue
        outcomes = last_outcomes(results)
        counts = Counter(outcomes.values())
        seconds = sum(line.get("run", 0) for line in results)
        finished = results[-1].get("exit") == 0 and not counts["failed"]
        total += seconds
        green = green and finished
        state = "green" if finished else "NOT GREEN"
        passes = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
        lines.append(f"shard {number}/{count}: {state}, {passes}, {seconds // 60} min {seconds % 60} s")
        lines += [f"  failed: {test}" for test, outcome in sorted(outcomes.items()) if outcome == "failed"]
    lines.append(f"all shards: {'green' if green else 'NOT GREEN'}, {total // 60} min {total % 60} s")
    return lines, green


def main(pytest_command: Sequence[str]) -> int:
    """Run the share of ``KEYTURN_SHARD``, or all twelve in a row, then print the summary.

    0 when the share, or all of them, are green.
    """
    directory, one = DIRECTORY / checkout_state(), os.environ.get(VARIABLE)
    failed = False
    for shard in [one] if one else [f"{number}/{SHARES}" for number in range(1, SHARES + 1)]:
        print(f"shard {shard}", flush=True)  # noqa: T201
        environment = {**os.environ, VARIABLE: shard, DEEP_VARIABLE: "deep"}
        failed |= subprocess.run(pytest_command, check=False, env=environment, cwd=ROOT).returncode != 0
    print("\n".join(summary(directory)[0]))  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
