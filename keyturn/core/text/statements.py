"""SQL statements in templates: which values they may hold, since an API runs them as they are."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from keyturn.core.text import templates

_OBJECTS: Final = (
    r"USERS?|ROLES?|LOGINS?|DATABASES?|SCHEMAS?|TABLES?|PROCEDURE|FUNCTION|CREDENTIAL|SECRET|SECURITY|SERVER|SERVICE"
)
_STATEMENT: Final = re.compile(
    rf"""\s*(ALTER\s|(CREATE|DROP|DESC|DESCRIBE|SHOW|RENAME)\s+(OR\s+REPLACE\s+)?({_OBJECTS})\b|COMMENT\s+ON\s
    |GRANT\s|REVOKE\s|SELECT\s|INSERT\s+INTO\s|UPDATE\s.+\sSET\s|DELETE\s+FROM\s|MERGE\s+INTO\s|SET\s+PASSWORD\b
    |CALL\s|EXEC\s|EXECUTE\s|WITH\s.+\sAS\s*\(|BEGIN\s|DECLARE\s)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_QUOTED: Final = re.compile(r"[A-Za-z0-9_.:/@=+$ -]+")
_WORD: Final = re.compile(r"[A-Za-z0-9_$]+")


class UnsafeValue(Exception):
    """A value that may end its quotes, or that is no single word where there are none; ``name`` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def is_statement(text: str) -> bool:
    """Whether a text begins as SQL does."""
    return bool(_STATEMENT.match(text))


def placeholders(text: str) -> Iterator[tuple[str, bool]]:
    """Yield every name in a statement, with whether it is in quotes."""
    quote = ""
    for index, piece in enumerate(templates.pieces(text)):
        if index % 2:
            yield piece, bool(quote)
            continue
        for mark in re.findall("['\"]", piece):
            quote = "" if mark == quote else quote or mark


def fits_statement(value: str, *, quoted: bool) -> bool:
    """Whether a value can't change the statement around it: in quotes, or as a single word."""
    return bool((_QUOTED if quoted else _WORD).fullmatch(value))


def fill(text: str, value: Callable[[str], str]) -> str:
    """Return a text with each name replaced by its value. Raises UnsafeValue where that would change a statement."""
    if not is_statement(text):
        return templates.fill(text, value)
    quoted = iter([quoted for _, quoted in placeholders(text)])

    def checked(name: str) -> str:
        filled = value(name)
        if not fits_statement(filled, quoted=next(quoted)):
            raise UnsafeValue(name)
        return filled

    return templates.fill(text, checked)
