"""A run that is suspended just before one of its calls, for as long as something else takes."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from keyturn.rotation.state.context import Workspace


@dataclass
class Late:
    """At its call number ``at`` (from 0) of the hub, a strategy or a store, ``meanwhile`` happens first."""

    at: int
    meanwhile: Callable[[], object]
    calls: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def suspended(self) -> bool:
        """Whether it has come so far."""
        return len(self.calls) > self.at

    def run(self, workspace: Workspace) -> Workspace:
        """The same as another process has it open."""
        return replace(
            workspace,
            holder="late-host/7/7",
            hub=Watched("hub", workspace.hub, self),
            open_strategy=lambda path: Watched("strategy", workspace.open_strategy(path), self),
            open_store=lambda name: Watched("store", workspace.open_store(name), self),
        )

    def called(self, what: str) -> None:
        """One more call is about to be made."""
        with self._lock:
            self.calls.append(what)
            now = len(self.calls) - 1 == self.at
        if now:
            self.meanwhile()


class Watched:
    """``inner`` itself, whose calls are told."""

    def __init__(self, name: str, inner: Any, late: Late) -> None:
        self._name = name
        self._inner = inner
        self._late = late

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._late.called(f"{self._name}.{name}")
            return found(*arguments, **named)

        return call
