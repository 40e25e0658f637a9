"""An act of the demonstration: a login leaks, and one command ends it everywhere."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any, Final, Protocol

from rich.console import Console

from local import environment
from local.home import Stack
from local.services import DATABASE_SECRET

TURNS: Final = 5
LONGEST: Final = 120.0
"""Seconds for which the leaked login is tried."""
VERIFY: Final = ("ledger", "verify", "--witnesses", "2", "--against-hub", "--fresh", "15m")
NO_HOME: Final = dict.fromkeys(("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), "")


class Shown(Protocol):
    """Where a person watches."""

    console: Console


class Stage(Shown, Protocol):
    """What the act needs of the demonstration."""

    stack: Stack

    def look(self, path: str) -> Any:
        """A secret as the hub has it now."""

    def refused(self, fields: dict[str, Any]) -> bool:
        """Whether the database refuses a login."""

    def stats(self) -> dict[str, dict[str, Any]]:
        """What each application counts."""

    def say(self, line: str) -> None:
        """Print a step, one of the details."""

    def result(self, good: bool, line: str) -> bool:
        """Print one outcome, and return whether it is good."""


async def leak(stage: Stage) -> bool:
    """The database login leaks and is revoked; whether that is proven and written down, and the applications go on."""
    stage.say("Now a leak: the database login is out, and the person on call ends it with one command")
    leaked = stage.look(DATABASE_SECRET).fields
    options = (DATABASE_SECRET, "--reason", "leaked in a log", "--incident", f"INC-DEMO-{time.time():.0f}")
    stage.console.print(f"  $ keyturn revoke {DATABASE_SECRET} --reason 'leaked in a log'", style="dim")
    refused_after, (closed, report) = await asyncio.gather(
        asyncio.to_thread(shut_out, lambda: stage.refused(leaked)),
        asyncio.to_thread(command, stage, "revoke", *options),
    )
    show(stage, report)
    recovered = await asyncio.to_thread(at_work_again, stage)
    stage.console.print(f"  $ keyturn {' '.join(VERIFY)}", style="dim")
    whole, verified = await asyncio.to_thread(command, stage, *VERIFY)
    show(stage, verified)
    accepted = refused_after is None
    refused = "STILL ACCEPTED" if accepted else f"refused {refused_after:.2f} s after the command began"
    return all(
        [
            stage.result(not accepted, f"a leaked password, ended by `keyturn revoke`: {refused}"),
            stage.result(closed, f"the incident is {'closed, and proven' if closed else 'STILL OPEN'}"),
            stage.result(recovered, f"both applications {'use' if recovered else 'do NOT use'} the new login"),
            stage.result(
                whole,
                f"the ledger is {'whole, cosigned by two witnesses, and matches the hub' if whole else 'NOT WHOLE'}",
            ),
        ]
    )


def shut_out(refused: Callable[[], bool]) -> float | None:
    """Seconds until a login is refused; None where it is accepted for ever."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST:
        if refused():
            return time.monotonic() - began
        time.sleep(0.02)
    return None


def command(stage: Stage, *arguments: str, variables: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """Run one of Keyturn's commands, with more ``variables``, as a person whose HOME holds nothing of Keyturn.

    Whether it succeeded, and its output.
    """
    with tempfile.TemporaryDirectory() as empty:
        own = {"KEYTURN_HOME": str(stage.stack.home), "HOME": empty, **NO_HOME}
        done = subprocess.run(
            [sys.executable, "-m", "keyturn.cli", *arguments],
            env=environment.inherited() | own | dict(variables or {}),
            cwd=environment.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def at_work_again(stage: Stage) -> bool:
    """Whether every application queries, and none of its queries fails any more."""
    before = stage.stats()
    for _ in range(TURNS):
        time.sleep(1)
        now = stage.stats()
        if all(
            now[name]["served"] > counts["served"] and now[name]["failed"] == counts["failed"]
            for name, counts in before.items()
        ):
            return True
        before = now
    return False


def show(stage: Shown, text: str) -> None:
    """What a command said, set apart."""
    stage.console.print(
        indent(text.rstrip(), "  "), style="dim", markup=False, emoji=False, highlight=False, soft_wrap=True
    )
