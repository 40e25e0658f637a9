"""The report as CSV: a line for each row that a check cites, with its control."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyturn.core.text.plain_text import visible
from keyturn.evidence.report import Document

COLUMNS: Final = (
    "control",
    "title",
    "control verdict",
    "check",
    "check verdict",
    "found",
    "row",
    "kind",
    "what",
    "digest",
)

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""The first characters of cells that a spreadsheet takes for a formula."""


def write_csv(document: Document) -> str:
    """Return the report by RFC 4180; formulas begin with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([harmless(str(cell)) for cell in line] for line in csv_lines(document))
    return out.getvalue()


def csv_lines(document: Document) -> Iterator[tuple[str, ...]]:
    rows = {row["id"]: row for row in document["rows"]}
    checks = {check["name"]: check for check in document["checks"]}
    for control in document["controls"]:
        for name in control["checks"]:
            check = checks[name]
            head = (control["id"], control["title"], control["verdict"], name, check["verdict"])
            sentences = " ".join((*check["found"], *check["remarks"]))
            yield (*head, sentences, "", "", "", "")
            yield from ((*head, "", *row_cells(rows[row])) for row in check["rows"] if row in rows)


def row_cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    what = row["entry"] if row["kind"] == "entry" else json.dumps(row["cells"])
    return row["id"], row["kind"], what, row["digest"]


def harmless(cell: str) -> str:
    text = visible(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
