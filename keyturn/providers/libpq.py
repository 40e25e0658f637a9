"""What every connection to a PostgreSQL server insists on, whatever answers there."""

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from psycopg2.extensions import parse_dsn
from requests.utils import DEFAULT_CA_BUNDLE_PATH

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


OWN_AUTHORITIES: Final = "~/.postgresql/root.crt"
"""Whom libpq trusts where nobody says it, if there is such a file."""


def tls(hosts: Sequence[str], sslmode: str | None, ca_file: str | None, env: Mapping[str, str]) -> dict[str, str]:
    """libpq's settings for TLS: on another machine verify-full, where nothing else is said."""
    mode = sslmode or ("prefer" if all(stays_here(host) for host in hosts) else "verify-full")
    trusted = ca_file or (public_authorities(env) if mode == "verify-full" else None)
    return {"sslmode": mode} | ({"sslrootcert": trusted} if trusted else {})


def public_authorities(env: Mapping[str, str]) -> str | None:
    """The file of those whom everybody trusts, or those that SSL_CERT_FILE names; None where libpq has its own.

    libpq's word ``system`` is of no use: in psycopg2-binary it stands for a directory of the machine it was built on.
    """
    if env.get(VARIABLES["sslrootcert"]) or Path(os.path.expanduser(OWN_AUTHORITIES)).exists():
        return None
    return ssl.get_default_verify_paths().cafile or str(DEFAULT_CA_BUNDLE_PATH)


def guarded(address: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What is insisted on for a connection string, beside what it says itself, or libpq's variables do."""
    stated = {name: env[variable] for name, variable in VARIABLES.items() if env.get(variable)} | parse_dsn(address)
    hosts = str(stated.get("host") or stated.get("hostaddr") or "").split(",")
    settings = tls(hosts, stated.get("sslmode"), stated.get("sslrootcert"), env) | {"require_auth": NO_PLAIN_PASSWORD}
    return {name: text for name, text in settings.items() if name not in stated}


def stays_here(host: str) -> bool:
    """Whether nobody can listen on the way: a loopback address, or the directory of a Unix socket; none is one, too."""
    return not host or host.startswith(("/", "@")) or is_loopback(host)
