"""A simulated year of 1,000 certificates of 47 days and 1,000 of 6, by the schedule's decisions at every quarter hour.

Nothing is issued: what is measured is whether each is renewed in time, and how long deciding it takes.

    python benchmarks/certificates.py --certificates 1000
"""

import argparse
import sys
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.certificate_year import live_a_year


def main() -> None:
    """Live the years, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=1000)
    given = parser.parse_args()
    for days in (47, 6):
        began = time.perf_counter()
        lived = live_a_year(given.certificates, timedelta(days=days))
        took = time.perf_counter() - began
        print(
            f"{given.certificates} certificates of {days} d: {lived.renewals} renewals, {lived.early} early,"
            f" {lived.paged} alarms, at least {lived.least_left:.1%} of the life left, {took:.1f} s"
        )


if __name__ == "__main__":
    main()
