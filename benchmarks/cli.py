"""What a command costs through Prefect, compared with --local; and how long a run waits that is started in the UI.

    python benchmarks/cli.py [--rounds 5] [--home DIR]

On the local stack: the running one of ``--home``, or a new one. Each round runs every command once with ``--local`` and
once through the worker, alternating, so that both have the same machine; the medians are compared. Then runs are
created as Prefect's UI creates them, one after the other, and the server reports how long each waited.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx

from benchmarks.processes import end_in_order
from local.environment import environment, inherited
from local.home import Stack
from local.prepare import prepare_stack
from local.services import DATABASE_SECRET
from local.stack import opened, remove, up

ROOT: Final = Path(__file__).parent.parent
GOAL: Final = 1.0
"""Seconds that a command may cost more through Prefect, and that a revocation may wait for its start."""
PATIENCE: Final = 120.0
"""Seconds that one run may take."""
FAILED, USAGE = 1, 2
"""Exit codes."""
COMMANDS: Final = {
    "sync": ["sync"],
    "rotate": ["rotate", DATABASE_SECRET, "--now", "--end-previous", "--yes"],
    "retire": ["retire", DATABASE_SECRET, "--early", "--yes"],
}
RUNS: Final[dict[str, dict[str, Any]]] = {
    "sync": {},
    "preview-revocation": {"path": DATABASE_SECRET},
}
"""What the UI starts; the second goes to the queue for emergencies, whose worker is idle otherwise."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    end_in_order()
    with stack_of(options.home) as stack:
        commands(stack, options.rounds)
        runs(stack, options.rounds)


@contextmanager
def stack_of(home: Path | None) -> Iterator[Stack]:
    """The running stack, or a new one until the end."""
    if home:
        yield opened(home)
        return
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "home"
        os.environ["KEYTURN_HOME"] = str(made)
        try:
            yield up(made, prepare_stack, print)
        finally:
            remove(made)


def compared(stack: Stack, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Each command both ways, alternating: its name, and the medians with ``--local`` and through Prefect."""
    for name, command in COMMANDS.items():
        local, through = [], []
        for _ in range(rounds + 1):
            local.append(timed(stack, [*command, "--local"]))
            through.append(timed(stack, command))
        # The first opens connections and compiles modules.
        yield name, statistics.median(local[1:]), statistics.median(through[1:])


def commands(stack: Stack, rounds: int) -> None:
    """Print them."""
    print(f"{'command':<10} {'--local':>9} {'Prefect':>9} {'more':>9}   {'at most':>8}  (median of {rounds}, seconds)")
    for name, middle, other in compared(stack, rounds):
        print(f"{name:<10} {middle:9.2f} {other:9.2f} {other - middle:+9.2f}   {GOAL:8.1f}")


def timed(stack: Stack, command: Sequence[str]) -> float:
    """Seconds that the command takes, which may report that nothing is due."""
    variables = inherited() | {"KEYTURN_HOME": str(stack.home)}
    # As users have it: only the first round compiles.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "keyturn", *command], env=variables, cwd=ROOT, capture_output=True, check=False
    )
    took = time.perf_counter() - began
    if ended.returncode in (FAILED, USAGE):
        raise SystemExit(f"keyturn {' '.join(command)} has failed:\n{ended.stderr.decode()}")
    return took


def waits(stack: Stack, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Medians of how long runs that are created through the API wait, and of how long they take with it."""
    variables = environment(stack)
    trusted = variables["PREFECT_API_SSL_CERT_FILE"]
    with httpx.Client(base_url=variables["PREFECT_API_URL"], verify=trusted, timeout=30) as server:
        for flow, parameters in RUNS.items():
            waited = [wait_of(server, flow, parameters) for _ in range(rounds + 1)][1:]
            begun, over = (statistics.median(times) for times in zip(*waited, strict=True))
            yield flow, begun, over


def runs(stack: Stack, rounds: int) -> None:
    """Print them."""
    print(f"\n{'run':<18} {'begun after':>11} {'over after':>11}   (median of {rounds}, seconds)")
    for flow, begun, over in waits(stack, rounds):
        print(f"{flow:<18} {begun:11.2f} {over:11.2f}")


def wait_of(server: httpx.Client, flow: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Seconds from creating a run until it has started, and until it has ended, by the server's clock."""
    deployment = answer(server, "GET", f"/deployments/name/{flow}/{flow}")["id"]
    asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    run = answer(server, "POST", f"/deployments/{deployment}/create_flow_run", json=asked)
    deadline = time.monotonic() + PATIENCE
    while not run["end_time"]:
        if time.monotonic() > deadline:
            raise SystemExit(f"the run {run['id']} is not over after {PATIENCE:.0f} s: {json.dumps(run['state'])}")
        time.sleep(0.1)
        run = answer(server, "GET", f"/flow_runs/{run['id']}")
    created, began, ended = (datetime.fromisoformat(run[name]) for name in ("created", "start_time", "end_time"))
    return (began - created).total_seconds(), (ended - created).total_seconds()


def answer(server: httpx.Client, method: str, path: str, **asked: Any) -> Any:
    """The server's answer; on SQLite it is 503 if two writes collide."""
    deadline = time.monotonic() + PATIENCE
    while (response := server.request(method, path, **asked)).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return response.raise_for_status().json()


if __name__ == "__main__":
    main()
