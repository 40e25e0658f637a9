"""Spans of database statements. A statement may hold a password, so a span holds only its first word."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from keyturn.core.ports.tracing import NO_SPAN, Attribute, Span, SpanKind, current_span, traced

WORD: Final = re.compile(r"\s*([A-Za-z]{2,16})\b")


@contextmanager
def statement_span(system: str, host: str, port: int, database: str, statement: str) -> Iterator[Span]:
    """No span outside another one.

    Source: OpenTelemetry's semantic conventions for database client spans, 1.33.
    """
    if not current_span()[0]:
        yield NO_SPAN
        return
    word = WORD.match(statement)
    operation = word[1].upper() if word else ""
    about: dict[str, Attribute] = {
        "db.system.name": system,
        "db.namespace": database,
        "db.operation.name": operation,
        "server.address": host,
        "server.port": port,
    }
    with traced(f"{operation} {database}".strip() or system, about, kind=SpanKind.CLIENT) as current:
        yield current
