"""``keyturn whois --scanner``: find the secrets in a scanner's report, and revoke those that still work."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli.emergencies.incident_runner import Through, show_incident
from keyturn.cli.emergencies.revoke import RevocationRequest, insist_on_sense, revoked, show_preview
from keyturn.cli.failures import BEHIND, FAILED, end_command, naming_file
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.errors import TerminalError, TransientError
from keyturn.core.text.plain_text import visible
from keyturn.pages.words import count_noun, list_names
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selector

if TYPE_CHECKING:
    from keyturn.revocation.findings.found_values import Leaks, Owner, Unlooked
    from keyturn.revocation.findings.scanner import FoundAt, ScannerReport
    from keyturn.rotation.state.context import Workspace

COLUMNS: Final = ("secret", "version", "what of it", "is", "found in", "by")
WHOLE: Final = ("version", "is")
SHOWN: Final = 10
"""Places of one secret shown in tables; the JSON has all."""
DIGITS: Final = 12
"""Digits shown of a commit's name."""


@dataclass(frozen=True)
class End:
    """Options of the revocation, as for `keyturn revoke`."""

    reason: str
    expect: int
    preview: bool
    yes: bool
    through: Through
    report: Path | None


def answer(workspace: "Workspace", file: Path, end: End | None, as_json: bool) -> None:
    """Show the secrets in a scanner's report. With ``end``, revoke those that still work."""
    since = datetime.now(UTC)
    if end:
        insist_on_sense(
            RevocationRequest(Selector(), Mode.REPLACE, end.reason, "", since),
            "",
            preview=end.preview,
            asks=not end.yes,
        )
    leaks, unlooked, doubts = find_leaks(workspace, file)
    if end is None:
        return show_leaks(leaks, unlooked, doubts, as_json)
    if not as_json:
        write_leaks(leaks)
    return end_leaks(workspace, leaks, doubts, since, end, as_json)


@contextmanager
def opened_report(file: Path) -> "Iterator[ScannerReport]":
    """Open the report in a file, or standard input for ``-``. Raises OSError."""
    from keyturn.revocation.findings.scanner import ScannerReport

    if str(file) == "-":
        yield ScannerReport(sys.stdin.buffer, "of standard input")
        return
    with naming_file(file), file.open("rb") as stream:
        yield ScannerReport(stream, str(file))


def find_leaks(workspace: "Workspace", file: Path) -> "tuple[Leaks, list[Unlooked], list[str]]":
    """Return the matches, what could not be checked, and why more may still work.

    Asks the hub first, so that each found value is dropped as soon as it is read.
    """
    from keyturn.revocation.findings.found_values import index_values, match_findings

    index, unlooked = index_values(workspace)
    with opened_report(file) as report:
        leaks = match_findings(index, report.findings())
    if report.malformed:
        note(f"{report.malformed:,} entries of the report could not be read")
    if report.redacted:
        note(f"{report.redacted:,} findings are redacted, so they can't be identified. Scan without --redact")
    for gap in unlooked:
        what = f"version {gap.version} of {gap.path}" if gap.version else gap.path
        note(f"could not look at {what}, which may be among them: {gap.why}")
    return leaks, unlooked, list(doubts_of(report, leaks, unlooked))


def doubts_of(report: "ScannerReport", leaks: "Leaks", unlooked: "Sequence[Unlooked]") -> Iterator[str]:
    """Why something found may still work although it is not listed: unreadable is not absent."""
    hidden = sorted({gap.path for gap in unlooked if gap.may_work})
    if hidden and leaks.unknown:
        yield f"{list_names(hidden, 5)} could not be looked at"
    if report.malformed:
        yield f"{count_noun(report.malformed, 'entry', 'entries')} of the report could not be read"
    if report.redacted:
        yield f"{count_noun(report.redacted, 'finding is', 'findings are')} redacted"


def insist_on_certainty(doubts: "Sequence[str]") -> None:
    """Exit with 1 if it is unknown whether something still works."""
    if doubts:
        hint = "Fix that, then run it again: what could not be checked may still work"
        end_command(TerminalError("look for", "what has leaked", "; ".join(doubts), hint), FAILED)


def show_leaks(leaks: "Leaks", unlooked: "Sequence[Unlooked]", doubts: "Sequence[str]", as_json: bool) -> None:
    """Show which secrets leaked, and how many findings belong to none.

    Exits with 3 if something still works, with 1 if that is unknown.
    """
    if as_json:
        write_json(leaks_data(leaks, unlooked))
    else:
        write_leaks(leaks)
    working = leaks.working
    note(f"secrets that work still: {len(working):,}; findings that belong to no secret here: {len(leaks.unknown):,}")
    if working:
        problem = f"found by the scanner, and not ended: {', '.join(working[:SHOWN])}{'...' * (len(working) > SHOWN)}"
        hint = "To end them: the same command with --revoke --reason TEXT; with --preview it shows what would end"
        end_command(TransientError("look for", "what has leaked", problem, hint), BEHIND)
    insist_on_certainty(doubts)


def write_leaks(leaks: "Leaks") -> None:
    if leaks.known:
        write_table(COLUMNS, leak_rows(leaks), whole=WHOLE)
    if leaks.unknown:
        rows = [(place_words(at), visible(at.detector)) for at in leaks.unknown[: SHOWN * SHOWN]]
        write_table(("unknown, found in", "by"), rows)


def leak_rows(leaks: "Leaks") -> Iterator[tuple[str, ...]]:
    for owner, places in ranked(leaks):
        about = (owner.path, str(owner.version), owner.part or "all of it", str(owner.state))
        for count, at in enumerate(places[:SHOWN]):
            yield (*(about if count == 0 else ("", "", "", "")), place_words(at), detector_words(at))
        if len(places) > SHOWN:
            yield ("", "", "", "", f"and {len(places) - SHOWN:,} more", "")


def ranked(leaks: "Leaks") -> "list[tuple[Owner, list[FoundAt]]]":
    return sorted(leaks.known.items(), key=lambda pair: (not pair[0].state.works, pair[0]))


def place_words(at: "FoundAt") -> str:
    where = f"{visible(at.file) or 'an unknown place'}{f':{at.line}' if at.line else ''}"
    commit = f" at {visible(at.commit)[:DIGITS]}" if at.commit else ""
    return f"{where}{commit}{f' in {visible(at.origin)}' if at.origin else ''}"


def detector_words(at: "FoundAt") -> str:
    return f"{visible(at.detector)}{', verified' if at.verified else ''}"


def leaks_data(leaks: "Leaks", unlooked: "Sequence[Unlooked]") -> dict[str, Any]:
    return {
        "leaks": [
            {
                "path": owner.path,
                "version": owner.version,
                "part": owner.part,
                "state": str(owner.state),
                "works": owner.state.works,
                "found": [vars(at) for at in places],
            }
            for owner, places in ranked(leaks)
        ],
        "unknown": [vars(at) for at in leaks.unknown],
        "unseen": [{"path": gap.path, "version": gap.version, "why": gap.why} for gap in unlooked],
    }


def end_leaks(
    workspace: "Workspace", leaks: "Leaks", doubts: "Sequence[str]", since: datetime, end: End, as_json: bool
) -> None:
    """Revoke all leaked secrets that still work, as one incident. With a preview, only show them."""
    if not leaks.working:
        insist_on_certainty(doubts)
        return note("nothing that was found works still: there is nothing to end")
    request = RevocationRequest(Selector(leaks.working), Mode.REPLACE, end.reason, "", since, end.expect)
    if end.preview:
        return show_preview(workspace, request, as_json)
    return show_incident(workspace, revoked(workspace, request, end.yes, end.through), end.report, as_json)
