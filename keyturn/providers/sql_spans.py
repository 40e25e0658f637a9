"""Spans of what databases are asked, by OpenTelemetry's conventions: what kind of statement and where, never its text.

A statement of ours may hold a password, or what is made of one: nothing of it is told but its first word.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from keyturn.core.ports.tracing import NO_SPAN, Attribute, Span, SpanKind, current_span, traced

WORD: Final = re.compile(r"\s*([A-Za-z]{2,16})\b")
"""The word that a statement begins with, such as ALTER: a command, and never a value."""


@contextmanager
def statement_span(system: str, host: str, port: int, database: str, statement: str) -> Iterator[Span]:
    """Tell of one statement that belongs to something; others, such as looks all day, are told of nowhere.

    ``system`` is the server's kind as OpenTelemetry's conventions name it. Source: its semantic conventions for
    database client spans, 1.33.
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
