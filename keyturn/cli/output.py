"""What a command says: data on stdout, as a table for people or as JSON; progress and notes on stderr."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final

MANY: Final = 300
"""Rows from which on a table is drawn without the library that draws the others."""

GAP: Final = 3
LEAST: Final = 12
"""Characters between two columns, and in the narrowest of those that are folded."""


@dataclass
class Manner:
    """How this process shows things. ``quiet``: no notes and no progress. ``wide``: no cell of a table is folded."""

    quiet: bool = False
    wide: bool = False


MANNER: Final = Manner()
"""What the command line has asked for; of all threads alike."""

UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


def note(line: str) -> None:
    """One line of progress, for the person watching; nothing with ``-q``."""
    if not MANNER.quiet:
        note_error(line)


def note_error(line: str) -> None:
    """One line about an error, which nothing keeps back."""
    sys.stderr.write(f"{as_logged(printable(line))}\n")
    sys.stderr.flush()


def as_logged(line: str) -> str:
    """The line, or one object of JSON where KEYTURN_LOG_FORMAT says so; what that can't be is text."""
    if os.environ.get("KEYTURN_LOG_FORMAT") != "json":
        return line
    from keyturn.core.text.log_lines import log_line

    level = "error" if line.startswith("error: ") else "info"
    return log_line(datetime.now(UTC), level, "keyturn", line.removeprefix("error: "))


def write_text(text: str) -> None:
    """Data, for whoever reads stdout, without what could steer a terminal. An OSError names it."""
    _write(printable(text))


def write_value(text: str) -> None:
    """A value as :func:`for_terminal` gives it. An OSError names stdout."""
    _write(encodable(text))


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _let_go_of_stdout()
        raise OSError(error.errno, error.strerror, "standard output") from None


def write_json(data: Any) -> None:
    """Data, for scripts."""
    write_text(json.dumps(data, indent=2))


def write_names(names: Iterable[object]) -> None:
    """One name a line, for scripts; nothing where there is none."""
    if listed := [printable(str(name)) for name in names]:
        write_text("\n".join(listed))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], whole: Collection[str] = ()) -> None:
    """A table for people, as wide as the terminal or 80 columns; long names are folded, never cut.

    With ``MANNER.wide`` it is as wide as it needs to be.

    The columns named in ``whole`` keep their lines together.
    """
    listed = [[printable(str(cell)) for cell in row] for row in rows]
    if MANNER.wide or len(listed) > MANY:
        return write_text("\n".join(drawn(columns, listed, whole)))
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in listed:
        made.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(made)
    return write_text("\n".join(line.rstrip() for line in captured.get().splitlines()))


def drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Collection[str] = ()) -> Iterator[str]:
    """The same table line by line, in a tenth of the time: drawing thousands of rows took longer than finding them."""
    natural = [max(len(line) for row in (columns, *rows) for line in row[at].split("\n")) for at in range(len(columns))]
    room = sys.maxsize if MANNER.wide else shutil.get_terminal_size().columns
    widths = fitting(natural, [name not in whole for name in columns], room)
    yield from laid_out(columns, widths)
    yield "─" * (sum(widths) + GAP * (len(widths) - 1))
    for row in rows:
        yield from laid_out(row, widths)


def laid_out(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of one row, each cell folded to its width."""
    filled = list(zip(row, widths, strict=True))
    cells = [[part for line in cell.split("\n") for part in folded(line, width)] for cell, width in filled]
    for parts in zip_longest(*cells, fillvalue=""):
        yield (" " * GAP).join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def folded(line: str, width: int) -> list[str]:
    """A line in parts of a width, broken between words where that can be."""
    return textwrap.wrap(line, width, break_on_hyphens=False) if len(line) > width else [line]


def fitting(widths: Sequence[int], foldable: Sequence[bool], room: int) -> list[int]:
    """The widths, the widest that may be folded made narrower until all of them fit; none below a least."""
    made = list(widths)
    while (over := sum(made) + GAP * (len(made) - 1) - room) > 0:
        narrower = [at for at, may in enumerate(foldable) if may and made[at] > LEAST]
        if not narrower:
            break
        widest = max(narrower, key=lambda at: made[at])
        made[widest] -= min(over, max(1, made[widest] // 8), made[widest] - LEAST)
    return made


def printable(text: str) -> str:
    """The text without what could steer a terminal, in characters that the terminal can show."""
    if text.translate({9: None, 10: None}).isprintable():
        return encodable(text)
    return encodable("".join(char if char.isprintable() or char in "\n\t" else UNPRINTABLE for char in text))


def for_terminal(text: str) -> str:
    r"""A value as a terminal may show it: what would steer it is written as Python does, such as \x1b, and is said so.

    In a pipe or a file it stays as it is. Line ends and tabs stay.
    """
    if not sys.stdout.isatty() or text.translate({9: None, 10: None}).isprintable():
        return text
    note(
        "the value holds control characters, which are written as \\x1b and the like here: a pipe gets them as they are"
    )
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def encodable(text: str) -> str:
    """The text in characters that stdout can take; others are written as Python does, such as \\xe9."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def stamp(moment: datetime | None) -> str | None:
    """A moment as JSON has it: RFC 3339, UTC."""
    return moment.astimezone(UTC).isoformat() if moment else None


def _let_go_of_stdout() -> None:
    # What it still holds can't be written; the interpreter would try again at its end, and complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
