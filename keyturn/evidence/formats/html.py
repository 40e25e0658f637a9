"""The report as one printable, self-contained HTML page. It carries the document for verification."""

import base64
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup

from keyturn import __version__
from keyturn.core.errors import Invalid
from keyturn.evidence.model import ControlVerdict
from keyturn.evidence.report import Document, canonical
from keyturn.evidence.verify import parse_report
from keyturn.ledger.entries import parse_leaf
from keyturn.pages.charts import CLASSES, AgeBar, age_bars, stacked_bars
from keyturn.pages.render import page_templates
from keyturn.pages.words import count_noun

TEMPLATES: Final = Path(__file__).parents[1] / "templates"

CARRIED: Final = re.compile(rb'<div hidden id="keyturn-report" data-report="([A-Za-z0-9+/=]*)"></div>')
"""The place of the document in the page."""

BADGES: Final = {
    str(ControlVerdict.PASS): "closed",
    str(ControlVerdict.FAIL): "open",
    str(ControlVerdict.UNSEEN): "waiting",
    str(ControlVerdict.NOT_APPLICABLE): "soft",
}
"""The colour of each verdict."""

SHORT: Final = 16
"""The maximum length, in characters, of cells that stay on one line."""

MOMENTS: Final = ("first", "last", "since", "from", "to", "at")
"""Columns that contain times, in addition to those that end in `_at`."""


def write_page(document: Document) -> str:
    return (
        environment()
        .get_template("compliance.html.j2")
        .render(
            doc=document,
            carried=Markup(base64.b64encode(canonical(document)).decode()),  # noqa: S704  base64 is no markup
            rows=rows_by_kind(document),
            entries=[entry_line(row) for row in document["rows"] if row["kind"] == "entry"],
            headline=headline(document),
            ages=age_chart(document),
            rotations=rotation_chart(document),
            accesses=access_chart(document),
        )
    )


def read_page(page: bytes) -> Document:
    """Return the document in a page. Raises Invalid unless there is exactly one."""
    carried = CARRIED.findall(page)
    if len(carried) != 1:
        hint = "Give the page as `keyturn report` wrote it, whole"
        raise Invalid("read", "the report", "the page carries no report, or several, or is cut short", hint)
    try:
        text = base64.b64decode(carried[0], validate=True)
    except ValueError:
        text = b""
    return parse_report(text)


def is_page(text: bytes) -> bool:
    return text.lstrip()[:1] == b"<"


@cache
def environment() -> Environment:
    made = page_templates("html", TEMPLATES)
    made.globals |= {"badges": BADGES, "classes": CLASSES}
    made.filters |= {
        "columns_of": columns_of,
        "entry_numbers": entry_numbers,
        "is_moment": is_moment,
        "keys_by_head": keys_by_head,
        "tables_of": tables_of,
    }
    return made


def headline(document: Document) -> str:
    counts = document["verdicts"]
    total = sum(counts.values())
    parts = [f"{counts[str(ControlVerdict.PASS)]:,} of {count_noun(total, 'control')} pass"]
    if failing := counts[str(ControlVerdict.FAIL)]:
        parts.append(f"{failing:,} {'fails' if failing == 1 else 'fail'}")
    if unseen := counts[str(ControlVerdict.UNSEEN)]:
        parts.append(f"{unseen:,} could not be looked at")
    if absent := counts[str(ControlVerdict.NOT_APPLICABLE)]:
        parts.append(f"{absent:,} {'does' if absent == 1 else 'do'} not apply")
    return f"{', '.join(parts)}."


def rows_by_kind(document: Document) -> Mapping[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {table["kind"]: [] for table in document["tables"]}
    for row in document["rows"]:
        if row["kind"] in rows:
            rows[row["kind"]].append(row)
    return rows


def entry_line(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        numbered = parse_leaf(str(row["entry"]).encode())
    except Invalid:
        return {"number": row["id"], "at": None, "who": "", "what": row["entry"], "object": ""}
    entry = numbered.entry
    version = f" version {entry.version}" if entry.version else ""
    about = "; ".join(part for part in (f"{entry.secret}{version}", entry.place) if part)
    what = f"{entry.action}: {entry.outcome}" + (f"; {entry.note}" if entry.note else "")
    return {
        "number": numbered.sequence,
        "at": entry.time,
        "who": entry.actor.partition(" (")[0],
        "what": what if len(what) <= 240 else f"{what[:239]}…",
        "object": about,
    }


def is_moment(key: str) -> bool:
    return key.endswith("_at") or key in MOMENTS


def keys_by_head(table: Mapping[str, Any]) -> dict[str, str]:
    return {column["head"]: column["key"] for column in table["columns"]}


def columns_of(table: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    own = [(table["name"], "name")] if table["name"] else []
    return own + [(head, _kind(key, rows)) for head, key in keys_by_head(table).items()]


def _kind(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [row["cells"].get(key) for row in rows]
    filled = [cell for cell in cells if cell is not None]
    if filled and all(isinstance(cell, int) for cell in filled):
        return "number"
    if is_moment(key):
        return "time"
    return "name" if max((len(str(cell)) for cell in filled), default=0) > SHORT else "short"


def entry_numbers(ids: list[str]) -> list[int]:
    return [int(row.removeprefix("entry:")) for row in ids if row.startswith("entry:")]


def tables_of(ids: list[str], document: Document) -> list[tuple[str, str, int]]:
    titles = {table["kind"]: table["title"] for table in document["tables"]}
    kinds = [row.partition(":")[0] for row in ids]
    return [(kind, title, kinds.count(kind)) for kind, title in titles.items() if kind in kinds]


def page_problem(page: bytes, document: Document) -> str:
    try:
        made = write_page(document).encode()
    except Exception as error:  # noqa: BLE001  whoever has changed the document chose what it holds
        return f"the page carries what no page is made of ({type(error).__name__})"
    if made == page:
        return ""
    maker = str(document.get("made_by"))[:100]
    if maker != f"keyturn {__version__}":
        return f"the page was made by {maker}, and keyturn {__version__} can't check that it shows what it carries"
    return "the page shows something else than what it carries"


# --- charts


def age_chart(document: Document) -> Markup:
    """Return the ages of the secrets nearest to their limits; empty without any."""
    return age_bars(
        AgeBar(row["name"], cells["age_days"], cells["limit_days"], str(cells["classification"]))
        for row in document["rows"]
        if row["kind"] == "secret" and (cells := row["cells"])["limit_days"] and cells["age_days"] is not None
    )


def rotation_chart(document: Document) -> Markup:
    bars = document["charts"]["rotations"]
    stacks = [(str(bar["from"]), [(int(bar["rotated"]), "done"), (int(bar["failed"]), "bad")]) for bar in bars]
    return stacked_bars(stacks, "Rotations over time")


def access_chart(document: Document) -> Markup:
    hours: dict[int, Counter[str]] = defaultdict(Counter)
    for access in document["charts"]["accesses"]:
        hours[int(access["hour"])][str(access["classification"])] += int(access["reads"])
    stacks = [(f"{hour:02}", [(hours[hour][name], name) for name in CLASSES]) for hour in range(24)]
    return stacked_bars(stacks, "Reads by the hour of the day (UTC) and classification")
