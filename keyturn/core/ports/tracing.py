"""Spans: what is done, within what, and for how long, told to whoever collects them, in names alone.

Nothing is told unless the process has a tracer; then nothing is imported for it, and a span costs one look.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Final, Protocol

Attribute = str | int | float | bool

SpanIds = tuple[str, str]
"""The ids of a trace and of a span in it, 32 and 16 hex digits; empty where there is none."""

NOWHERE: Final[SpanIds] = ("", "")

TRACEPARENT: Final = "traceparent"
TRACE_LABEL: Final = "keyturn.traceparent"
"""The label of a run that goes on with the trace of whoever asked for it."""
RUN_ATTRIBUTE: Final = "keyturn.run"
"""The id of a run, at its own span and at that of whoever asked for it."""

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Where spans go, as OpenTelemetry's specification names it; without either nothing is told."""


class SpanKind(StrEnum):
    """Whether the work is done here, or by whoever is asked."""

    INTERNAL = "internal"
    CLIENT = "client"


class Span(Protocol):
    """One piece of work that is under way."""

    def set(self, name: str, value: Attribute) -> None:
        """Tell one thing more of it: a name or a number, and never a value of a secret."""

    def fail(self, kind: str) -> None:
        """It has failed, by an error of that class. Its words are the ledger's to tell."""


class Tracer(Protocol):
    """What takes spans. Serves many threads."""

    def span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Attribute], trace: str, parent: SpanIds
    ) -> AbstractContextManager[Span]:
        """One span, within the one that is under way; where none is, in the trace of that id, 32 hex digits.

        Where there is a ``parent`` it is within that. Then the trace of that id has one span, which is over at once and
        leads there: whoever knows that id finds both, and both are linked.
        """

    def current(self) -> SpanIds:
        """The ids of the trace and the span under way, in hex digits; empty where none is."""

    def close(self) -> None:
        """Send what waits, and take no more."""


class _NoSpan:
    def set(self, name: str, value: Attribute) -> None:
        """Nobody is told."""

    def fail(self, kind: str) -> None:
        """Nobody is told."""


NO_SPAN: Final = _NoSpan()

_tracer: Tracer | None = None


def use_tracer(tracer: Tracer | None) -> None:
    """Have this process's spans told to it from now on."""
    global _tracer
    _tracer = tracer


def traces_wanted(variables: Mapping[str, str]) -> bool:
    """Whether an environment says where spans go."""
    return any(variables.get(name) for name in ENDPOINTS)


def tells_spans() -> bool:
    """Whether this process's spans are told to somebody."""
    return _tracer is not None


def current_span() -> SpanIds:
    """The ids of the trace and the span under way; empty where none is."""
    return _tracer.current() if _tracer else NOWHERE


def traceparent() -> dict[str, str]:
    """The header by which whoever is asked goes on with the trace under way; none where there is none.

    Source: W3C Trace Context, level 1, section 3.2. It holds two numbers.
    """
    trace, span = current_span()
    return {TRACEPARENT: f"00-{trace}-{span}-01"} if trace else {}


_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-01")


def parse_traceparent(text: object) -> SpanIds:
    """What :func:`traceparent` has written; none of anything else, whoever has put it there."""
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
    """Tell of what is done inside. What has none of an attribute leaves it empty. An error is told by its class.

    ``trace`` and ``parent`` are as :meth:`Tracer.span` has them.
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
