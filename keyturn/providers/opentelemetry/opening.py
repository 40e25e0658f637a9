"""Traces a process's work if the environment configures a collector."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from keyturn.core.ports.tracing import tells_spans, traces_wanted, use_tracer


@contextmanager
def told_in_spans(variables: Mapping[str, str], say: Callable[[str], None]) -> Iterator[None]:
    """Trace the work inside; reports a missing package and continues without. Nested calls do nothing."""
    if tells_spans() or not traces_wanted(variables):
        yield
        return
    try:
        from keyturn.providers.opentelemetry.traces import OtlpTracer
    except ModuleNotFoundError as error:
        say(f"no spans are exported, since the package of {error.name} is missing: install keyturn[traces]")
        yield
        return
    tracer = OtlpTracer()
    use_tracer(tracer)
    try:
        yield
    finally:
        use_tracer(None)
        tracer.close()
