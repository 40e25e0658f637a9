"""Pages of HTML and Markdown as people read them, made from templates: those of a report, and those that all share.

Whatever a name holds, it stays text: everything that a template writes out is made harmless for its format, but for
what is marked as markup here. So a template that forgets to think of it is safe.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from keyturn.core.text.plain_text import visible
from keyturn.pages.words import clock, count_noun, lasted, ranges, timestamp, without_empty

SHARED: Final = Path(__file__).with_name("templates")
"""The look of every page, and the pieces that pages are made of."""

MARKUP: Final = re.compile(
    r"""(?!(?<=[A-Za-z0-9])[-/:](?=[A-Za-z0-9])|(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])"""
    r"""|(?<=[A-Za-z0-9])(?<![wW]{3})\.(?=[A-Za-z0-9])|(?<=[a-z])[.:;](?=\s|$)|[,'])[!-/:-@\[-`{-~]"""
)
"""Every character that a backslash makes plain (CommonMark 0.31, 2.4), where it may mean something."""


def page_templates(kind: str, directory: Path) -> Environment:
    """The templates of ``directory`` and the shared ones, and what they may use; ``kind`` is "html" or "markdown".

    What is no markup is escaped, in HTML by Jinja itself. Whoever wants more adds it to what this gives.
    """
    made = Environment(
        loader=FileSystemLoader([directory, SHARED]),
        autoescape=True,
        finalize=unless_markup(visible if kind == "html" else markdown_text),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"fill_table": fill_table}
    made.filters |= {
        "breakable": breakable,
        "clock": clock,
        "fenced": fenced,
        "lasted": lasted,
        "number": lambda number: f"{number:,}",
        "pairs": lambda owners, name: [(owner, each) for owner in owners for each in getattr(owner, name)],
        "prefixed": lambda text, prefix: f"{prefix}{text}",
        "ranges": ranges,
        "timestamp": timestamp,
        "verbatim": verbatim_html if kind == "html" else verbatim,
        "with_noun": count_noun,
    }
    return made


def unless_markup(harmless: Callable[[str], str]) -> Callable[[Any], Any]:
    """What is done to everything that a template writes out, but for markup that was made here."""

    def finalize(value: Any) -> Any:
        return value if hasattr(value, "__html__") else harmless(str(value))

    return finalize


def markdown_text(text: str) -> Markup:
    """Anything as one line of plain text: no markup, no link, no cell border, nothing unseen."""
    return Markup(MARKUP.sub(r"\\\g<0>", visible(text).strip()))  # noqa: S704  what is markup in Markdown is escaped


def breakable(text: str) -> Markup:
    """A long name in HTML, which may be broken after each slash."""
    return Markup("/<wbr>").join(visible(text).split("/"))


def verbatim_html(text: str) -> Markup:
    """Text in HTML whose lines stay lines."""
    return Markup("\n").join(map(visible, text.splitlines()))


def verbatim(text: str) -> Markup:
    """Text in Markdown, within a code span or a fence that it can't leave."""
    return Markup("\n".join(map(visible, text.splitlines())))  # noqa: S704


def fenced(text: str) -> Markup:
    """A block of code in Markdown, whose fence is longer than any in it."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 3)
    return Markup("\n").join([Markup(fence), verbatim(text), Markup(fence)])  # noqa: S704


def fill_table(
    rows: Sequence[Any], columns: Sequence[Any], write: Callable[[Any, str], Markup]
) -> tuple[list[Any], list[list[str]]]:
    """The columns that hold anything, and the cells of each row in these; ``write`` makes a cell by its column's head.

    A column is its head, or the head and how its cells are set.
    """
    heads = [column if isinstance(column, str) else column[0] for column in columns]
    return without_empty(columns, [[write(row, head).strip() for head in heads] for row in rows])
