"""ADO.NET's grammar of connection strings, read as its documents and DbConnectionOptions read it; no .NET is here."""

import re
from typing import Final

CONTROL: Final = r"\x00-\x1f\x7f-\x9f"
PAIR: Final = re.compile(
    rf"[\s;]*(?![\s;])(?P<key>(?:[^=\s{CONTROL}]|\s+[^=\s{CONTROL}])+)\s*=(?!=)\s*(?P<value>"
    r'"(?:[^"\x00]|"")*"'
    r"|'(?:[^'\x00]|'')*'"
    rf"|(?![\"'\s])(?:[^;\s{CONTROL}]|\s+[^;\s{CONTROL}])*(?<![\"'])"
    r")\s*(?:;|[\x00\s]*\Z)"
)


def pairs(text: str) -> dict[str, str]:
    """The keywords, in small letters, and their values; of two of a name, the last. AssertionError for what is none."""
    found, at = {}, 0
    while text[at:].strip("; \t\r\n"):
        match = PAIR.match(text, at)
        assert match is not None, "it does not fit the format of a connection string"
        found[match["key"].lower()] = _plain(match["value"])
        at = match.end()
    return found


def _plain(value: str) -> str:
    quote = value[:1]
    return value[1:-1].replace(quote * 2, quote) if quote in ('"', "'") and quote else value
