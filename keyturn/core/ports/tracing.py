"""Tracing spans: work, its parent and its duration, with names but no values.

Without a tracer nothing is sent or imported, and a span costs one check.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Final, Protocol

Attribute = str | int | float | bool

SpanIds = tuple[str, str]
"""The ids of a trace and a span, 32 and 16 hex digits; empty if there is none."""

NOWHERE: Final[SpanIds] = ("", "")

TRACEPARENT: Final = "traceparent"
TRACE_LABEL: Final = "keyturn.traceparent"
"""Label of a run that continues its requester's trace."""
RUN_ATTRIBUTE: Final = "keyturn.run"
"""The id of a run, on its own span and on its requester's."""

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's variables for the span endpoint; without either, nothing is sent."""


class SpanKind(StrEnum):
    """Whether the work is done here or by a called service."""

    INTERNAL = "internal"
    CLIENT = "client"


class Span(Protocol):
    """One span in progress."""

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute: a name or a number, never a secret's value."""

    def fail(self, kind: str) -> None:
        """Mark it failed by this error class; the text goes only to the ledger."""


class Tracer(Protocol):
    """A receiver of spans. Serves many threads."""

    def span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Attribute], trace: str, parent: SpanIds
    ) -> AbstractContextManager[Span]:
        """Open a span in the current one, or else in the trace of this id, 32 hex digits.

        With a ``parent`` it belongs to that, and the trace of this id gets one finished span that links to it, so that
        both can be found.
        """

    def current(self) -> SpanIds:
        """The current trace and span ids in hex; empty if there are none."""

    def close(self) -> None:
        """Send pending spans and accept no more."""


class _NoSpan:
    def set(self, name: str, value: Attribute) -> None:
        """Do nothing."""

    def fail(self, kind: str) -> None:
        """Do nothing."""


NO_SPAN: Final = _NoSpan()

_tracer: Tracer | None = None


def use_tracer(tracer: Tracer | None) -> None:
    """Send this process's spans to this tracer from now on."""
    global _tracer
    _tracer = tracer


def traces_wanted(variables: Mapping[str, str]) -> bool:
    """Whether an environment sets a span endpoint."""
    return any(variables.get(name) for name in ENDPOINTS)


def tells_spans() -> bool:
    """Whether this process sends spans."""
    return _tracer is not None


def current_span() -> SpanIds:
    """The current trace and span ids; empty if there are none."""
    return _tracer.current() if _tracer else NOWHERE


def traceparent() -> dict[str, str]:
    """The header that continues the current trace in a called service; empty without a trace.

    Source: W3C Trace Context, level 1, section 3.2. It contains only two ids.
    """
    trace, span = current_span()
    return {TRACEPARENT: f"00-{trace}-{span}-01"} if trace else {}


_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-01")


def parse_traceparent(text: object) -> SpanIds:
    """Parse the output of :func:`traceparent`; empty ids for other values."""
    match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    return (match[1], match[2]) if match else NOWHERE


@contextmanager
def traced(
    name: str,
    attributes: Mapping[str, Attribute] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    trace: str = "",
    parent: SpanIds = NOWHERE,
) -> Iterator[Span]:
    """Trace the work inside, without empty attributes; an error is recorded by class.

    ``trace`` and ``parent`` are as in :meth:`Tracer.span`.
    """
    if _tracer is None:
        yield NO_SPAN
        return
    filled = {key: value for key, value in (attributes or {}).items() if value != ""}
    with _tracer.span(name, kind, filled, trace, parent) as current:
        try:
            yield current
        except BaseException as error:
            current.fail(type(error).__name__)
            raise
