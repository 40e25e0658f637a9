"""Connection strings: the login and the server, as clients interpret them.

Clients with their own parser are called directly (libpq, redis-py). These parsers cover URLs and the keyword strings of
ODBC and ADO.NET.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from keyturn.core.sensitive import Sensitive


@dataclass(frozen=True)
class Connection:
    """A login at one of ``places`` (host, port); ``database`` may be empty.

    ``flaw`` describes a defect for every login.
    """

    account: str
    password: Sensitive
    places: tuple[tuple[str, int], ...]
    database: str = ""
    flaw: str = ""

    def leads_to(self, host: str, port: int) -> bool:
        """Whether it is a login at this server under this name."""
        return (host.strip("[]").casefold(), port) in [(name.strip("[]").casefold(), at) for name, at in self.places]

    def within(self, database: str) -> "Connection | None":
        """The connection if it names this database, with a flaw for surrounding white space."""
        if self.database == database:
            return self
        flaw = "its text has white space next to the database's name"
        return replace(self, flaw=flaw) if self.database.strip() == database else None


PAIR: Final = re.compile(
    r"\s*(?P<key>[^=;\s][^=;]*?)\s*=\s*(?P<value>\{(?:[^}]|\}\})*\}|\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[^;]*?)\s*(?:;|\Z)"
)
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "host": ("server", "host", "servername", "data source", "address", "addr"),
    "port": ("port",),
    "database": ("database", "initial catalog", "db"),
    "account": ("uid", "user id", "user", "username", "user name"),
    "password": ("pwd", "password"),
}
AMBIGUOUS: Final = re.compile(r"[@/?#\[\]\s]")
"""Characters that must be encoded in a URL's login."""
QUOTES: Final = {"{": "}", '"': '"', "'": "'"}


def keyword_pairs(text: str, port: int, bare_odbc: Callable[[str], str] = str) -> Connection | None:
    """Parse a keyword string of ODBC (with driver or dsn) or ADO.NET; None for other texts or without a login.

    ``port`` is the default. ``bare_odbc`` decodes a password without braces.
    """
    if "=" not in text or "://" in text.partition("=")[0]:
        return None
    pairs = dict(_pairs(text))
    odbc = bool({"driver", "dsn"} & set(pairs))
    raw_values = {name: next((pairs[key] for key in keys if key in pairs), None) for name, keys in NAMES.items()}
    values = {name: _plain(raw, odbc) if raw is not None else "" for name, raw in raw_values.items()}
    password = raw_values["password"]
    if password is None or not values["account"] or not values["host"]:
        return None
    if odbc and not password.startswith("{"):
        values["password"] = bare_odbc(password)
    place = (values["host"], int(values["port"]) if values["port"].isdecimal() else port)
    return Connection(values["account"], Sensitive(values["password"]), (place,), values["database"])


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while match := PAIR.match(text, at):
        yield match["key"].casefold(), match["value"]
        at = match.end()


def _plain(raw: str, odbc: bool) -> str:
    closing = QUOTES.get(raw[:1])
    if closing is None or len(raw) < 2 or raw[-1] != closing or odbc != (closing == "}"):
        return raw
    return raw[1:-1].replace(closing * 2, closing)


def url(text: str, schemes: str, port: int) -> Connection | None:
    """Parse a URL whose scheme matches ``schemes``; None for other texts or without a login.

    A JDBC URL has the login in its query, where a plus is a space.
    """
    bare = text.removeprefix("jdbc:")
    if not re.match(rf"(?:{schemes})://", bare):
        return None
    try:
        parts = urlsplit(bare)
        place = (unquote(parts.hostname or ""), parts.port or port)
    except ValueError:
        return None  # among them several hosts with ports of their own
    account, password = parts.username, parts.password
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if bare != text:
        account, password = query.get("user"), query.get("password")
    elif AMBIGUOUS.search(f"{account}{password}"):
        return None
    elif account is not None and password is not None:
        account, password = unquote(account), unquote(password)
    if not account or password is None or not place[0]:
        return None
    return Connection(account, Sensitive(password), (place,), unquote(parts.path[1:]))


def percent_decoded(text: str) -> str:
    """Decode a password without braces as PostgreSQL's ODBC driver does."""
    return unquote_plus(text)
