"""A database account, and the connection settings of its application."""

import secrets
from typing import Any

from keyturn.client.client import SecretClient
from keyturn.core.notifications.notices import Notice
from local.prepare import DATABASE
from tests.support.lab import Lab
from tests.support.served import MemorySource


class DatabaseLogin:
    """An account of the database, and its secret in a source."""

    def __init__(self, lab: Lab) -> None:
        declared = lab.single()
        self.lab, self.path, self.fields = lab, declared.path, declared.first
        self.user = declared.users[0]
        self.source = MemorySource()
        self.source.put(self.path, self.fields)
        self.client = SecretClient([self.source], poll=0, patience=0)

    def change(self) -> Notice:
        """Another password at the server, the one before is refused; and the notice of it."""
        password = secrets.token_urlsafe(24)
        self.lab.sql(f"ALTER ROLE {self.user} PASSWORD '{password}'")
        return self.source.put(self.path, {**self.fields, "password": password})

    @property
    def address(self) -> dict[str, Any]:
        """Where it logs in, as psycopg2 takes it."""
        world = self.lab.world
        return {"host": world.host, "port": world.port, "dbname": DATABASE, "sslmode": "disable"}

    def sessions(self) -> int:
        """How many this account has."""
        statement = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{self.user}'"  # noqa: S608
        ((count,),) = self.lab.sql(statement)
        return int(count)
