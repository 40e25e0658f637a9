"""The report of an incident as HTML for people, JSON for programs, and Markdown for Prefect.

It contains names, never a value.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyturn.access_log.readers import Readers
from keyturn.pages.files import file_name, json_text, write_private
from keyturn.revocation.incidents.incident import IncidentStatus
from keyturn.revocation.report.build import build_report
from keyturn.revocation.report.model import IncidentReport, LedgerFacts

__all__ = ["LedgerFacts", "to_data", "to_html", "to_markdown", "write_report"]

NO_FACTS = LedgerFacts()


def to_data(
    status: IncidentStatus, readers: Readers, ledger: LedgerFacts = NO_FACTS, at: datetime | None = None
) -> dict[str, Any]:
    """The report as JSON-ready data, described in docs/incident-report.md; ``at`` is the time of writing."""
    return dict(to_plain(asdict(_made(status, readers, ledger, at))))


def to_html(
    status: IncidentStatus, readers: Readers, ledger: LedgerFacts = NO_FACTS, at: datetime | None = None
) -> str:
    """The report as one self-contained HTML page."""
    from keyturn.revocation.report.render import render_html

    return render_html(_made(status, readers, ledger, at))


def to_markdown(
    status: IncidentStatus, readers: Readers, ledger: LedgerFacts = NO_FACTS, at: datetime | None = None
) -> str:
    """The report as CommonMark with tables; long tables are cut, with a note."""
    from keyturn.revocation.report.render import render_markdown

    return render_markdown(_made(status, readers, ledger, at))


def write_report(
    status: IncidentStatus,
    readers: Readers,
    directory: Path,
    ledger: LedgerFacts = NO_FACTS,
    at: datetime | None = None,
) -> list[Path]:
    """Write ``<incident>.html`` and ``<incident>.json`` atomically, readable by their owner only.

    Replaces earlier reports of the incident, and creates the directory. Raises Unavailable.
    """
    from keyturn.revocation.report.render import render_html

    made = _made(status, readers, ledger, at)
    stem = file_name(status.incident.id)
    texts = {f"{stem}.html": render_html(made), f"{stem}.json": json_text(to_plain(asdict(made)))}
    return [write_private(directory / name, text) for name, text in texts.items()]


def _made(status: IncidentStatus, readers: Readers, ledger: LedgerFacts, at: datetime | None) -> IncidentReport:
    return build_report(status, readers, ledger, at or datetime.now(UTC))


def to_plain(value: Any) -> Any:
    """Return the value with times as RFC 3339 in UTC, to the millisecond."""
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
