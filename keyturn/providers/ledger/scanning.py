"""Scan a ledger's file with several processes (``python -m keyturn.providers.ledger.scanning``), one per core."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import AT_ONCE
from keyturn.ledger.scan import Scan, scan_entries
from keyturn.providers.ledger.sqlite import SqliteCopy

ENOUGH: Final = 200_000  # entries worth another process
MOST: Final = 4


@dataclass(frozen=True)
class ScanOrder:
    """Entries ``first`` to ``last``, or to the end; ``ends`` are the numbers whose subtrees are wanted."""

    file: Path
    ends: Sequence[int]
    first: int
    last: int | None

    def scan(self, source: LedgerSource) -> Scan:
        return scan_entries(source, self.ends, first=self.first, last=self.last)


def scan_side_by_side(
    source: LedgerSource, ends: Sequence[int], *, enough: int = ENOUGH, processes: int | None = None
) -> Scan:
    """A :data:`keyturn.ledger.scan.Scanner`: several processes scan a large file."""
    count = min(processes or os.cpu_count() or 1, MOST)
    size = source.size() if isinstance(source, SqliteCopy) else 0
    if not isinstance(source, SqliteCopy) or count < 2 or size < enough:
        return scan_entries(source, ends)
    first, *others = parts(source.file, size, ends, count)
    with ExitStack() as stack:
        running = [(part, stack.enter_context(started(part))) for part in others]
        scan = first.scan(source)
        for part, process in running:
            rest = answer(process)
            if scan.whole:
                scan = scan.followed_by(rest or part.scan(source))
            else:
                # The rest is invalid; key entries in it are still reported.
                scan.marked += rest.marked if rest else []
    return scan


def parts(file: Path, size: int, ends: Sequence[int], count: int) -> Iterator[ScanOrder]:
    batches = -(-size // AT_ONCE)
    cuts = sorted({batches * number // count * AT_ONCE for number in range(1, count)} - {0})
    for begun, last in zip([0, *cuts], [*cuts, None], strict=True):
        inside = [end for end in ends if end > begun and (last is None or end < last)]
        yield ScanOrder(file, [*inside, last] if last else inside, begun + 1, last)


@contextmanager
def started(part: ScanOrder) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that scans a part. It has ended when the block ends."""
    command = [sys.executable, "-m", __name__]
    root = Path(__file__).absolute().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        try:
            with suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as order:
                order.write(pickle.dumps(part))
            yield process
        finally:
            process.kill()


def answer(process: "subprocess.Popen[bytes]") -> Scan | None:
    with cast(IO[bytes], process.stdout) as output:
        content = output.read()
    return None if process.wait() else cast(Scan, pickle.loads(content))  # noqa: S301  of our own process


def main() -> None:
    part = cast(ScanOrder, pickle.load(sys.stdin.buffer))  # noqa: S301  of our own process
    with SqliteCopy(part.file) as source:
        sys.stdout.buffer.write(pickle.dumps(part.scan(source)))


if __name__ == "__main__":
    main()
