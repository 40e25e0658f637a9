"""``make recipe-matrix``: every recipe in the crash matrix, in several processes, and a table of the outcomes.

A run that is interrupted goes on where it stopped, as long as the checkout is the same.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from local.emulators.recipes.play import PLAYERS
from tests.recipes.kind import IN_PLACE, LIBRARY, mechanism_of, rows
from tests.support.sampling import DEEP_VARIABLE, ROOT
from tests.support.shards import VARIABLE, Shard, last_outcomes, read_results

FILE: Final = "tests/recipes/test_matrix.py"
WHOLE: Final = "1/1"
ELSEWHERE: Final = "the row of its strategy in tests/crash"
BY_HAND: Final = "replaced by hand: nothing to stop"


def outcomes(lines: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """The newest outcome of each row."""
    found = {test: outcome for test, outcome in last_outcomes(lines).items() if test.startswith(FILE)}
    return {test.partition("[")[2].removesuffix("]"): outcome for test, outcome in found.items() if "[" in test}


def table(found: Mapping[str, str]) -> Iterator[str]:
    """A line for each row, and for each recipe that this matrix does not stop."""
    for row in rows():
        yield f"{row:55} {mechanism_of(row):16} {found.get(row, 'not run')}"
    for name, recipe in LIBRARY.items():
        if recipe.strategy not in PLAYERS:
            yield f"{name:55} {recipe.strategy:16} {BY_HAND if recipe.strategy == 'manual' else ELSEWHERE}"


def passed(found: Mapping[str, str]) -> set[str]:
    """The recipes whose every row has passed."""
    failed = {row.removesuffix(IN_PLACE) for row in rows() if found.get(row) != "passed"}
    return {row.removesuffix(IN_PLACE) for row in rows()} - failed


def main(pytest_command: Sequence[str]) -> int:
    """Run what has not passed yet, and print the table. 0 when every recipe has passed."""
    processes = str(max(2, (os.cpu_count() or 2) // 2))
    environment = {**os.environ, VARIABLE: WHOLE, DEEP_VARIABLE: "deep"}
    command = [*pytest_command, "--numprocesses", processes, "--dist=load", FILE]
    results = Shard.parse(WHOLE).results
    status = subprocess.run(command, check=False, env=environment, cwd=ROOT).returncode
    found = outcomes(read_results(results))
    played = {row.removesuffix(IN_PLACE) for row in rows()}
    lines = [*table(found), f"{len(passed(found))} of {len(played)} recipes lose no value and leave no orphan"]
    lines.append(f"{len(LIBRARY) - len(played)} others: {ELSEWHERE}, or {BY_HAND}")
    print("\n".join(lines))  # noqa: T201
    return 0 if passed(found) == played and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
