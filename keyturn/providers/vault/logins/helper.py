"""The hub's token helper: a program that keeps a person's token, for example in a keychain.

Source: "Custom token helper" in the documentation of Vault.
"""

import os
import re
import select
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, cast

from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.sensitive import Sensitive

TIMEOUT: Final = 60.0
"""Seconds; the keychain may ask the person to unlock it."""
LIMIT: Final = 64 * 1024
NAMED: Final = re.compile(r"""(?m)^[ \t]*token_helper[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*(?:(?:#|//).*)?$""")


def token_helper(configuration: str) -> str | None:
    """None if the configuration of the hub's own tools names no program.

    Raises Denied if others can write the file or the program, Invalid for a relative or missing program.
    """
    try:
        with open(configuration, encoding="utf-8", errors="replace") as opened:
            insist_on_own(configuration, os.fstat(opened.fileno()))
            text = opened.read(LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable("read", configuration, error.strerror or "it can't be read", "Check its mode") from None
    if not (match := NAMED.search(text)):
        return None
    program = re.sub(r"\\(.)", r"\1", match[1])
    if not Path(program).is_absolute():
        raise Invalid("read", configuration, "token_helper is no whole path", "Begin it with /")
    try:
        insist_on_own(program, os.stat(program))
    except FileNotFoundError:
        hint = f"Correct token_helper in {configuration}"
        raise Invalid("run", program, "there is no such token helper", hint) from None
    return program


def insist_on_own(file: str, status: os.stat_result) -> None:
    """Raises Denied if users other than this one and root can change the file."""
    if status.st_uid not in (0, os.geteuid()):
        raise Denied("use", file, "it belongs to another user", "Let this user own it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Denied("use", file, "others than its owner may write it", f"chmod go-w {file}")


def get_token(program: str) -> str:
    text = _run(program, "get").strip()
    if not (text.isascii() and text.isprintable()):
        raise no_token(program)
    return text


def store_token(program: str, token: Sensitive) -> None:
    _run(program, "store", token.reveal())


def erase_token(program: str) -> None:
    _run(program, "erase")


def no_token(program: str) -> Invalid:
    return Invalid("run", program, "what it says is no token", "Call it with get, and see what it prints")


def _run(program: str, verb: str, text: str = "") -> str:
    deadline = time.monotonic() + TIMEOUT
    try:
        process = subprocess.Popen([program, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except (OSError, ValueError) as error:
        raise Unavailable("run", program, f"it can't be run ({type(error).__name__})", "Check its mode") from None
    with closing_pipes(process) as (into, out):
        try:
            with suppress(BrokenPipeError):  # a helper may ignore its input; its exit code decides
                into.write(text.encode())
                into.close()
            if len(output := read_output(out, deadline)) > LIMIT:
                raise no_token(program)
            code = process.wait(max(deadline - time.monotonic(), 0.1))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise Unavailable("run", program, f"it did not {verb} within {TIMEOUT:.0f} s", "Try it by hand") from None
    if code:
        problem = f"the token helper failed to {verb} (exit {code})"
        raise Unavailable("run", program, problem, "Its output is above: try it by hand") from None
    return output.decode(errors="replace")


@contextmanager
def closing_pipes(process: subprocess.Popen[bytes]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    into, out = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
    try:
        yield into, out
    finally:
        process.kill()
        out.close()
        with suppress(BrokenPipeError):
            into.close()
        process.wait()


def read_output(out: IO[bytes], deadline: float) -> bytes:
    output = b""
    while len(output) <= LIMIT:
        if not select.select([out], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise TimeoutError
        if not (part := os.read(out.fileno(), LIMIT)):
            break
        output += part
    return output
