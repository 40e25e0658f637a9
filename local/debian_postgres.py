"""The PostgreSQL of Debian, with the extensions that come beside the server: Prefect's database needs ``pg_trgm``."""

import os
from pathlib import Path
from typing import Final

from local.database_server import STATE, passable
from local.debian import unpacked, within_reach
from local.postgres import PostgreSQL
from local.support.process import Account

VERSION: Final = "17"
PROGRAM: Final = f"usr/lib/postgresql/{VERSION}/bin/postgres"


class DebianPostgreSQL(PostgreSQL):
    """One PostgreSQL server of Debian's package; all else is as in its base."""

    def _programs(self, account: Account | None) -> tuple[Path, dict[str, str]]:
        server = unpacked(f"postgresql-{VERSION}", PROGRAM)
        if account is not None:
            passable(STATE)
            server = within_reach(server, STATE)
        return server.path.parent, {**os.environ, **server.environment}
