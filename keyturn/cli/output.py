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

GAP: Final = 3
LEAST: Final = 12
"""Characters between two columns, and the least width of a folded column."""
WORD: Final = 42
"""Words up to this length are never broken, in any column."""


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
    """Print a table as wide as the terminal, or 80 columns. Long cells are folded, never cut.

    No word is broken in the last column, nor one of up to WORD characters elsewhere: the table is wider instead.
    With ``MANNER.wide`` the table is as wide as needed. Columns named in ``whole`` are not folded.
    """
    listed = [[printable(str(cell)) for cell in row] for row in rows]
    cells = [[row[at] for row in (columns, *listed)] for at in range(len(columns))]
    natural = [max(len(line) for cell in column for line in cell.split("\n")) for column in cells]
    words = [max((len(word) for cell in column for word in cell.split()), default=0) for column in cells]
    room = sys.maxsize if MANNER.wide else shutil.get_terminal_size().columns
    widths = fitting(natural, words, [name not in whole for name in columns], room)
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    write_text(
        "\n".join([*laid_out(columns, widths), rule, *(line for row in listed for line in laid_out(row, widths))])
    )


def laid_out(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    filled = list(zip(row, widths, [*[True] * (len(row) - 1), False], strict=True))
    cells = [
        [part for line in cell.split("\n") for part in folded(line, width, breaks)] for cell, width, breaks in filled
    ]
    for parts in zip_longest(*cells, fillvalue=""):
        yield (" " * GAP).join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def folded(line: str, width: int, breaks: bool) -> list[str]:
    if len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=breaks)


def fitting(natural: Sequence[int], words: Sequence[int], foldable: Sequence[bool], room: int) -> list[int]:
    """Shrink foldable columns to the room, between words; only words above WORD may be broken, to no less than it."""
    least = [*(max(LEAST, min(word, WORD)) for word in words[:-1]), words[-1]]
    return shrunk(
        shrunk(natural, [*map(max, least[:-1], words[:-1]), words[-1]], foldable, room), least, foldable, room
    )


def shrunk(widths: Sequence[int], least: Sequence[int], foldable: Sequence[bool], room: int) -> list[int]:
    """Shrink the widest foldable columns until all fit, or each is at its least width."""
    made = list(widths)
    while (over := sum(made) + GAP * (len(made) - 1) - room) > 0:
        narrower = [at for at, width in enumerate(made) if foldable[at] and width > least[at]]
        if not narrower:
            break
        widest = max(narrower, key=lambda at: made[at])
        made[widest] -= min(over, max(1, made[widest] // 8), made[widest] - least[widest])
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
