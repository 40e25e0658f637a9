"""What a site of any size needs: requests, bytes and money, by formulas that are checked against `benchmarks/scale.py`.

    python -m benchmarks.scale_model [--secrets 100000] [--stores 3] [--rotations-a-year 12]

Requests of a command are exact: a test compares them with the table in docs/scale.md, and with a small site. Bytes and
seconds are measured, and assumed to grow with the secrets. Prices are as published; docs/scale.md has their dates.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Final

HUB_PAGE: Final = 1000
"""Secrets in a page of the hub's listing; a full one is followed by another, perhaps empty."""
AWS_PAGE, AZURE_PAGE, GCP_PAGE = 100, 25, 1000
"""Secrets in a page of each cloud's listing."""
PARAMETERS_PAGE: Final = 50
"""The same of Parameter Store."""
EMULATED_PARAMETERS_PAGE: Final = 10
"""The same of its emulator, which follows a full page by another."""
RECORD_PARTS: Final = 16
"""Entries of the hub that remember which records have nothing open."""
LOGIN_PARTS: Final = 24
"""Entries of the hub that say whether CURRENT logs in, one for each hour."""
STORES: Final = 4
"""Of the measured site."""

HUB_BYTES: Final = 7_600
"""Of a secret in the hub's storage: a version, metadata, and its record."""
LEDGER_BYTES: Final = 450
"""Of an entry of the ledger, its hashes included."""
LEDGER_ENTRIES: Final = 9
"""Of one rotation: that it begins, its seven steps with one copy, and that it has ended."""
PREFECT_BYTES: Final = 30_000
"""Of one task run with its states and events in Prefect's database, until its retention ends."""
AUDIT_BYTES_OF_LOOK: Final = 2_000
"""Of one secret in a command's listings, in the hub's audit file: each of its strings is hashed there."""
LOOKS_A_DAY: Final = 96
"""Rounds of the keeper for rotations and retirements: every 15 minutes."""
DAYS_A_MONTH: Final = 30


@dataclass(frozen=True)
class Site:
    """How many secrets there are, and how many of them have a copy in Parameter Store."""

    secrets: int
    parameters: int

    @property
    def hub_pages(self) -> int:
        """Of the hub's listing of one folder that holds them all."""
        return self.secrets // HUB_PAGE + 1


def hub_requests(site: Site, look: str) -> int:
    """Requests to the hub of one command after others, where all secrets are in one folder. Raises KeyError."""
    # Its own login, the fingerprints' key and their list, the ledger's name and its newest checkpoint, and whether the
    # hub was restored.
    opening = 6
    pages = site.hub_pages
    # Of secrets, or of records: the root's listing, and the folder's pages.
    listing = 1 + pages
    looked = opening + RECORD_PARTS + LOGIN_PARTS + 4  # access that was given, uses without approval, and their reviews
    planned = opening + 1 + listing  # the stores of the past
    return {
        "due": looked + 1 + 2 * listing,  # secrets, records, and the key that signs the ledger
        # It lists the secrets twice: for their copies, whose memory is free then, and for their state. The stores'
        # state and their list, the parts of `keyturn serve`, the keeper, incidents, and the ledger's name and
        # checkpoint again, for its health.
        "status": looked + 3 * listing + STORES + 8,
        "plan": planned + listing,  # whether another catalogue has rotated secrets under this catalogue's id
        "sync": planned + 2 * STORES,
    }[look]


def store_requests(site: Site) -> dict[str, int]:
    """Requests of one plan, sync or status to each cloud of the measured site: listings, and Azure's login."""
    emulated = site.parameters // EMULATED_PARAMETERS_PAGE + 1
    return {
        "aws": math.ceil(site.secrets / AWS_PAGE) + emulated,
        "azure": math.ceil(site.secrets / AZURE_PAGE) + 3,
        "gcp": math.ceil(site.secrets / GCP_PAGE),
    }


def first_look(site: Site) -> int:
    """Requests to the hub of the very first `keyturn due`: every record is read, and the result is cached."""
    remembered = 3 * RECORD_PARTS  # read again, written, and how many versions are kept
    return hub_requests(site, "due") + site.secrets + remembered + 3  # the ledger's name and its place are written


@dataclass(frozen=True)
class Installation:
    """An installation to plan for; ``experiments`` are secrets of their own that live ``days``."""

    secrets: int
    stores: int
    rotations_a_year: float
    experiments: int = 0
    days: int = 14

    @property
    def rotations_a_day(self) -> float:
        """Rotations of the secrets; those of experiments are made and ended, once each, over their lives."""
        return self.secrets * self.rotations_a_year / 365 + 2 * self.experiments / self.days

    def figures(self) -> dict[str, float]:
        """The figures, by name."""
        held = self.secrets + self.experiments
        site = Site(held, 0)
        rotations = self.rotations_a_day
        return {
            "rotations a day": rotations,
            "tasks of Prefect a day": rotations,
            "Prefect's server, % of a core": rotations * 0.022 / 86_400 * 100,
            "hub requests of a look": hub_requests(site, "due"),
            "Azure calls of a plan": store_requests(site)["azure"],
            "GCP calls of a plan": store_requests(site)["gcp"],
            "AWS calls of a plan": math.ceil(held / AWS_PAGE),
            "writes to a store a minute": rotations * 3 / 1440,
            "hub, GB": held * HUB_BYTES / 1e9,
            "ledger, GB a year": rotations * LEDGER_ENTRIES * LEDGER_BYTES * 365 / 1e9,
            "Prefect, GB in 30 days": rotations * PREFECT_BYTES * 30 / 1e9,
            "audit file, GB a day": held * AUDIT_BYTES_OF_LOOK * LOOKS_A_DAY / 1e9,
            "AWS, $ a month": 0.40 * held + 5e-6 * (24 * held / AWS_PAGE + 2 * rotations) * DAYS_A_MONTH,
            "Azure, $ a month": 3e-6 * (24 * held / AZURE_PAGE + 2 * rotations) * DAYS_A_MONTH,
            "GCP, $ a month": 0.06 * held,
        }


def main() -> None:
    """Print the figures of an installation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=100_000)
    parser.add_argument("--stores", type=int, default=3)
    parser.add_argument("--rotations-a-year", type=float, default=12)
    parser.add_argument("--experiments", type=int, default=100_000)
    options = parser.parse_args()
    planned = Installation(options.secrets, options.stores, options.rotations_a_year, options.experiments)
    for name, figure in planned.figures().items():
        print(f"{name:34}{figure:14,.1f}")


if __name__ == "__main__":
    main()
