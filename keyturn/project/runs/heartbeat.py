"""Signs of life of a run, from which its death is told.

Prefect's own heartbeats come from a thread that nobody joins: the first one of a quick run is often sent after the run
has completed, and so looks like a run that fell silent. These end before the run does. One that is over before the
first is due sends none: that it has begun is told by its state.
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
"""Seconds between two."""


@contextmanager
def heartbeats(every: float = BEAT) -> Iterator[None]:
    """Send one now and then while the body runs, from a thread, so that a busy loop does not look like death."""
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
    """Which run it is, and its tags, by which automations know it for Keyturn's."""
    tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in sorted(run.tags)]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
    return {"resource": resource, "related": tags}
