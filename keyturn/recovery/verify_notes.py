"""The ledger's note about verified backups, which the doctor reads."""

from collections.abc import Sequence
from typing import Final

from keyturn.recovery.chains import ChainCheck

VERIFY_BACKUPS: Final = "verify backups"
"""The ledger's action of a verification."""
WHOLE: Final = "whole: "
SHOWN: Final = 5
"""The most broken chains that are named."""


def note_of_checks(checks: Sequence[ChainCheck]) -> str:
    """The note: whether all chains are valid, their amount, and the newest point."""
    broken = [check.name for check in checks if check.problem]
    backups, entries = sum(check.backups for check in checks), sum(check.entries for check in checks)
    point = max((check.newest.begun_at for check in checks if check.newest), default=None)
    reaches = f", to {point:%Y-%m-%d %H:%M:%S} UTC" if point else ""
    amount = f"{len(checks)} chains, {backups} backups, {entries} entries{reaches}"
    if not broken:
        return WHOLE + amount
    more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return f"NOT whole: {', '.join(broken[:SHOWN])}{more} of {amount}"


def tells_whole(note: str) -> bool:
    """Whether the note reports all chains as valid."""
    return note.startswith(WHOLE)
