"""The steps of a rotation as Prefect tasks, for flows in other repositories."""

from typing import Any, Final

from keyturn.project import project_module

STEPS: Final = ("decide", "guard", "stage", "install", "verify", "promote", "push", "restart", "notify", "retire")
"""Tasks of :mod:`tasks.rotation`, whose first argument is the secret's path."""


def __getattr__(name: str) -> Any:
    """A task, by its name. Raises Invalid if this process imported another package `tasks`."""
    if name not in STEPS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(project_module("tasks.rotation"), name)
