"""Heartbeats of a run, whose absence shows its death.

Prefect's own heartbeats may arrive after a quick run completed, which then looks silent. These stop before the run
ends.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Final

from prefect.context import FlowRunContext
from prefect.events import emit_event

HEARTBEAT: Final = "keyturn.flow-run.heartbeat"
BEAT: Final = 30.0
"""Seconds."""


@contextmanager
def heartbeats(every: float = BEAT) -> Iterator[None]:
    """Send heartbeats during the body from a thread, because the event loop may be busy."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every):
            emit_event(HEARTBEAT, **about(run))

    thread = threading.Thread(target=copy_context().run, args=(beat,), daemon=True, name="keyturn-heartbeat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def about(run: Any) -> dict[str, Any]:
    tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in sorted(run.tags)]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
    return {"resource": resource, "related": tags}
