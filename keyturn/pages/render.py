"""Render pages of HTML and Markdown from the templates of a report and the shared ones.

Every name stays plain text. All template output is escaped for its format, except for what is marked as markup here. A
template that does not escape is therefore safe.
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
"""The style of every page, and the shared templates."""

MARKUP: Final = re.compile(
    r"""(?!(?<=[A-Za-z0-9])[-/:](?=[A-Za-z0-9])|(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])"""
    r"""|(?<=[A-Za-z0-9])(?<![wW]{3})\.(?=[A-Za-z0-9])|(?<=[a-z])[.:;](?=\s|$)|[,'])[!-/:-@\[-`{-~]"""
)
"""Characters that a backslash makes plain (CommonMark 0.31, 2.4), where they may have a meaning."""


def page_templates(kind: str, directory: Path) -> Environment:
    """Return the environment for ``directory`` and the shared templates; ``kind`` is "html" or "markdown".

    All output that is not markup is escaped, in HTML by Jinja itself. Callers may add further filters and globals.
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
    """Return a function that escapes all template output except for markup made here."""

    def finalize(value: Any) -> Any:
        return value if hasattr(value, "__html__") else harmless(str(value))

    return finalize


def markdown_text(text: str) -> Markup:
    """Return one plain line: no markup, no link, no cell border, no invisible characters."""
    return Markup(MARKUP.sub(r"\\\g<0>", visible(text).strip()))  # noqa: S704  what is markup in Markdown is escaped


def breakable(text: str) -> Markup:
    """Return a long name in HTML, with optional line breaks after slashes."""
    return Markup("/<wbr>").join(visible(text).split("/"))


def verbatim_html(text: str) -> Markup:
    """Return a text in HTML with its line breaks."""
    return Markup("\n").join(map(visible, text.splitlines()))


def verbatim(text: str) -> Markup:
    """Return a text for a code span or fence in Markdown, which it can't leave."""
    return Markup("\n".join(map(visible, text.splitlines())))  # noqa: S704


def fenced(text: str) -> Markup:
    """Return a code block in Markdown, with a fence longer than any in the text."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 3)
    return Markup("\n").join([Markup(fence), verbatim(text), Markup(fence)])  # noqa: S704


def fill_table(
    rows: Sequence[Any], columns: Sequence[Any], write: Callable[[Any, str], Markup]
) -> tuple[list[Any], list[list[str]]]:
    """Return the columns with content, and each row's cells in them; ``write`` makes a cell from row and heading.

    A column is its heading, or the heading with its cells' alignment.
    """
    heads = [column if isinstance(column, str) else column[0] for column in columns]
    return without_empty(columns, [[write(row, head).strip() for head in heads] for row in rows])
