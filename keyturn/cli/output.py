"""A command's output: data on stdout, as a table or JSON; progress and notes on stderr."""

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
"""From this many rows, a table is drawn without Rich."""
GAP: Final = 3
LEAST: Final = 12
"""Characters between two columns, and the least width of a folded column."""


@dataclass
class Manner:
    """Output options of this process. ``quiet``: no notes or progress. ``wide``: tables are not folded."""

    quiet: bool = False
    wide: bool = False


MANNER: Final = Manner()
"""The command line's output options, shared by all threads."""
UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


def note(line: str) -> None:
    """Print one line of progress on stderr, unless ``-q`` is given."""
    if not MANNER.quiet:
        note_error(line)


def note_error(line: str) -> None:
    """Print one line about an error on stderr, even with ``-q``."""
    sys.stderr.write(f"{as_logged(printable(line))}\n")
    sys.stderr.flush()


def as_logged(line: str) -> str:
    """Return the line, or a JSON object if KEYTURN_LOG_FORMAT is json."""
    if os.environ.get("KEYTURN_LOG_FORMAT") != "json":
        return line
    from keyturn.core.text.log_lines import log_line

    level = "error" if line.startswith("error: ") else "info"
    return log_line(datetime.now(UTC), level, "keyturn", line.removeprefix("error: "))


def write_text(text: str) -> None:
    """Print data on stdout without terminal control characters. An OSError names stdout."""
    _write(printable(text))


def write_value(text: str) -> None:
    """Print a value that :func:`for_terminal` returned. An OSError names stdout."""
    _write(encodable(text))


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Its buffer can't be written; the interpreter would try again at exit and print an error.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise OSError(error.errno, error.strerror, "standard output") from None


def write_json(data: Any) -> None:
    write_text(json.dumps(data, indent=2))


def write_names(names: Iterable[object]) -> None:
    if listed := [printable(str(name)) for name in names]:
        write_text("\n".join(listed))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], whole: Collection[str] = ()) -> None:
    """Print a table as wide as the terminal, or 80 columns. Long names are folded, never cut.

    With ``MANNER.wide`` the table is as wide as needed. Columns named in ``whole`` are not folded.
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
    """Draw the same table line by line, ten times faster than Rich."""
    natural = [max(len(line) for row in (columns, *rows) for line in row[at].split("\n")) for at in range(len(columns))]
    room = sys.maxsize if MANNER.wide else shutil.get_terminal_size().columns
    widths = fitting(natural, [name not in whole for name in columns], room)
    yield from laid_out(columns, widths)
    yield "─" * (sum(widths) + GAP * (len(widths) - 1))
    for row in rows:
        yield from laid_out(row, widths)


def laid_out(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    filled = list(zip(row, widths, strict=True))
    cells = [[part for line in cell.split("\n") for part in folded(line, width)] for cell, width in filled]
    for parts in zip_longest(*cells, fillvalue=""):
        yield (" " * GAP).join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def folded(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_on_hyphens=False) if len(line) > width else [line]


def fitting(widths: Sequence[int], foldable: Sequence[bool], room: int) -> list[int]:
    """Shrink the widest foldable columns until all fit in ``room``, none below LEAST."""
    made = list(widths)
    while (over := sum(made) + GAP * (len(made) - 1) - room) > 0:
        narrower = [at for at, may in enumerate(foldable) if may and made[at] > LEAST]
        if not narrower:
            break
        widest = max(narrower, key=lambda at: made[at])
        made[widest] -= min(over, max(1, made[widest] // 8), made[widest] - LEAST)
    return made


def printable(text: str) -> str:
    """Replace terminal control characters, and encode the rest for the terminal."""
    if text.translate({9: None, 10: None}).isprintable():
        return encodable(text)
    return encodable("".join(char if char.isprintable() or char in "\n\t" else UNPRINTABLE for char in text))


def for_terminal(text: str) -> str:
    r"""Return a value for the terminal, with control characters escaped such as \x1b, and report that.

    In a pipe or file the value is unchanged. Line ends and tabs stay.
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
    """Escape characters that stdout's encoding lacks, such as \\xe9."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def when(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def stamp(moment: datetime | None) -> str | None:
    """Format a moment for JSON: RFC 3339, UTC."""
    return moment.astimezone(UTC).isoformat() if moment else None
