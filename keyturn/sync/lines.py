"""A follower's lines about a batch, in names only."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.rotation.copies.push import CopyState
from keyturn.sync.batches import BatchOutcome
from keyturn.sync.changes import EVERYTHING
from keyturn.sync.notices import Notices

SHOWN: Final = 5
"""Names of each sort that one batch shows."""


def outcome_lines(outcome: BatchOutcome, fates: dict[str, str]) -> list[str]:
    """The lines for a batch: written copies and the first failures."""
    done = [result for result in outcome.results if not result.error and result.state != CopyState.IN_STEP]
    lines = [f"{result.path}: {result.label} {result.state}" for result in done]
    failed = [
        f"error: {one_line(result.error)} ({result.path}: {fates[result.path]})" for result in outcome.failing.values()
    ]
    more = [f"error: {len(failed) - SHOWN} more copies are not in sync"] if len(failed) > SHOWN else []
    whole = [f"error: {one_line(str(outcome.error))} ({_named(fates)})"] if outcome.error else []
    return lines + failed[:SHOWN] + more + whole + hindered(outcome.owing.errors, fates)


def notice_lines(notices: Notices, fates: dict[str, str]) -> list[str]:
    """The lines for notices: notified consumers and the first failures."""
    lines = [
        f"{notified.path}: notified {notified.consumer} of version {notified.version}"
        for notified in notices.told
        if not notified.error
    ]
    silent = [notified for notified in notices.told if notified.error]
    errors = [f"error: {one_line(notified.error)} ({notified.path}: {fates[notified.path]})" for notified in silent]
    more = [f"error: {len(errors) - SHOWN} more consumers have not acknowledged"] if len(errors) > SHOWN else []
    return lines + errors[:SHOWN] + more + hindered(notices.errors, fates)


def hindered(errors: Mapping[str, KeyturnError], fates: dict[str, str]) -> list[str]:
    """Why consumers could not be notified: one line per reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for path, error in errors.items():
        reasons[one_line(str(error))].append(path)
    return [
        f"error: {why} ({_named({path: fates[path] for path in paths})})"
        for why, paths in list(reasons.items())[:SHOWN]
    ]


def _named(fates: dict[str, str]) -> str:
    """The secrets of a batch that failed as a whole, with their next step."""
    paths = [_shown(path) for path in sorted(fates)]
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{', '.join(paths[:SHOWN])}{more}: {next(iter(fates.values()))}"


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def _shown(path: str) -> str:
    """The secret's name for people."""
    return "all secrets" if path == EVERYTHING else path
