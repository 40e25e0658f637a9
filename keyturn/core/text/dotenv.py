r"""Convert a JSON object to the lines of an environment file for a given reader, and back.

Such files have no common grammar. Single quotes are literal to a shell and to Compose; python-dotenv reads ``\\`` and
``\'`` in them, and substitutes ``${NAME}`` in any quotes; ``docker run --env-file`` takes the rest of the line as it
is. In double quotes ``\\`` and ``\"`` mean the same to the three that support quotes. Sources: POSIX shell, 2.2;
compose-go 2.13 and its rules in "Interpolation"; python-dotenv 1.1 to 1.2; docker/cli's kvfile, old and new.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive


class Reader(StrEnum):
    """The program that reads the file."""

    COMPOSE = "compose"
    """Docker Compose: ``env_file`` and ``.env``."""
    PYTHON = "python"
    """python-dotenv."""
    SHELL = "shell"
    """A POSIX shell that sources it."""
    DOCKER = "docker"
    """``docker run --env-file``, which does not support quotes."""


KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST: Final = 60_000
"""Maximum bytes in a line for Docker, which stops at 64 KiB."""

_LINES: Final[Mapping[Reader | None, re.Pattern[str]]] = {
    Reader.SHELL: re.compile(rf"({KEY.pattern})='((?:[^']|'\\'')*)'\n"),
    Reader.PYTHON: re.compile(rf"({KEY.pattern})='((?:\\.|[^'\\])*)'\n", re.DOTALL),
    Reader.DOCKER: re.compile(rf"({KEY.pattern})=(.*)\n"),
}
_QUOTED: Final = re.compile(rf"""({KEY.pattern})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'([^']*)')\n""", re.DOTALL)


_SKIPPED: Final = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|(?<=[^\n])\Z)")
_NAMED: Final = r"[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=(?P<value>%s)(?:\n|\Z)"
_DOUBLE: Final = r'"(?:[^"\\]|\\.)*"'
_OTHERS: Final[Mapping[Reader | None, re.Pattern[str]]] = {
    Reader.DOCKER: re.compile(_NAMED % r"[^\n]*"),
    Reader.PYTHON: re.compile(_NAMED % rf"[ \t]*(?:'(?:[^'\\]|\\.)*'|{_DOUBLE}|[^'\"\n][^\n]*)?[^\n'\"]*", re.DOTALL),
    Reader.SHELL: re.compile(_NAMED % rf"(?:'[^']*'|{_DOUBLE}|[^'\"\\\n]|\\.)*", re.DOTALL),
    Reader.COMPOSE: re.compile(_NAMED % rf"[ \t]*(?:'[^'\\]*'|{_DOUBLE}|[^'\"\n][^\n]*)?[^\n'\"]*", re.DOTALL),
    None: re.compile(_NAMED % rf"(?:'[^'\\]*'|{_DOUBLE}|[^'\"\\\n]*)[ \t]*", re.DOTALL),
}
"""A variable in a shared file, including quotes and line breaks."""


class Dotenv:
    """One object's lines for one reader, and its non-string fields.

    Without a reader, Compose, python-dotenv and a shell all read them alike.
    """

    def __init__(self, text: Sensitive, not_texts: Collection[str], reader: Reader | None = None) -> None:
        self.text = text
        self.not_texts = sorted(not_texts)
        self.reader = reader

    @staticmethod
    def of(value: Sensitive, reader: Reader | None = None) -> "Dotenv | None":
        """The lines of a canonical JSON object (:func:`keyturn.core.fingerprint.payload`); None for other values.

        Raises ValueError, naming the field, if no environment can hold it or the reader would change it.
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
        """The text of the object in these lines."""
        lines = _LINES.get(self.reader, _QUOTED)
        texts = {line[1]: _unquoted(line, self.reader) for line in lines.finditer(self.text.reveal())}
        fields = {name: json.loads(text) if name in self.not_texts else text for name, text in texts.items()}
        return payload(SecretFields(fields))


@dataclass(frozen=True)
class Line:
    """One exact line of a shared file; ``key`` is empty for a comment or blank line."""

    raw: str = field(repr=False)
    key: str = ""
    text: str = field(default="", repr=False)


def lines_of(text: Sensitive, reader: Reader | None) -> list[Line]:
    """Split a file as its reader does. Raises ValueError, naming an unsupported line."""
    lines: list[Line] = []
    at, plain = 0, text.reveal()
    while at < len(plain):
        line = _SKIPPED.match(plain, at) or _OTHERS[reader].match(plain, at)
        if line is None:
            number = plain.count("\n", 0, at) + 1
            raise ValueError(f"line {number} is not understood as KEY=value: see the store's format and reader")
        key = line.groupdict().get("key") or ""
        lines.append(Line(line[0], key, _text_of(line[0], line["value"], reader) if key else ""))
        at = line.end()
    return lines


def edited(text: Sensitive, put: Mapping[str, Any], take: Collection[str], reader: Reader | None) -> Sensitive:
    """The file after these changes; all other lines stay exactly, new ones go last.

    Raises ValueError like :meth:`Dotenv.of`, for an unsupported line, and for a variable that appears twice.
    """
    lines = lines_of(text, reader)
    if twice := next((key for key in (*put, *take) if sum(line.key == key for line in lines) > 1), None):
        raise ValueError(f"the variable {twice} appears twice in it")
    written = {key: f"{_checked(key)}={_written(key, _shown(value), reader)}\n" for key, value in put.items()}
    there = {line.key for line in lines}
    remaining = [written.get(line.key, line.raw) for line in lines if line.key not in take]
    fresh = [line for key, line in written.items() if key not in there]
    if fresh and remaining and not remaining[-1].endswith("\n"):
        remaining[-1] += "\n"
    return Sensitive("".join((*remaining, *fresh)))


def _text_of(raw: str, value: str, reader: Reader | None) -> str:
    ours = _LINES.get(reader, _QUOTED).fullmatch(raw)
    return _unquoted(ours, reader) if ours else value.strip()


def refuses(value: Sensitive, reader: Reader | None) -> str | None:
    """Return why ``value`` can't be written for the reader, naming only the field; None if it can."""
    try:
        Dotenv.of(value, reader)
    except ValueError as error:
        return str(error)
    return None


def refuses_text(text: str, reader: Reader | None) -> str | None:
    """Return why the reader would not read ``text`` back; None if it does."""
    if "\0" in text:
        return "a null character, which no environment can"
    return next((reason for pattern, reason in REFUSED[reader] if pattern.search(text)), None)


def _checked(name: str) -> str:
    if not KEY.fullmatch(name):
        raise ValueError(f"the field {name} can't be a variable: letters, digits and _ only, no digit first")
    return name


def _written(name: str, text: str, reader: Reader | None) -> str:
    if reason := refuses_text(text, reader):
        raise ValueError(f"the field {name} holds {reason}")
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
            "$ or ` together with ' or \\, which no quoting keeps in both a shell and "
            "python-dotenv: name the reader of the file with the store's `reader`",
        ),
    ),
}
"""Patterns that each reader would change, and the message for a field that matches."""


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
