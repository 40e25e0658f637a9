"""Who reads environment files: the real shells and python-dotenv, and the grammars of two programs that are not here.

Docker's and Compose's are written anew from what their documents and sources say, and know nothing of what Keyturn
writes.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import dotenv

OCTAL: Final = re.compile(r"0[0-7]{0,3}")
SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


def sourced(shell: str) -> Callable[[Path], dict[str, str]]:
    """What a child of this shell finds in its environment, once the shell has sourced the file."""

    def read(file: Path) -> dict[str, str]:
        done = subprocess.run(
            [shell, "-c", 'set -a; . "$1"; exec env -0', shell, str(file)],
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"], "NAME": "expanded"},
            cwd=file.parent,
        )
        assert not done.stderr, done.stderr
        lines = (entry.decode().partition("=") for entry in done.stdout.split(b"\0") if entry)
        return {name: value for name, _, value in lines if name not in ("PATH", "NAME", "PWD", "OLDPWD", "SHLVL", "_")}

    return read


def python_dotenv(file: Path) -> dict[str, str]:
    """What python-dotenv gives, with its variables put in."""
    return {name: value or "" for name, value in dotenv.dotenv_values(file, interpolate=True).items()}


def docker_old(file: Path) -> dict[str, str]:
    """``docker run --env-file``: lines as they are."""
    found = {}
    for line in file.read_bytes().decode().split("\n"):
        line = line.removesuffix("\r").lstrip()
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert name, "no variable name"
            assert not set(name) & set(" \t"), "white space in a name"
            if equals:
                found[name] = value
    return found


def docker_new(file: Path) -> dict[str, str]:
    """The same since it takes off quotes that stand around a value."""
    pairs = docker_old(file).items()
    return {name: value[1:-1] if re.fullmatch(r"(['\"]).*\1", value) else value for name, value in pairs}


class Compose:
    """Compose's reader: quotes, escapes in double ones, and ``$`` outside of single ones."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.rest = text
        self.found: dict[str, str] = {}
        self.variables = variables

    def read(self) -> dict[str, str]:
        """All of it. A statement that means nothing to Compose fails the test."""
        while self.rest.lstrip():
            name, _, self.rest = self.rest.lstrip().partition("=")
            assert re.fullmatch(r"[\w.\[\]-]+", name), "unexpected character in a variable's name"
            self.found[name] = self._value()
        return self.found

    def _value(self) -> str:
        self.rest = self.rest.lstrip(" \t\v\f\r\x85\xa0")
        quote = self.rest[:1]
        if quote not in ("'", '"'):
            line, _, self.rest = self.rest.partition("\n")
            return self._expanded(line.partition(" #")[0].rstrip())
        value = self._quoted(quote)
        return value if quote == "'" else self._expanded(_escapes(value))

    def _quoted(self, quote: str) -> str:
        """Up to the closing quote. A backslash before the quote makes it one of the value, and before others stays."""
        value, at = "", 1
        while at < len(self.rest):
            character, following = self.rest[at], self.rest[at + 1 : at + 2]
            if character == quote:
                self.rest = self.rest[at + 1 :]
                return value
            if character == "\\" and following:
                value += following if following == quote else character + following
                at += 2
            else:
                value += character
                at += 1
        raise AssertionError("unterminated quoted value")

    def _expanded(self, text: str) -> str:
        """``$$`` is a dollar, ``$NAME`` and ``${NAME}`` are variables, and any other ``$`` is an error."""

        def put(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            name = match["bare"] or match["braced"]
            assert name, "invalid template"
            return {**self.found, **self.variables}.get(name, "")

        return re.sub(r"\$(?:\$|(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\}|)", put, text)


def compose(file: Path) -> dict[str, str]:
    """What Compose gives a container."""
    return Compose(file.read_bytes().decode(), {"NAME": "expanded"}).read()


def _escapes(text: str) -> str:
    value, at = "", 0
    while at < len(text):
        following = text[at + 1 : at + 2]
        octal = OCTAL.match(text, at + 1)
        if text[at] != "\\":
            value, at = value + text[at], at + 1
        elif following == "$":
            value, at = value + "$$", at + 2
        elif octal and len(octal[0]) == 4:
            value, at = value + chr(int(octal[0], 8)), at + 5
        elif following in SIMPLE and following:
            value, at = value + SIMPLE[following], at + 2
        else:
            value, at = value + text[at], at + 1
    return value
