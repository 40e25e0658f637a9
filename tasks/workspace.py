"""The opened workspace of this process, shared by all of its tasks."""

import functools
import os
from contextvars import ContextVar
from typing import Final

from blocks.workspace import WorkspaceSettings
from keyturn.core.workspaces import WorkspaceNames
from keyturn.rotation.state.context import Workspace

lenient: Final = ContextVar("lenient", default=False)
"""Whether this run uses the valid part of an invalid catalogue, as revocations do."""


@functools.cache
def opened(settings: WorkspaceSettings, *, lenient: bool = False) -> Workspace:
    """The workspace of these settings, opened once per process. Raises Invalid."""
    return settings.open(lenient=lenient)


def own_settings() -> WorkspaceSettings:
    return WorkspaceSettings.from_environment(os.environ)


def current_workspace() -> Workspace:
    """This process's workspace; nothing in it comes from the Prefect server."""
    # The cache distinguishes an explicit keyword from its default.
    return opened(own_settings(), lenient=True) if lenient.get() else opened(own_settings())


def names() -> WorkspaceNames:
    return WorkspaceNames.from_environment(os.environ)
