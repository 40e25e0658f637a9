"""What the access trail costs for each event, and how fast it answers over a long history.

    python benchmarks/trail.py [--events 1000000] [--sealed 200000] [--rounds 5] [--directory DIR] [--keep]

1. Accesses that are appended in batches and sealed into segments, with their ledger entries, and merged: CPU seconds of
   this process for each event, compared with DuckDB writing the same rows as one bare Parquet file.
2. A history of this many events (100,000,000 for the claim: 4.5 GB, and ten minutes to write), ten days of 10,000
   principals with 20 secrets each of 50,000, with some unusual reads. DuckDB writes it in the very files that merging
   makes, with their summaries. Bytes for each event.
3. Queries over it, by path, principal and address, over all of it and over some days that begin and end at noon: the
   first time with the system's cache of the files dropped, and the median of the next ones. Compared with a bare scan
   of the same files by DuckDB, for the number of events and the first and last of them.

A directory that has a history already (--keep) is used again. The load of the machine is printed, too.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import duckdb

from keyturn.access_log.trail.cursors import SourceState
from keyturn.access_log.trail.investigation import investigate
from keyturn.access_log.trail.layout import Segment, StoredFile, stored_files
from keyturn.access_log.trail.merging import merge_trail
from keyturn.access_log.trail.parquet import FORMAT, connected, listed, numbering, write_file
from keyturn.access_log.trail.period import Period
from keyturn.access_log.trail.summaries import write_summary
from keyturn.access_log.trail.trail import Trail
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, SourceRecord
from keyturn.providers.ledger.sqlite import SqliteLedger

BEGAN: Final = datetime(2026, 11, 1, tzinfo=UTC)
DAYS: Final = 10
SEGMENTS: Final = 1440
"""Of a day: one a minute."""
BATCH: Final = 1000
SEALED: Final = 7000
"""Events of a segment: a minute of ten million a day."""
PER_FILE: Final = 10_000_000

WHATS: Final = {
    "path": "team-7/app-7/credentials",
    "principal": "approle service-777",
    "address": "10.0.9.9",
}
NOONS: Final = Period(BEGAN + timedelta(days=2, hours=12), BEGAN + timedelta(days=7, hours=12))

HISTORY: Final = """
SELECT make_timestamp({base} + i * {step} + h3 % {step}) AS time, 'hub' AS system,
    'team-' || s % 300 || '/app-' || s // 300 || '/credentials' AS path, 1 + (s + {day}) // 20 % 40 AS version,
    'approle service-' || p AS principal,
    '10.' || a // 65536 % 256 || '.' || a // 256 % 256 || '.' || a % 256 AS source,
    h2 % 997 = 0 AS denied, substr(md5(p || ' ' || i // {a_login}), 1, 8) AS login, 'read' AS action,
    CASE p % 5 WHEN 0 THEN 'hvac/2.4.0' WHEN 1 THEN 'Vault SDK' WHEN 2 THEN '' ELSE 'curl/8.11' END AS agent,
    false AS root, unhex(sha256(i || ' {day}')) AS digest, 'audit.log:' || {first} + i AS position,
    {segment} + i // {in_segment} AS segment, i % {in_segment} AS leaf
FROM (
    SELECT i, h2, h3, p, CASE WHEN h2 % 499 = 0 THEN h3 % 50000 ELSE (p * 37 + h2 % 20 * 131) % 50000 END AS s,
        CASE WHEN h3 % 4999 = 0 THEN h2 % 16777216 ELSE p * 3 + h3 % 2 END AS a
    FROM (
        SELECT i, (hash(i, {day}, 2) % 1000000007)::BIGINT AS h2, (hash(i, {day}, 3) % 1000000009)::BIGINT AS h3,
            (pow(hash(i, {day}, 1) % 1000003 / 1000003.0, 2) * 10000)::BIGINT % 10000 AS p FROM range({count}) r(i)
    )
)"""
"""A day: the first principals read most, one event in 500 is of any secret, one in 5,000 from any address."""


class Cursors:
    """The hub's part, in memory: what is measured is the trail's own."""

    def __init__(self) -> None:
        self._state = SourceState()

    def read(self, source: str) -> SourceState:
        """The state of the one source."""
        return self._state

    def write(self, source: str, state: SourceState) -> SourceState:
        """Append it."""
        self._state = SourceState(**{**vars(state), "version": state.version + 1})
        return self._state


def records(count: int) -> Iterator[SourceRecord]:
    """Reads as a source returns them."""
    for number in range(count):
        who = number * 7919 % 1000
        access = Access(
            at=BEGAN + timedelta(microseconds=number * 8640 + who),
            system="hub",
            path=f"team-{who % 97}/app-{number % 5}/credentials",
            version=1 + number % 3,
            principal=f"approle service-{who}",
            source=f"10.{who % 200}.0.{number % 3}",
            login=f"{who:08x}",
            agent="hvac/2.4.0",
        )
        yield SourceRecord(access, hashlib.sha256(b"%d" % number).digest(), f"audit.log:{number}")


def measure_sealing(directory: Path, count: int) -> None:
    """Append, seal, merge; and the bare file."""
    given = list(records(count))
    with closing(SqliteLedger(directory / "ledger.db", "benchmark", patience=5)) as ledger:
        trail = Trail(directory / "trail", ledger, Cursors(), lambda: "benchmark", lambda: datetime.now(UTC))
        appending = sealing = 0.0
        for first in range(0, count, BATCH):
            part = given[first : first + BATCH]
            batch = Batch(str(first + BATCH), part, len(part), part[0].position, part[-1].position, b"d" * 32)
            appending += cpu(lambda batch=batch, first=first: trail.append("hub", str(first) if first else None, batch))
            if (first + BATCH) % SEALED == 0:
                sealing += cpu(trail.seal)
        sealing += cpu(trail.seal)
    size = sum(file.path.stat().st_size for file in stored_files(directory / "trail"))
    merging = cpu(lambda: merge_trail(directory / "trail", datetime(2099, 1, 1, tzinfo=UTC)))
    merged = stored_files(directory / "trail")
    paths = listed([file.path for file in merged])
    query = f"COPY (SELECT * FROM read_parquet({paths})) TO '{directory / 'bare.parquet'}' ({FORMAT})"  # noqa: S608
    with connected() as connection:
        bare = cpu(lambda: connection.execute(query))
    print(f"{count:,} events in {-(-count // SEALED)} segments, CPU for each event:")
    for name, seconds in (("append", appending), ("seal", sealing), ("merge", merging), ("bare copy", bare)):
        print(f"  {name:<10} {seconds / count * 1e6:6.2f} µs")
    total = (appending + sealing + merging) / count
    print(f"  together {1 / total:,.0f} events a second and core; {size / count:.1f} bytes an event before merging,")
    print(f"  {sum(file.path.stat().st_size for file in merged) / count:.1f} after it")


def lay_history(directory: Path, count: int) -> None:
    """Ten days of events, in files of ten million at most."""
    began = time.perf_counter()
    for day in range(DAYS):
        of_day, base = count // DAYS, BEGAN + timedelta(days=day)
        step, in_segment = 86_400_000_000 // of_day, -(-of_day // SEGMENTS)
        numbers = -(-of_day // in_segment)
        segments = [
            Segment(
                number=day * SEGMENTS + at,
                sealed=base + timedelta(microseconds=step * min((at + 1) * in_segment, of_day)),
                count=min(in_segment, of_day - at * in_segment),
                first=base + timedelta(microseconds=step * at * in_segment),
                last=base + timedelta(microseconds=step * min((at + 1) * in_segment, of_day) - 1),
            )
            for at in range(numbers)
        ]
        evening = base + timedelta(hours=23)
        segments += [Segment(day * SEGMENTS + at, evening, 0) for at in range(numbers, SEGMENTS)]
        stored = StoredFile.of(directory, "hub", segments)
        rows = HISTORY.format(
            base=int(base.timestamp()) * 1_000_000,
            step=step,
            day=day,
            count=of_day,
            first=day * of_day,
            segment=day * SEGMENTS,
            in_segment=in_segment,
            a_login=max(1, of_day // 25),
        )
        with connected(threads=os.cpu_count() or 1) as connection:
            write_file(connection, stored, rows, (), segments, numbering(of_day))
            write_summary(connection, stored)
        print(f"  day {day + 1} of {DAYS} is laid, {time.perf_counter() - began:.0f} s", flush=True)


def measure_questions(directory: Path, rounds: int) -> None:
    """Each query, cold and warm, compared with the bare scan."""
    files = stored_files(directory)
    events = sum(file.path.stat().st_size for file in files)
    sums = sum(file.summary.stat().st_size for file in files)
    with connected() as connection:
        paths = listed([file.path for file in files])
        count = connection.execute(f"SELECT count(*) FROM read_parquet({paths})").fetchall()[0][0]  # noqa: S608
    print(f"{count:,} events in {len(files)} files: {events / count:.1f} bytes each, {sums / count:.2f} of summaries")
    print(f"  {'question':<28} {'cold':>8} {'warm':>8} {'bare, cold':>11} {'bare, warm':>11} {'ratio':>6}  answer")
    for label, period in (("", Period()), (", noon to noon", NOONS)):
        for kind, what in WHATS.items():
            cold, warm, answer = timed(directory, rounds, lambda what=what, period=period: ask(directory, what, period))
            bare_cold, bare_warm, _ = timed(
                directory, rounds, lambda kind=kind, what=what, period=period: scan(files, kind, what, period)
            )
            line = f"  {kind + label:<28} {cold:7.2f}s {warm:7.2f}s {bare_cold:10.2f}s {bare_warm:10.2f}s"
            print(f"{line} {warm / bare_warm:6.2f}  {answer}", flush=True)
    command = [sys.executable, "-m", "keyturn.cli", "investigate", WHATS["path"], "--json"]
    env = {**os.environ, "KEYTURN_TRAIL": str(directory), "PYTHONPATH": str(Path(__file__).parent.parent)}
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, capture_output=True)
    print(f"  keyturn investigate PATH, the whole command, warm: {time.perf_counter() - began:.2f} s")


def ask(directory: Path, what: str, period: Period) -> str:
    """The trail's answer, briefly."""
    answer = investigate(directory, what, period)
    return f"{answer.accesses:,} accesses, {len(answer.timeline) + answer.omitted} lines, {len(answer.related)} related"


def scan(files: list[StoredFile], kind: str, what: str, period: Period) -> list[Any]:
    """The same files by DuckDB alone."""
    column = "source" if kind == "address" else kind
    condition = "" if period == Period() else f"AND {period.within()}"
    query = (
        f"SELECT count(*), min(time), max(time) FROM read_parquet({listed([file.path for file in files])}) "  # noqa: S608
        f"WHERE {column} = ? {condition}"
    )
    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as connection:
        return connection.execute(query, [what]).fetchall()


def timed(directory: Path, rounds: int, work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the first time, without the system's cache of the files, and the median of the others."""
    forget(directory)
    seconds, answer = [], None
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - began)
    return seconds[0], statistics.median(seconds[1:]), answer


def forget(directory: Path) -> None:
    """Make the system drop its cache of the files."""
    for path in directory.rglob("*.parquet"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of this process, DuckDB's threads included."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--sealed", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="where the history lies or is laid; a temporary one by default")
    parser.add_argument("--keep", action="store_true", help="leave the history where it is")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="keyturn-trail-"))
    try:
        print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
        with tempfile.TemporaryDirectory() as scratch:
            measure_sealing(Path(scratch), options.sealed // BATCH * BATCH)
        if not stored_files(directory):
            lay_history(directory, options.events)
        print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
        measure_questions(directory, options.rounds)
    finally:
        if not options.keep:
            with suppress(FileNotFoundError):
                shutil.rmtree(directory)


if __name__ == "__main__":
    main()
