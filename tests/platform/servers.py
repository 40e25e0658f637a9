"""``python -m tests.platform.servers``: the servers of other people in such a machine, until SIGTERM.

A database with what Keyturn's guide has an administrator make, and the files of TLS. The hub is a unit of its own.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from local.prepare import database, literal, make_role, prepare_database
from local.support.tls import Authority
from tests.support.debian_postgres import DebianPostgreSQL

NAMES: Final = ("vault.example.com", "prefect.example.com", "db.example.com")
"""As the guide has them."""
PLACE: Final = Path("/var/lib/servers")


def main(passwords: dict[str, str]) -> None:
    """Start the database, and wait."""
    PLACE.mkdir(mode=0o755, exist_ok=True)
    authority = Authority(PLACE / "ca.pem", PLACE / "ca.key", frozenset(NAMES))
    authority.issue(PLACE, names=NAMES)
    with DebianPostgreSQL(PLACE / "postgres", 5432, certificate=authority.files_in(PLACE)) as server:
        where = ("db.example.com", 5432, server.superuser_password)
        ca_file = str(authority.certificate)
        prepare_database(*where, passwords["admin"], passwords["secret"], ca_file)
        with database(*where, ca_file=ca_file) as cursor:
            for role, name in (("keyturn_worker", "keyturn_ledger"), ("prefect", "prefect")):
                make_role(cursor, role, f"LOGIN PASSWORD {literal(cursor, passwords[role])}")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if not cursor.fetchone():
                    cursor.execute(f"CREATE DATABASE {name} OWNER {role} TEMPLATE template0")
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
