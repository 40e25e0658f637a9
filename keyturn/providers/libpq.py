"""The requirements of every connection to a PostgreSQL server."""

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from psycopg2.extensions import parse_dsn
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from keyturn.core.clear_text import is_loopback

NO_PLAIN_PASSWORD: Final = "!password,!md5"
"""Excludes logins that show the server the password."""

VARIABLES: Final = {
    "host": "PGHOST",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "require_auth": "PGREQUIREAUTH",
}
"""Source: "Environment Variables" in libpq's documentation."""


OWN_AUTHORITIES: Final = "~/.postgresql/root.crt"


def tls(hosts: Sequence[str], sslmode: str | None, ca_file: str | None, env: Mapping[str, str]) -> dict[str, str]:
    mode = sslmode or ("prefer" if all(stays_here(host) for host in hosts) else "verify-full")
    trusted = ca_file or (public_authorities(env) if mode == "verify-full" else None)
    return {"sslmode": mode} | ({"sslrootcert": trusted} if trusted else {})


def public_authorities(env: Mapping[str, str]) -> str | None:
    """None if libpq has its own.

    libpq's ``system`` does not work: psycopg2-binary looks in a directory of its build machine.
    """
    if env.get(VARIABLES["sslrootcert"]) or Path(os.path.expanduser(OWN_AUTHORITIES)).exists():
        return None
    return ssl.get_default_verify_paths().cafile or str(DEFAULT_CA_BUNDLE_PATH)


def guarded(address: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Settings that neither the connection string nor libpq's variables set."""
    stated = {name: env[variable] for name, variable in VARIABLES.items() if env.get(variable)} | parse_dsn(address)
    hosts = str(stated.get("host") or stated.get("hostaddr") or "").split(",")
    settings = tls(hosts, stated.get("sslmode"), stated.get("sslrootcert"), env) | {"require_auth": NO_PLAIN_PASSWORD}
    return {name: text for name, text in settings.items() if name not in stated}


def stays_here(host: str) -> bool:
    """True also for an empty host."""
    return not host or host.startswith(("/", "@")) or is_loopback(host)
