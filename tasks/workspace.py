"""The opened workspace of this process: catalogue, hub and adapters, shared by all of its tasks."""

import functools
import os
from typing import cast

from prefect.context import FlowRunContext

from blocks.workspace import KeyturnWorkspace
from keyturn.core.errors import NotFound
from keyturn.core.workspaces import DEFAULT, VARIABLE, WorkspaceNames
from keyturn.rotation.context import Workspace


@functools.cache
def opened(name: str) -> Workspace:
    """The workspace block of that name, loaded from the Prefect server once in a process. Raises NotFound."""
    try:
        block = KeyturnWorkspace.load(name, _sync=True)  # type: ignore[call-arg]  # added by Prefect's dispatch
    except ValueError:
        problem = "the Prefect server has no such block"
        hint = f"Run `keyturn bootstrap{'' if name == DEFAULT else f' --workspace {name}'}` once"
        raise NotFound("load", f"keyturn-workspace/{name}", problem, hint) from None
    return cast(KeyturnWorkspace, block).open()


def current_workspace() -> Workspace:
    """The workspace that KEYTURN_WORKSPACE names: a deployment says it to its runs."""
    return opened(named())


def named() -> str:
    """The name of this process's workspace block."""
    return os.environ.get(VARIABLE) or DEFAULT


def names() -> WorkspaceNames:
    """What the workspace of this run is called on the Prefect server: its deployments' tag tells."""
    run = FlowRunContext.get()
    return WorkspaceNames.of_run(run.flow_run.tags if run and run.flow_run else ())
