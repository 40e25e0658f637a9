"""Addresses and names of ledgers: a SQLite file on one machine, or a shared PostgreSQL database."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.workspaces import WorkspaceNames
from keyturn.ledger.naming import LedgerPlace
from keyturn.ledger.ports import StoredLedger
from keyturn.settings.directories import state_directory

VARIABLE: Final = "KEYTURN_LEDGER"
NAME_VARIABLE: Final = "KEYTURN_LEDGER_NAME"
PREFIX: Final = "keyturn/"
PATIENCE: Final = 10.0
"""Seconds that an append waits for others, or for a server, before it is Unrecorded."""
SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_PORT: Final = ":5432"

LOCAL_OPTIONS: Final = frozenset(
    {"sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile", "service", "servicefile"}
)

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._:/-]+")
_DOTS: Final = re.compile(r"(?<![^/])\.*(?![^/])")


def ledger_address(env: Mapping[str, str]) -> str:
    return env.get(VARIABLE) or str(own_ledger())


def own_ledger() -> Path:
    return state_directory() / "ledger.db"


def given_name(env: Mapping[str, str]) -> str:
    return PREFIX + _safe(name) if (name := env.get(NAME_VARIABLE)) else ""


def first_name(env: Mapping[str, str]) -> str:
    return given_name(env) or PREFIX + WorkspaceNames.from_environment(env).name


def is_given(env: Mapping[str, str]) -> bool:
    return bool(env.get(VARIABLE) or env.get(NAME_VARIABLE))


def recorded_place(address: str) -> LedgerPlace:
    """A ledger's place as others may read it, without options that hold on this machine only. Raises Invalid."""
    if _is_file(address):
        return LedgerPlace(str(_file(address)), socket.gethostname())
    url = urlsplit(_without_password(address))
    options = [(key, value) for key, value in parse_qsl(url.query) if key not in LOCAL_OPTIONS]
    return LedgerPlace(urlunsplit(url._replace(query=urlencode(options, safe="/:"))))


def database_of(address: str) -> str:
    return unquote(urlsplit(address).path).strip("/")


def earlier_name(address: str) -> str:
    """The name that versions before 0.3 derived from host and path, or from the database's address."""
    if _is_file(address):
        return PREFIX + _safe(f"{socket.gethostname()}{os.path.normpath(_file(address))}")
    url = urlsplit(_without_password(address))
    servers = url.netloc.rpartition("@")[2].replace(DEFAULT_PORT, "")
    return PREFIX + _safe(f"{servers or 'localhost'}{unquote(url.path)}")


def open_ledger(address: str, *, origin: str = "", patience: float = PATIENCE) -> StoredLedger:
    """The ledger at a path or at ``postgresql://user@host:port/database``; first use opens it.

    ``origin`` is its name. Raises Invalid for any other address and for one with a password, Unavailable without the
    package for it.
    """
    if _is_file(address):
        from keyturn.providers.ledger.sqlite import SqliteLedger

        return SqliteLedger(_file(address), origin, patience=patience)
    try:
        from keyturn.providers.ledger.postgresql import PostgresqlLedger
    except ModuleNotFoundError as error:
        problem, hint = f"the package {error.name} is missing here", "Install keyturn[postgres]"
        raise Unavailable("open", "the ledger", problem, hint) from None

    return PostgresqlLedger(_without_password(address), origin, patience=patience)


def _is_file(address: str) -> bool:
    scheme, separator, _ = address.partition("://")
    if separator and scheme not in SCHEMES:
        problem, hint = "it is no address of a ledger", "Give a path, or postgresql://user@host:port/database"
        raise Invalid("open", "the ledger", problem, hint)
    return not separator


def _file(address: str) -> Path:
    return Path(address).expanduser().absolute()


def _without_password(address: str) -> str:
    """The address. Raises Invalid, without repeating it, if it is unreadable or holds a password."""
    try:
        url = urlsplit(address)
        named = [key for key, _ in parse_qsl(url.query, keep_blank_values=True) if "password" in key.lower()]
        held = bool(named) or url.password is not None
    except ValueError:
        raise Invalid("open", "the ledger", "its address can't be read", "Write postgresql://user@host/db") from None
    if held:
        hint = "Leave it out, and give it in PGPASSFILE or PGPASSWORD"
        raise Invalid("open", "the ledger", "its address contains a password", hint)
    return address


def _safe(name: str) -> str:
    return _DOTS.sub("-", _UNSAFE.sub("-", name.strip("/"))) or "-"
