"""The PostgreSQL of Debian, whose extensions Prefect's database needs (``pg_trgm``)."""

import os
from pathlib import Path

from local.database_server import STATE, passable
from local.debian import within_reach
from local.postgres import PostgreSQL
from local.programs import find_program
from local.support.process import Account


class DebianPostgreSQL(PostgreSQL):
    """One PostgreSQL server of Debian's package; all else is as in its base."""

    def _programs(self, account: Account | None) -> tuple[Path, dict[str, str]]:
        server = find_program("postgres")
        if account is not None:
            passable(STATE)
            server = within_reach(server, STATE)
        return server.path.parent, {**os.environ, **server.environment}
