"""Runs a function just before a chosen call, to test late arrivals."""

import os
import socket
import time
from collections.abc import Callable
from typing import Any


class Hooked:
    """``inner`` itself, but before each named method its hook runs, with the same arguments; it may raise."""

    def __init__(self, inner: Any, **hooks: Callable[..., object]) -> None:
        self._inner = inner
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in self._hooks:
            return attribute

        def call(*arguments: Any, **named: Any) -> Any:
            self._hooks[name](*arguments, **named)
            return attribute(*arguments, **named)

        return call


class Replaced:
    """``inner`` itself, but with other methods in the places of some."""

    def __init__(self, inner: Any, **others: Callable[..., object]) -> None:
        self._inner = inner
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return self._others[name] if name in self._others else getattr(self._inner, name)


class Once:
    """A hook that acts at its first call alone."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def __call__(self, *_: Any, **__: Any) -> None:
        action, self._action = self._action, None
        if action:
            action()


class After:
    """A hook that acts at the call after ``calls`` others."""

    def __init__(self, calls: int, action: Callable[[], object]) -> None:
        self._left = calls
        self._action = action

    def __call__(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left == -1:
            self._action()


def raising(error: BaseException) -> Callable[..., object]:
    """A hook that raises."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def eventually(happens: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether it becomes true while one waits; servers tell of an end a moment late."""
    over = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > over:
            return False
        time.sleep(0.05)
    return True


def dead_holder(number: int = 1) -> str:
    """A process of this host that is gone: this pid, but begun at another time."""
    return f"{socket.gethostname()}/{os.getpid()}/{number}"


ELSEWHERE = "another-host/1/1"
"""A process on another host, of which nobody here can tell whether it runs."""
