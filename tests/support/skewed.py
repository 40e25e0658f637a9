"""Processes with a wrong clock, by Debian's libfaketime: how long something lasts is measured by another, right one."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from local.postgres import PostgreSQL
from local.programs import find_program
from local.support.process import Account

LIBRARY: Final = "faketime/libfaketimeMT.so.1"


def library() -> Path:
    """The library, of the system's package or of an unpacked one. Raises as `find_program`."""
    root = find_program("faketime").root or Path("/")
    return next(root.glob(f"usr/lib/*-linux-*/{LIBRARY}"))


def skewed(off: timedelta) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong by so much."""
    return {**_loaded(), "FAKETIME": _written(off)}


def jumping(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock `jump` moves while it runs."""
    return {**_loaded(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}


def jump(file: Path, off: timedelta) -> None:
    """Let the clock of such a process be wrong by so much from now on."""
    (new := file.with_suffix(".new")).write_text(_written(off))
    new.replace(file)


def _loaded() -> dict[str, str]:
    return {"LD_PRELOAD": str(library()), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _written(off: timedelta) -> str:
    return f"{off.total_seconds():+.0f}s"


class SkewedPostgreSQL(PostgreSQL):
    """A PostgreSQL server whose clock is three hours ahead."""

    off: Final = timedelta(hours=3)

    def _programs(self, account: Account | None) -> tuple[Path, dict[str, str]]:
        programs, environment = super()._programs(account)
        return programs, {**os.environ, **environment, **skewed(self.off)}
