"""What some adapters can do besides their port: asked for, never assumed."""

from collections.abc import Callable
from typing import TypeVar, cast

C = TypeVar("C")


def capability(adapter: object, kind: Callable[..., C]) -> C | None:
    """The adapter, where it has every verb of the protocol ``kind``; None where it lacks one.

    Verbs are looked for by their names on the adapter itself, so that one that is wrapped answers for what is inside.
    """
    verbs = [name for name in vars(kind) if not name.startswith("_")]
    return cast(C, adapter) if all(hasattr(adapter, verb) for verb in verbs) else None
