"""Redraw a command's output on the terminal until Ctrl-C."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from time import sleep
from typing import Final

import typer

from keyturn.cli.failures import say
from keyturn.cli.output import encodable, when
from keyturn.core.errors import KeyturnError

CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"
"""Move to the upper left, and clear the screen and its history."""


def redraw(show: Callable[[], None], seconds: int) -> None:
    """Show, wait and show again until Ctrl-C. After the first time, an error is displayed and the loop continues.

    An error the first time ends the command. Raises BadParameter if stdout is no terminal.
    """
    if not sys.stdout.isatty():
        raise typer.BadParameter("--watch needs a terminal: what goes elsewhere is shown once, without it")
    try:
        picture = drawing(show)
        while True:
            head = f"every {seconds} s, {when(datetime.now(UTC))} UTC; Ctrl-C ends it"
            sys.stdout.write(f"{CLEAR}{head}\n\n{encodable(picture)}")
            sys.stdout.flush()
            sleep(seconds)
            picture = drawing(lambda: show_or_say(show))
    except KeyboardInterrupt:
        sys.stdout.write("\n")


def drawing(show: Callable[[], None]) -> str:
    text = StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        show()
    return text.getvalue()


def show_or_say(show: Callable[[], None]) -> None:
    try:
        show()
    except KeyturnError as error:
        say(error)
