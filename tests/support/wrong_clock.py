"""Runs a module in a process whose clock is wrong by so many seconds: everything in it that asks Python for the time.

    python -m tests.support.wrong_clock -600 keyturn.cli rotate a/b --local

How long something lasts is measured by another clock, which stays right.
"""

import datetime
import runpy
import sys
import time

RIGHT = datetime.datetime


class LikeTheRightOne(type):
    """Counts what the right class has made as its own: C code goes on to use that."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, RIGHT)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, RIGHT)


def shift(seconds: float) -> None:
    """Let ``datetime`` and ``time`` be wrong from here on, for all that is imported later."""
    off, right = datetime.timedelta(seconds=seconds), time.time

    class Wrong(RIGHT, metaclass=LikeTheRightOne):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> RIGHT:  # type: ignore[override]
            return RIGHT.now(tz) + off

        @classmethod
        def utcnow(cls) -> RIGHT:  # type: ignore[override]
            return RIGHT.now(datetime.UTC).replace(tzinfo=None) + off

    datetime.datetime = Wrong  # type: ignore[misc]
    time.time = lambda: right() + seconds


def main() -> None:
    """Run what the command line names."""
    seconds, module = float(sys.argv[1]), sys.argv[2]
    sys.argv[:3] = [module]
    shift(seconds)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
