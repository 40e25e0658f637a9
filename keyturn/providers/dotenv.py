"""A JSON object as the lines of an environment file, and back.

In double quotes, ``\\\\`` and ``\\"`` mean the same to python-dotenv, Docker Compose, systemd's EnvironmentFile and a
shell, and line breaks stand for themselves. A ``$``, which some of them take for a variable, is literal in single
quotes; only where the value needs double quotes too does it stand bare. ``docker run --env-file`` knows no quotes.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Final

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LINE: Final = re.compile(rf"""({KEY.pattern})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'([^']*)')\n""", re.DOTALL)


class Dotenv:
    """The lines of one object, and the names of its fields that are no texts: numbers, lists and the like."""

    def __init__(self, text: Sensitive, not_texts: Collection[str]) -> None:
        self.text = text
        self.not_texts = sorted(not_texts)

    @staticmethod
    def of(value: Sensitive) -> "Dotenv | None":
        """The lines of a JSON object in canonical form (:func:`keyturn.core.fingerprint.payload`); None for others.

        Raises ValueError, naming the field, for what no environment can hold.
        """
        try:
            fields = json.loads(value.reveal())
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or not fields or payload(SecretFields(fields)) != value:
            return None
        lines = [f"{_checked(name, field)}={_quoted(_shown(field))}\n" for name, field in fields.items()]
        return Dotenv(Sensitive("".join(lines)), [name for name in fields if not isinstance(fields[name], str)])

    def joined(self) -> Sensitive:
        """The text of the object that these are the lines of."""
        texts = {line[1]: _unquoted(line) for line in LINE.finditer(self.text.reveal())}
        fields = {name: json.loads(text) if name in self.not_texts else text for name, text in texts.items()}
        return payload(SecretFields(fields))


def _checked(name: str, field: Any) -> str:
    if not KEY.fullmatch(name):
        raise ValueError(f"the field {name} can't be a variable: letters, digits and _ only, no digit first")
    if isinstance(field, str) and "\0" in field:
        raise ValueError(f"the field {name} holds a null character, which no environment can")
    return name


def _shown(field: Any) -> str:
    return field if isinstance(field, str) else json.dumps(field, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    if "$" in text and not {"'", "\\", "\r"} & set(text):
        return f"'{text}'"
    # A carriage return would be read as the end of a line, or not at all.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'"{escaped}"'


def _unquoted(line: re.Match[str]) -> str:
    if line[3] is not None:
        return line[3]
    return re.sub(r"\\(.)", lambda escape: "\r" if escape[1] == "r" else escape[1], line[2], flags=re.DOTALL)
