"""The opened workspace of this process: catalogue, hub and adapters, shared by all of its tasks."""

import functools
import os
from typing import cast

from blocks.workspace import DEFAULT_NAME, KeyturnWorkspace
from keyturn.core.errors import NotFound
from keyturn.rotation.context import Keyturn


@functools.cache
def opened(name: str) -> Keyturn:
    """The workspace block of that name, loaded from the Prefect server once in a process. Raises NotFound."""
    try:
        block = KeyturnWorkspace.load(name, _sync=True)  # type: ignore[call-arg]  # added by Prefect's dispatch
    except ValueError:
        problem = "the Prefect server has no such block"
        raise NotFound("load", f"keyturn-workspace/{name}", problem, "Run `keyturn bootstrap` once") from None
    return cast(KeyturnWorkspace, block).open()


def keyturn() -> Keyturn:
    """The workspace that KEYTURN_WORKSPACE names."""
    return opened(os.environ.get("KEYTURN_WORKSPACE", DEFAULT_NAME))


def target_limit(target: str) -> str:
    """The name of the concurrency limit that `keyturn bootstrap` makes for a target."""
    return f"keyturn-target-{target}"
