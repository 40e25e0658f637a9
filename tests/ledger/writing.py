"""A process of its own that writes entries: ``python -m tests.ledger.writing ADDRESS FIRST COUNT BATCH``.

It says the number of the last entry of each append that returned, a line for each.
"""

import sys
from contextlib import closing

from keyturn.providers.ledger.address import open_ledger
from tests.ledger.entries import entries


def main(address: str, first: int, count: int, batch: int) -> None:
    """Append entries ``first`` to ``first + count - 1``, in batches of one size."""
    with closing(open_ledger(address, patience=60)) as ledger:
        for begun in range(first, first + count, batch):
            ledger.append(entries(batch, begun))
            sys.stdout.write(f"{begun + batch - 1}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
