"""The opened workspace of this process: catalogue, hub and adapters, shared by all of its tasks."""

import functools
import os
from contextvars import ContextVar
from typing import Final

from blocks.workspace import WorkspaceSettings
from keyturn.core.workspaces import WorkspaceNames
from keyturn.rotation.state.context import Workspace

lenient: Final = ContextVar("lenient", default=False)
"""Whether this run works with what loads of a broken catalogue, as revocations do."""


@functools.cache
def opened(settings: WorkspaceSettings, *, lenient: bool = False) -> Workspace:
    """What these settings lead to, opened once in a process; ``lenient``: with what loads. Raises Invalid."""
    return settings.open(lenient=lenient)


def own_settings() -> WorkspaceSettings:
    """What this process's environment says of catalogue and hub, which the worker has given it. Raises Invalid."""
    return WorkspaceSettings.from_environment(os.environ)


def current_workspace() -> Workspace:
    """The workspace of this process. Nothing of where it is comes from the Prefect server."""
    # The cache tells a keyword that is given from its default.
    return opened(own_settings(), lenient=True) if lenient.get() else opened(own_settings())


def names() -> WorkspaceNames:
    """What the workspace of this process is called on the Prefect server."""
    return WorkspaceNames.from_environment(os.environ)
