"""Whether somebody vouches for what was written lately: a ledger that nobody signs any more proves less each minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.verify import Problem, Verification

REMEDY: Final = "See that keeper and keep-ledger run, and what their last runs say"
SIGN_OF_LIFE: Final = timedelta(hours=12)
"""So old the newest checkpoint may be where nothing is new; then the notary says that it is there, and signs that."""
AHEAD: Final = timedelta(minutes=5)
"""How far a signer's clock may be ahead of the verifier's."""


def find_stale(source: LedgerSource, report: Verification, now: datetime, fresh: timedelta) -> Iterator[Problem]:
    """What is older than ``fresh`` and not vouched for: the first such entry, and the newest checkpoint where it is.

    A checkpoint is as old as it says, and where witnesses were asked for, as the cosignature by which there are
    enough of them. An entry is as old as it says: whoever could write it could say so, too.
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
            yield Problem(f"{newest} tells no time, so nobody can say how old it is")
        elif now - at > fresh:
            yield Problem(
                f"{newest} {what} {_span(now - at)} ago, and it should be {_span(fresh)} at most", hint=REMEDY
            )
        elif at - now > AHEAD:
            yield Problem(f"{newest} {what} in the future, so nobody can say how old it is")


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
