"""A cursor that traces its statements as spans."""

from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor

from keyturn.core.ports.tracing import current_span
from keyturn.providers.sql_spans import statement_span


class TracedCursor(cursor):
    """psycopg2's own; a span records only the kind of statement."""

    def execute(self, query: Any, vars: Any = None) -> None:  # as psycopg2 calls it
        if not current_span()[0]:
            return super().execute(query, vars)
        server = self.connection.info
        with statement_span("postgresql", server.host, server.port, server.dbname, beginning(query)) as current:
            try:
                super().execute(query, vars)
            except psycopg2.Error as error:
                if error.pgcode:
                    current.set("db.response.status_code", error.pgcode)
                raise


def beginning(query: Any) -> str:
    while isinstance(query, sql.Composed) and query.seq:
        query = query.seq[0]
    if isinstance(query, sql.SQL):
        return query.string
    return query if isinstance(query, str) else ""
