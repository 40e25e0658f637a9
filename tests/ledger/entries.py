"""Entries to write."""

from datetime import UTC, datetime, timedelta

from keyturn.core.ports.ledger import Entry, Outcome

BEGAN = datetime(2026, 3, 1, 3, 12, 0, 123456, UTC)


def entry(number: int = 1, note: str = "") -> Entry:
    """One that differs from those of other numbers, with everything that an entry has."""
    return Entry(
        time=BEGAN + timedelta(milliseconds=number),
        actor="on-call@example.org",
        action="rotate-secret/promote",
        outcome=Outcome.DONE,
        secret=f"ml-training/database-{number % 7}",
        version=number,
        fingerprint=f"{number:064x}",
        place="postgresql:ml-postgres",
        note=note,
        run="flow-run/0f3c2b44-9b7e-4f7d-8a5c-2f1f6f0d9a11",
        host="worker-3",
    )


def entries(count: int, first: int = 1) -> list[Entry]:
    """As many, numbered from ``first``."""
    return [entry(number) for number in range(first, first + count)]
