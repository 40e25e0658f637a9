"""The pieces of the HTML report. Whatever a name holds, it stays text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from keyturn.revocation.report.model import Counted
from keyturn.revocation.report.words import visible, without_empty

MOST: Final = 5_000
"""Rows of one table; what is beyond stands in the JSON file."""

FEW: Final = 8
"""Addresses or logins in one cell."""


def text(said: str) -> str:
    """Anything as text: no markup, nothing unseen."""
    return escape(visible(said), quote=True)


def name(said: str) -> str:
    """A name or a remark that somebody else chose: its own direction of writing stays its own."""
    return f"<bdi>{text(said).replace('/', '/<wbr>')}</bdi>" if said else ""


def time(said: str) -> str:
    """A moment in words; its date and its time of day are each kept on one line."""
    return " ".join(f"<span>{part}</span>" for part in said.split())


@dataclass(frozen=True)
class Column:
    """A heading, and how its cells are set: "number", "time", "name", "mono" or as text."""

    head: str
    kind: str = ""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], kinds: Sequence[str] = ()) -> Iterator[str]:
    """A table of cells that are markup already, without columns that hold nothing; nothing without rows.

    ``kinds`` are the rows' classes.
    """
    if not rows:
        return
    used, filling = without_empty(columns, rows)
    heads = "".join(f'<th scope="col"{css(one.kind)}>{text(one.head)}</th>' for one in used)
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for place, row in enumerate(filling[:MOST]):
        cells = (
            f'<td{css(one.kind)} data-label="{text(one.head)}">{cell}</td>' for one, cell in zip(used, row, strict=True)
        )
        yield f"<tr{css(kinds[place] if kinds else '')}>{''.join(cells)}</tr>"
    yield "</tbody></table>"
    if len(rows) > MOST:
        yield f"<p>and {len(rows) - MOST:,} more, in the JSON file</p>"


def css(kind: str) -> str:
    """The attribute that sets a class; empty for none."""
    return f' class="{kind}"' if kind else ""


def items(said: Iterable[str]) -> str:
    """A list of remarks."""
    return f"<ul>{''.join(f'<li>{name(one)}</li>' for one in said)}</ul>"


def counted(found: Sequence[Counted]) -> str:
    """What was seen and how often, the first few of many."""
    more = f" and {len(found) - FEW:,} more" if len(found) > FEW else ""
    return ", ".join(f"{name(one.name)} ({one.count:,})" for one in found[:FEW]) + more
