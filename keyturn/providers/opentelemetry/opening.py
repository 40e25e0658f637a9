"""Telling spans for as long as a process works, where its environment says to whom."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from keyturn.core.ports.tracing import tells_spans, traces_wanted, use_tracer


@contextmanager
def told_in_spans(variables: Mapping[str, str], say: Callable[[str], None]) -> Iterator[None]:
    """Have a collector told what is done inside. A package that is missing is told of, and holds nothing up.

    Within what is told already, nothing is opened anew.
    """
    if tells_spans() or not traces_wanted(variables):
        yield
        return
    try:
        from keyturn.providers.opentelemetry.traces import OtlpTracer
    except ModuleNotFoundError as error:
        say(f"no spans are told, since the package of {error.name} is missing: install keyturn[traces]")
        yield
        return
    tracer = OtlpTracer()
    use_tracer(tracer)
    try:
        yield
    finally:
        use_tracer(None)
        tracer.close()
