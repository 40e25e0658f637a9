"""The ledger, compared in one run with its parts.

    python benchmarks/ledger.py [--rounds 200] [--entries 1000000]

Appending, compared with SQLite committing the very same bytes, ready made, in the same batches, and by CPU with making
the bytes and committing them; verifying, compared with a bare hash chain over the same bytes in memory, and with the
bare loop that reads the rows and hashes a Merkle tree over them, the least that a verifier does; proving an entry of a
large tree; and 8 processes that write 50,000 entries. Times are medians, or the fastest round where the table says so;
compare the ratios, not the numbers of another machine.
"""

import argparse
import hashlib
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.checkpointer import CheckpointCopy, sign_checkpoint
from keyturn.ledger.entries import encode
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import check_proof, prove_entry
from keyturn.ledger.scan import Scanner, scan_entries
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.verify import verify_ledger
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.scanning import scan_side_by_side
from keyturn.providers.ledger.sqlite import SqliteCopy

ORIGIN = "keyturn/benchmark"
ONE_PROCESS, TWO_PROCESSES = "verify, one process", "verify, two processes"
BATCHES = (1, 16, 256)
PROCESSES = 8
SHARED = 50_000
"""Entries that the processes write together."""
EVERY = 10_000
"""Entries between the checkpoints of the large ledger."""
PROOFS = 500
ROUNDS = 3
"""The fastest round of each side counts."""

STEPS = tuple(f"rotate/{step}" for step in ("stage", "install", "verify", "promote", "sync", "notify", "retire"))
BEGAN = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)


class Key(CheckpointCopy):
    """A signer in the process, and a place for its newest checkpoint."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._note, self._version = "", 0

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def read(self) -> tuple[str, int]:
        return self._note, self._version

    def write(self, note: str, *, cas: int) -> None:
        self._note, self._version = note, cas + 1


def entries(count: int, first: int = 0) -> list[Entry]:
    """What rotations of 200 secrets write: an entry for each step, with its own time and its rotation's texts."""
    rotations = range(first // len(STEPS), (first + count) // len(STEPS) + 1)
    written = [entry for rotation in rotations for entry in steps(rotation)]
    begun = first - rotations.start * len(STEPS)
    return written[begun : begun + count]


def steps(rotation: int) -> list[Entry]:
    """The entries of one rotation."""
    secret, run = f"ml-training/team-{rotation % 200}/database", f"flow-run/{rotation:032x}"
    fingerprint = hashlib.sha256(b"%d" % rotation).hexdigest()
    return [
        Entry(
            time=BEGAN + timedelta(microseconds=1_317 * (rotation * len(STEPS) + place)),
            actor="schedule:rotate-secret",
            action=step,
            outcome=Outcome.DONE,
            secret=secret,
            version=rotation // 200 + 1,
            fingerprint=fingerprint,
            place="aws:ml-training-database",
            run=run,
            host="worker-3.example.internal",
        )
        for place, step in enumerate(STEPS)
    ]


def appending(directory: Path, batch: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each append, and of each commit of the same rows, alternating."""
    ours: list[float] = []
    bare: list[float] = []
    with (
        closing(open_ledger(str(directory / f"ours-{batch}.db"), origin=ORIGIN)) as ledger,
        closing(plain(directory / f"bare-{batch}.db")) as connection,
    ):
        for turn in range(rounds + 5):
            added = entries(batch, turn * batch)
            rows = list(enumerate([encode(entry) for entry in added], turn * batch + 1))
            sides = [(ours, partial(ledger.append, added)), (bare, partial(commit, connection, rows))]
            for taken, write in sides if turn % 2 else reversed(sides):
                taken.append(timed(write))
    return ours[5:], bare[5:]


def append_cpu(directory: Path, batch: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of CPU of an append, and of encoding the same entries and committing them; medians."""
    ours: list[float] = []
    bare: list[float] = []
    with (
        closing(open_ledger(str(directory / f"ours-cpu-{batch}.db"), origin=ORIGIN)) as ledger,
        closing(plain(directory / f"bare-cpu-{batch}.db")) as connection,
    ):
        for turn in range(rounds):
            added, first = entries(batch, turn * batch), turn * batch + 1

            def both(added: list[Entry] = added, first: int = first) -> None:
                commit(connection, list(enumerate([encode(entry) for entry in added], first)))

            sides = [(ours, partial(ledger.append, added)), (bare, both)]
            for taken, write in sides if turn % 2 else reversed(sides):
                began = time.process_time()
                write()
                taken.append((time.process_time() - began) * 1000)
    return statistics.median(ours), statistics.median(bare)


def plain(file: Path) -> sqlite3.Connection:
    """SQLite as usually set up for durable rows."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL)")
    return connection


def commit(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """The minimum that writes these rows durably."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO entries VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


class Taken(NamedTuple):
    """Milliseconds of wall time, of CPU of this process, and of CPU of others that have ended meanwhile."""

    wall: float
    own: float
    others: float

    @property
    def cpu(self) -> float:
        """Of all processes together."""
        return self.own + self.others

    @property
    def longest(self) -> float:
        """Wall time if each of two processes has a core of its own."""
        return max(self.own, self.others)


def spent(work: Callable[[], object]) -> Taken:
    """What it takes."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    wall = timed(work)
    return Taken(wall, _since(own, resource.RUSAGE_SELF), _since(others, resource.RUSAGE_CHILDREN))


def _since(before: resource.struct_rusage, who: int) -> float:
    now = resource.getrusage(who)
    return (now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime) * 1000


def report_appending(directory: Path, rounds: int) -> None:
    """A line for each size of batch."""
    print(f"{'append, ms a batch':32}{'Keyturn':>10}{'SQLite':>10}{'ratio':>8}{'of its rounds':>22}")
    for batch in BATCHES:
        ours, bare = appending(directory, batch, rounds)
        low, middle, high = statistics.quantiles([mine / theirs for mine, theirs in zip(ours, bare, strict=True)], n=4)
        ratio = statistics.median(ours) / statistics.median(bare)
        spread = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        name = f"{batch} entr{'y' if batch == 1 else 'ies'}"
        print(f"{name:32}{statistics.median(ours):10.2f}{statistics.median(bare):10.2f}{ratio:8.2f}{spread:>22}")
    print(f"{'goal: 256 entries':52}{1.3:8.2f}")
    ours_cpu, floor = append_cpu(directory, BATCHES[-1], rounds)
    print(
        f"CPU of {BATCHES[-1]}: {ours_cpu:.2f} ms; encoding and committing alone {floor:.2f}: {ours_cpu / floor:.2f}\n"
    )


def sign(ledger: StoredLedger, key: Key, *, thorough: bool) -> None:
    """Make a checkpoint."""
    sign_checkpoint(ledger, key, key, lambda: datetime.now(UTC), verify_ed25519, thorough=thorough)


def large(directory: Path, count: int, key: Key) -> Path:
    """A ledger of as many entries, with checkpoints."""
    file = directory / "large.db"
    with closing(open_ledger(str(file), origin=ORIGIN)) as ledger:
        for first in range(0, count, EVERY):
            ledger.append(entries(min(EVERY, count - first), first))
            sign(ledger, key, thorough=False)
    return file


@dataclass(frozen=True)
class Verifying:
    """Milliseconds of CPU: a bare chain, the bare loop, and by way of verifying those of all and of the busiest."""

    chain: float
    loop: float
    ways: dict[str, tuple[float, float]]


def verifying(file: Path, count: int, key: Key) -> Verifying:
    """What the chain takes, the bare loop, and one process and two that verify, alternating.

    Wall time says nothing on a machine that others use. The CPU time of the busiest process is the wall time of two
    processes on two free cores.
    """
    keys, note = [PublicKey(ORIGIN, key.public_key())], key.read()[0]
    scanners = {ONE_PROCESS: scan_entries, TWO_PROCESSES: partial(scan_side_by_side, processes=2)}
    bare, least, runs = list[Taken](), list[Taken](), {name: list[Taken]() for name in scanners}
    for _ in range(ROUNDS):
        bare.append(chained(file))
        least.append(spent(partial(hashed_tree, file)))
        for name, scan in scanners.items():
            runs[name].append(spent(partial(verified, file, count, keys, note, scan)))
    ways = {name: (min(run.cpu for run in took), min(run.longest for run in took)) for name, took in runs.items()}
    return Verifying(min(taken.cpu for taken in bare), min(taken.cpu for taken in least), ways)


def report_verifying(file: Path, count: int, key: Key) -> None:
    """The same, and what a checkpoint takes."""
    found = verifying(file, count, key)
    chain, loop = found.chain, found.loop
    print(f"{f'a chain of {count:,} hashes':32}{chain / 1000:8.2f} s of CPU, {count / chain:,.0f},000 a second")
    print(f"{'reading and hashing the tree':32}{loop / 1000:8.2f} s of CPU: {loop / chain:.2f} times the chain's")
    for name, (cpu, longest) in found.ways.items():
        line = f"{name:32}{cpu / 1000:8.2f} s of CPU, {longest / 1000:.2f} of the busiest process"
        print(
            f"{line}: {cpu / chain:.2f} and {longest / chain:.2f} times the chain's; goal 2.5 and 1.9; "
            f"{cpu / loop:.2f} and {longest / loop:.2f} times the bare loop's"
        )
    with closing(open_ledger(str(file), origin=ORIGIN)) as ledger:
        for thorough in (False, True):
            ledger.append(entries(256, count))
            taken = spent(partial(sign, ledger, key, thorough=thorough))
            print(f"{'checkpoint, ' + ('everything' if thorough else 'what is new'):32}{taken.cpu:10.1f} ms of CPU")


def verified(file: Path, count: int, keys: Sequence[PublicKey], note: str, scan: Scanner) -> None:
    """Read and verify the file, as ``keyturn ledger verify`` does."""
    with SqliteCopy(file) as source:
        report = verify_ledger(source, keys, verify_ed25519, elsewhere=[note], scan=scan)
    if not report.whole or report.vouched != count:
        raise SystemExit(f"it does not verify: {report.problem}")


def chained(file: Path) -> Taken:
    """The time to hash each leaf together with the hash before it, once they are read."""
    with SqliteCopy(file) as source:
        leaves = [leaf for _, leaf in source.leaves()]

    def chain() -> None:
        head = b""
        for leaf in leaves:
            head = hashlib.sha256(head + leaf).digest()

    return spent(chain)


def hashed_tree(file: Path) -> None:
    """Read every row and hash the tree over them, without any check."""
    sha256 = hashlib.sha256
    with SqliteCopy(file) as source:
        level = [sha256(b"\0" + leaf).digest() for _, leaf in source.leaves()]
    while len(level) > 1:
        pairs, odd = iter(level), level[-1:] if len(level) % 2 else []
        level = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)] + odd


def report_proving(file: Path, count: int, key: Key) -> None:
    """The median, and the 99th percentile."""
    keys, choice = [PublicKey(ORIGIN, key.public_key())], random.Random(1)  # noqa: S311
    with closing(open_ledger(str(file), origin=ORIGIN)) as ledger:
        numbers = [choice.randrange(count) + 1 for _ in range(PROOFS)]
        taken = [timed(partial(prove_entry, ledger, number)) for number in numbers]
        proofs = [prove_entry(ledger, number) for number in numbers]
    checking = [timed(partial(check_proof, proof, keys, verify_ed25519)) for proof in proofs]
    for name, times in (("prove an entry", taken), ("check its proof", checking)):
        slow = statistics.quantiles(times, n=100)[98]
        print(f"{name + f', of {count:,}':32}{statistics.median(times):10.2f} ms; 99 of 100 within {slow:.2f}; goal 1")


def report_sharing(directory: Path, key: Key) -> None:
    """Let processes write one ledger, and check what they wrote."""
    file, each = directory / "shared.db", SHARED // PROCESSES
    open_ledger(str(file), origin=ORIGIN).size()
    for batch in (1, 25):
        file = directory / f"shared-{batch}.db"
        command = [sys.executable, str(Path(__file__)), "--write", str(file), "--batch", str(batch)]
        began = time.perf_counter()
        writers = [subprocess.Popen([*command, "--first", str(number * each)]) for number in range(PROCESSES)]
        codes = [process.wait() for process in writers]
        if any(codes):
            raise SystemExit("a process failed")
        taken = time.perf_counter() - began
        with closing(open_ledger(str(file), origin=ORIGIN)) as ledger:
            assert_whole(ledger, key)
        label = f"{PROCESSES} processes, {batch} at once"
        print(f"{label:32}{taken:10.1f} s for {SHARED:,} entries: no gap, no double, proofs hold")


def assert_whole(ledger: StoredLedger, key: Key) -> None:
    """Every number once, every entry once, and proofs for some."""
    expected = {encode(entry) for entry in entries(SHARED)}
    stored = [(number, tail.decode()) for number, tail in ledger.tails()]
    if [number for number, _ in stored] != list(range(1, SHARED + 1)) or {tail for _, tail in stored} != expected:
        raise SystemExit("an entry is missing, or there twice")
    key.write("", cas=0)
    sign(ledger, key, thorough=True)
    for number in range(1, SHARED, 997):
        check_proof(prove_entry(ledger, number), [PublicKey(ORIGIN, key.public_key())], verify_ed25519)


def write(file: Path, first: int, batch: int) -> None:
    """What one of the processes does."""
    each = SHARED // PROCESSES
    with closing(open_ledger(str(file), origin=ORIGIN, patience=120)) as ledger:
        for begun in range(first, first + each, batch):
            ledger.append(entries(min(batch, first + each - begun), begun))


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="appends of each size on each side (default 200)")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the large ledger")
    parser.add_argument("--verifying", action="store_true", help="measure verifying alone")
    for name, kind in (("--write", Path), ("--first", int), ("--batch", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write(options.write, options.first, options.batch)
    with tempfile.TemporaryDirectory() as directory:
        folder, key = Path(directory), Key()
        if options.verifying:
            return report_verifying(large(folder, options.entries, key), options.entries, key)
        report_appending(folder, options.rounds)
        file = large(folder, options.entries, key)
        report_proving(file, options.entries, key)
        report_verifying(file, options.entries, key)
        print()
        report_sharing(folder, Key())
    return None


if __name__ == "__main__":
    main()
