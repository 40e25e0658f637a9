"""Optional capabilities of adapters beyond their port: queried, never assumed."""

from collections.abc import Callable
from typing import TypeVar, cast

C = TypeVar("C")


def capability(adapter: object, kind: Callable[..., C]) -> C | None:
    """The adapter if it has every method of the protocol ``kind``, else None.

    Methods are looked up on the adapter itself, so that a wrapper answers for the wrapped one.
    """
    verbs = [name for name in vars(kind) if not name.startswith("_")]
    return cast(C, adapter) if all(hasattr(adapter, verb) for verb in verbs) else None
