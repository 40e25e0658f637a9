"""What every connection to a PostgreSQL server insists on, whatever answers there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg2.extensions import parse_dsn

from keyturn.core.outbound import is_loopback

NO_PLAIN_PASSWORD: Final = "!password,!md5"
"""Every way of logging in but those that show the server the password, or what can be turned into it."""

VARIABLES: Final = {
    "host": "PGHOST",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "require_auth": "PGREQUIREAUTH",
}
"""Where libpq looks for what is not told. Source: "Environment Variables" in its documentation."""


def tls(hosts: Sequence[str], sslmode: str | None, ca_file: str | None) -> dict[str, str]:
    """libpq's settings for TLS: on another machine verify-full, where nothing else is said."""
    mode = sslmode or ("prefer" if all(stays_here(host) for host in hosts) else "verify-full")
    # "system" are the authorities that the operating system trusts; libpq takes them for verify-full alone.
    trusted = ca_file or ("system" if mode == "verify-full" else None)
    return {"sslmode": mode} | ({"sslrootcert": trusted} if trusted else {})


def guarded(address: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What is insisted on for a connection string, beside what it says itself, or libpq's variables do."""
    stated = {name: env[variable] for name, variable in VARIABLES.items() if env.get(variable)} | parse_dsn(address)
    hosts = str(stated.get("host") or stated.get("hostaddr") or "").split(",")
    settings = tls(hosts, stated.get("sslmode"), stated.get("sslrootcert")) | {"require_auth": NO_PLAIN_PASSWORD}
    return {name: text for name, text in settings.items() if name not in stated}


def stays_here(host: str) -> bool:
    """Whether nobody can listen on the way: a loopback address, or the directory of a Unix socket; none is one, too."""
    return not host or host.startswith(("/", "@")) or is_loopback(host)
