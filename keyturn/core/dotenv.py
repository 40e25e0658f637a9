"""A JSON object as the lines of an environment file, for whoever reads them, and back.

There is no one grammar of such files. Single quotes are literal to a shell and to Compose; python-dotenv reads
``\\\\`` and ``\\'`` in them, and puts a variable in place of ``${NAME}`` whatever the quotes; ``docker run --env-file``
takes the rest of the line as it is. In double quotes ``\\\\`` and ``\\"`` mean the same to the three that know quotes.
Sources: POSIX shell, 2.2; compose-go 2.13 and its rules in "Interpolation"; python-dotenv 1.1 to 1.2; docker/cli's
kvfile, old and new.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive


class Reader(StrEnum):
    """Who reads the file."""

    COMPOSE = "compose"
    """Docker Compose: ``env_file`` and ``.env``."""
    PYTHON = "python"
    """python-dotenv."""
    SHELL = "shell"
    """A POSIX shell that sources it."""
    DOCKER = "docker"
    """``docker run --env-file``, which knows no quotes."""


KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST: Final = 60_000
"""Bytes in a line for Docker, which stops at 64 KiB."""

_LINES: Final[Mapping[Reader | None, re.Pattern[str]]] = {
    Reader.SHELL: re.compile(rf"({KEY.pattern})='((?:[^']|'\\'')*)'\n"),
    Reader.PYTHON: re.compile(rf"({KEY.pattern})='((?:\\.|[^'\\])*)'\n", re.DOTALL),
    Reader.DOCKER: re.compile(rf"({KEY.pattern})=(.*)\n"),
}
_QUOTED: Final = re.compile(rf"""({KEY.pattern})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'([^']*)')\n""", re.DOTALL)


class Dotenv:
    """The lines of one object for one reader, and the names of its fields that are no texts: numbers and the like.

    Without a reader they are what Compose, python-dotenv and a shell read alike.
    """

    def __init__(self, text: Sensitive, not_texts: Collection[str], reader: Reader | None = None) -> None:
        self.text = text
        self.not_texts = sorted(not_texts)
        self.reader = reader

    @staticmethod
    def of(value: Sensitive, reader: Reader | None = None) -> "Dotenv | None":
        """The lines of a JSON object in canonical form (:func:`keyturn.core.fingerprint.payload`); None for others.

        Raises ValueError, naming the field, for what no environment can hold or what the reader would not give back.
        """
        try:
            fields = json.loads(value.reveal())
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or not fields or payload(SecretFields(fields)) != value:
            return None
        lines = [f"{_checked(name)}={_written(name, _shown(field), reader)}\n" for name, field in fields.items()]
        return Dotenv(Sensitive("".join(lines)), [name for name in fields if not isinstance(fields[name], str)], reader)

    def joined(self) -> Sensitive:
        """The text of the object that these are the lines of."""
        lines = _LINES.get(self.reader, _QUOTED)
        texts = {line[1]: _unquoted(line, self.reader) for line in lines.finditer(self.text.reveal())}
        fields = {name: json.loads(text) if name in self.not_texts else text for name, text in texts.items()}
        return payload(SecretFields(fields))


def refuses(value: Sensitive, reader: Reader | None) -> str | None:
    """Why ``value`` can't be written for the reader, naming the field and nothing of its value; None where it can."""
    try:
        Dotenv.of(value, reader)
    except ValueError as error:
        return str(error)
    return None


def refuses_text(text: str, reader: Reader | None) -> str | None:
    """Why the reader would not give ``text`` back; None where it does."""
    if "\0" in text:
        return "a null character, which no environment can"
    return next((said for pattern, said in REFUSED[reader] if pattern.search(text)), None)


def _checked(name: str) -> str:
    if not KEY.fullmatch(name):
        raise ValueError(f"the field {name} can't be a variable: letters, digits and _ only, no digit first")
    return name


def _written(name: str, text: str, reader: Reader | None) -> str:
    if said := refuses_text(text, reader):
        raise ValueError(f"the field {name} holds {said}")
    if reader is Reader.DOCKER and len(f"{name}={text}".encode(errors="replace")) > LONGEST:
        raise ValueError(f"the field {name} is longer than a line that docker run --env-file reads")
    return QUOTES[reader](text)


def _shown(field: Any) -> str:
    return field if isinstance(field, str) else json.dumps(field, ensure_ascii=False, separators=(",", ":"))


def _shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _python(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _compose(text: str) -> str:
    if not {"'", "\r"} & set(text) and not text.endswith("\\"):
        return f"'{text}'"
    return '"' + re.sub(r'[\\"$]', r"\\\g<0>", text).replace("\r", "\\r") + '"'


def _alike(text: str) -> str:
    return '"' + re.sub(r'[\\"]', r"\\\g<0>", text) + '"' if {"'", "\\"} & set(text) else f"'{text}'"


QUOTES: Final[Mapping[Reader | None, Callable[[str], str]]] = {
    Reader.SHELL: _shell,
    Reader.PYTHON: _python,
    Reader.COMPOSE: _compose,
    Reader.DOCKER: lambda text: text,
    None: _alike,
}

_PYTHON: Final = (
    (re.compile(r"\$\{"), "${, where python-dotenv puts a variable, whatever the quotes"),
    (re.compile(r"\r"), "a carriage return, which python-dotenv reads as the end of a line"),
    (re.compile(r"\\\Z"), "a backslash at its end, which python-dotenv before 1.2.3 takes for an escaped quote"),
)
REFUSED: Final[Mapping[Reader | None, tuple[tuple[re.Pattern[str], str], ...]]] = {
    Reader.SHELL: (),
    Reader.COMPOSE: (),
    Reader.PYTHON: _PYTHON,
    Reader.DOCKER: (
        (re.compile(r"[\r\n]"), "a line break, which docker run --env-file can't"),
        (re.compile(r"\A(['\"]).*\1\Z"), "quotes around it, which newer versions of docker take off and older don't"),
    ),
    None: (
        *((pattern, f"{said}: say for whom the file is with the store's `reader`") for pattern, said in _PYTHON),
        (
            re.compile(r"(?s)(?=.*['\\]).*[$`]"),
            "$ or ` beside ' or \\, which no quotes keep in a shell and in python-dotenv alike: "
            "say for whom the file is with the store's `reader`",
        ),
    ),
}
"""What each reader would read as something else, and what is said of a field that holds it."""


def _unquoted(line: re.Match[str], reader: Reader | None) -> str:
    if reader is Reader.DOCKER:
        return line[2]
    if reader is Reader.SHELL:
        return line[2].replace("'\\''", "'")
    if reader is Reader.PYTHON:
        return _plain(line[2])
    return line[3] if line[3] is not None else _plain(line[2])


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda escape: "\r" if escape[1] == "r" else escape[1], text, flags=re.DOTALL)
