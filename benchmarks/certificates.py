"""A simulated year of 1,000 certificates of 47 days and 1,000 of 6, by the schedule's decisions at every quarter hour.

Each is made, verified, served and, after its grace, revoked by the strategy's own code; the authority is in memory, and
its intermediate is followed by others meanwhile. A client connects before and after each renewal, after each revocation
and once an hour.

    python benchmarks/certificates.py --certificates 1000 --days 47 6
"""

import argparse
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.certificate_year import live_a_year


def main() -> None:
    """Run the years, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=1000)
    parser.add_argument("--days", type=int, nargs="+", default=[47, 6])
    given = parser.parse_args()
    for days in given.days:
        began = time.perf_counter()
        with TemporaryDirectory() as directory:
            lived = live_a_year(given.certificates, timedelta(days=days), Path(directory), timedelta(hours=1))
        took = time.perf_counter() - began
        print(
            f"{given.certificates} certificates of {days} d: {lived.renewals} renewals, {lived.early} early,"
            f" {lived.paged} alarms, at least {lived.least_left:.1%} of the life left, {lived.failed} of"
            f" {lived.handshakes} handshakes failed, {lived.intermediates} intermediates, {took:.1f} s"
        )


if __name__ == "__main__":
    main()
