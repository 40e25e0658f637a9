"""Which ledger is written: a SQLite file of this machine, or a PostgreSQL database that several machines share."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from keyturn.core.errors import Invalid, Unavailable
from keyturn.ledger.ports import StoredLedger
from keyturn.settings.directories import state_directory

VARIABLE: Final = "KEYTURN_LEDGER"
NAME_VARIABLE: Final = "KEYTURN_LEDGER_NAME"

PREFIX: Final = "keyturn/"
"""How the name of every ledger begins in its checkpoints."""

PATIENCE: Final = 10.0
"""Seconds that an append waits for others, or for a server, before it is Unrecorded."""

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_PORT: Final = ":5432"

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._:/-]+")
_DOTS: Final = re.compile(r"(?<![^/])\.*(?![^/])")
"""A part of a path that is empty or all dots."""


def ledger_address(env: Mapping[str, str]) -> str:
    """What KEYTURN_LEDGER says, else the ledger of this user and machine. Raises Invalid where there can be none."""
    return env.get(VARIABLE) or str(own_ledger())


def own_ledger() -> Path:
    """``ledger.db`` in the user's state directory. Raises Invalid."""
    return state_directory() / "ledger.db"


def ledger_origin(address: str, env: Mapping[str, str]) -> str:
    """The ledger's name in its checkpoints: KEYTURN_LEDGER_NAME, else where it lies. Raises Invalid.

    It is made of the address, not kept in the ledger, so that an empty one put in its place has its name and is
    found out by the hub's copy of the newest checkpoint.
    """
    if name := env.get(NAME_VARIABLE):
        return PREFIX + _safe(name)
    if _is_file(address):
        return PREFIX + _safe(f"{socket.gethostname()}{os.path.normpath(_file(address))}")
    url = urlsplit(_without_password(address))
    servers = url.netloc.rpartition("@")[2].replace(DEFAULT_PORT, "")
    return PREFIX + _safe(f"{servers or 'localhost'}{unquote(url.path)}")


def open_ledger(address: str, *, origin: str = "", patience: float = PATIENCE) -> StoredLedger:
    """The ledger at a path or at ``postgresql://user@host:port/database``; nothing is touched before its first use.

    An empty ``origin`` is made of the address. PostgreSQL's password comes from libpq's own PGPASSFILE or PGPASSWORD.
    Raises Invalid for any other address, and for one that holds a password; Unavailable without the package for it.
    """
    name = origin or ledger_origin(address, {})
    if _is_file(address):
        from keyturn.providers.ledger.sqlite import SqliteLedger

        return SqliteLedger(_file(address), name, patience=patience)
    try:
        from keyturn.providers.ledger.postgresql import PostgresqlLedger
    except ModuleNotFoundError as error:
        problem, hint = f"the package {error.name} is missing here", "Install keyturn[postgres]"
        raise Unavailable("open", "the ledger", problem, hint) from None

    return PostgresqlLedger(_without_password(address), name, patience=patience)


def _is_file(address: str) -> bool:
    scheme, separator, _ = address.partition("://")
    if separator and scheme not in SCHEMES:
        problem, hint = "it is no address of a ledger", "Give a path, or postgresql://user@host:port/database"
        raise Invalid("open", "the ledger", problem, hint)
    return not separator


def _file(address: str) -> Path:
    return Path(address).expanduser().absolute()


def _without_password(address: str) -> str:
    """The address itself. Raises Invalid, which does not repeat it, when it can't be read or holds a password."""
    try:
        url = urlsplit(address)
        named = [key for key, _ in parse_qsl(url.query, keep_blank_values=True) if "password" in key.lower()]
        held = bool(named) or url.password is not None
    except ValueError:
        raise Invalid("open", "the ledger", "its address can't be read", "Write postgresql://user@host/db") from None
    if held:
        hint = "Leave it out, and give it in PGPASSFILE or PGPASSWORD"
        raise Invalid("open", "the ledger", "a password stands in its address", hint)
    return address


def _safe(name: str) -> str:
    """Only what a path of the hub and a key's name may hold: no part of it leads elsewhere."""
    return _DOTS.sub("-", _UNSAFE.sub("-", name.strip("/"))) or "-"
