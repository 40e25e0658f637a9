"""Stores a run's result as data for a waiting command, in names only."""

import json
import uuid
from typing import Any

from prefect.artifacts import Artifact
from prefect.context import FlowRunContext, TaskRunContext

from keyturn.core.result_parts import PART, RESULT, WAITS, split_text

_begun: set[tuple[object, object]] = set()
"""The steps that this process has begun: flow run and task run."""


def count_step() -> bool:
    """Count the step that runs here; False outside a task run. A retry is the same step."""
    if step := TaskRunContext.get():
        _begun.add((step.task_run.flow_run_id, step.task_run.id))
    return step is not None


async def leave_result(data: dict[str, Any]) -> None:
    """Store JSON with this run if a command waits for it, in parts.

    Prefect's UI does not show artifacts of type ``result``.
    """
    if is_waited_for():
        parts, own = split_text(json.dumps(data), PART), uuid.uuid4().hex
        context = FlowRunContext.get()
        run = context.flow_run.id if context and context.flow_run else None
        steps = sum(flow_run == run for flow_run, _ in _begun)
        for number, text in enumerate(parts):
            part = {"id": own, "part": number, "of": len(parts), "text": text, "steps": steps}
            await Artifact(type=RESULT, data=part).acreate()


def is_waited_for() -> bool:
    run = FlowRunContext.get()
    return bool(run and run.flow_run and run.flow_run.labels.get(WAITS))
