"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP to the environment's endpoint."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from keyturn import __version__
from keyturn.core.ports.tracing import Attribute, Span, SpanIds, SpanKind

KINDS: Final = {SpanKind.INTERNAL: trace.SpanKind.INTERNAL, SpanKind.CLIENT: trace.SpanKind.CLIENT}
NAME_VARIABLE: Final = "OTEL_SERVICE_NAME"
PATIENCE: Final = 5_000
"""Milliseconds to wait at the end for a collector that does not answer."""

_wanted: ContextVar[int] = ContextVar("wanted", default=0)


class _Ids(IdGenerator):
    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return _wanted.get() or self._random.generate_trace_id()


class OtlpSpan:
    """A :class:`keyturn.core.ports.tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.StatusCode.ERROR)


class OtlpTracer:
    """A :class:`keyturn.core.ports.tracing.Tracer` that changes no global provider."""

    def __init__(self) -> None:
        name = os.environ.get(NAME_VARIABLE) or "keyturn"
        resource = Resource.create({"service.name": name, "service.version": __version__})
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("keyturn", __version__)

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Attribute], trace_id: str, parent: SpanIds
    ) -> Iterator[Span]:
        """One span. Exceptions are not recorded: their text stays private."""
        token = _wanted.set(int(trace_id, 16) if trace_id else 0)
        context, links = self._within(parent, name, attributes) if all(parent) else (None, ())
        begun = self._tracer.start_as_current_span(
            name,
            context,
            kind=KINDS[kind],
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        )
        with begun as under_way:
            _wanted.reset(token)
            yield OtlpSpan(under_way)

    def _within(
        self, parent: SpanIds, name: str, attributes: Mapping[str, Attribute]
    ) -> tuple[Context, tuple[trace.Link, ...]]:
        """The context that continues another process's trace, and a link to the span that joined it."""
        sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        remote = trace.SpanContext(int(parent[0], 16), int(parent[1], 16), is_remote=True, trace_flags=sampled)
        leads = self._tracer.start_span(
            f"{name}: asked for elsewhere", Context(), attributes=attributes, links=[trace.Link(remote)]
        )
        leads.end()
        within = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
        return within, (trace.Link(leads.get_span_context()),)

    def current(self) -> SpanIds:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return "", ""
        return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)

    def close(self) -> None:
        self._provider.force_flush(PATIENCE)
        self._provider.shutdown()
