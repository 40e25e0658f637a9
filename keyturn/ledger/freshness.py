"""Whether recent entries are covered by a recent checkpoint."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.verify import Problem, Verification

REMEDY: Final = "See that keeper and keep-ledger run, and what their last runs say"
SIGN_OF_LIFE: Final = timedelta(hours=12)
"""The greatest age of a checkpoint in an idle ledger. Then the notary signs a sign of life."""
AHEAD: Final = timedelta(minutes=5)
"""The tolerated lead of a signer's clock over the verifier's."""


def find_stale(source: LedgerSource, report: Verification, now: datetime, fresh: timedelta) -> Iterator[Problem]:
    """Report the first uncovered entry, and the newest checkpoint, where they are older than ``fresh``.

    Ages are as claimed in the checkpoint or entry. With witnesses, the age of the cosignature that completes the
    quorum counts too.
    """
    if report.entries:
        yield from _stale_checkpoint(report, now, fresh)
        yield from _stale_entry(source, report, now - fresh)


def _stale_checkpoint(report: Verification, now: datetime, fresh: timedelta) -> Iterator[Problem]:
    newest = report.newest
    if newest is None:
        yield Problem("no checkpoint vouches for any entry")
        return
    made = [("was made", newest.time), *(("was cosigned", at) for at in (report.cosigned_at,) if at)]
    for what, at in made:
        if at is None:
            yield Problem(f"{newest} has no time, so its age is unknown")
        elif now - at > fresh:
            yield Problem(
                f"{newest} {what} {_span(now - at)} ago, and it should be {_span(fresh)} at most", hint=REMEDY
            )
        elif at - now > AHEAD:
            yield Problem(f"{newest} {what} in the future, so its age is unknown")


def _stale_entry(source: LedgerSource, report: Verification, before: datetime) -> Iterator[Problem]:
    for sequence, leaf in source.leaves(report.vouched + 1):
        try:
            at = parse_leaf(leaf).entry.time
        except Invalid:
            yield Problem(
                f"entry {sequence} is none that Keyturn wrote, and nothing vouches for it", sequence, sequence
            )
            return
        if at < before:
            moment = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            yield Problem(f"entry {sequence} of {moment} is covered by no checkpoint", sequence, sequence, REMEDY)
            return


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
