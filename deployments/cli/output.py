"""What a command says: data on stdout, as a table for people or as JSON; progress and notes on stderr."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


def note(line: str) -> None:
    """One line of progress, for the person watching."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Data, for whoever reads stdout. An OSError names it."""
    try:
        sys.stdout.write(f"{encodable(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _let_go_of_stdout()
        raise OSError(error.errno, error.strerror, "standard output") from None


def write_json(data: Any) -> None:
    """Data, for scripts."""
    write(json.dumps(data, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], whole: Collection[str] = ()) -> None:
    """A table for people, as wide as the terminal or 80 columns; long names are folded, never cut.

    The columns named in ``whole`` keep their lines together.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(made)
    write("\n".join(line.rstrip() for line in captured.get().splitlines()))


def printable(text: str) -> str:
    """The text without what could steer a terminal, in characters that the terminal can show."""
    return encodable(
        "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
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


def span(duration: timedelta) -> str:
    """A duration in its two largest units: ``3 d 4 h``."""
    seconds = int(abs(duration.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    first = next((at for at, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _let_go_of_stdout() -> None:
    # What it still holds can't be written; the interpreter would try again at its end, and complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
