"""HTTP answers of any server: waits, untrusted certificates and unexpected shapes."""

import functools
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import FunctionType
from typing import Any, Final, TypeVar

from keyturn.core.errors import Unavailable, raised_at

A = TypeVar("A", bound=type[Any])

MISREAD: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class RefusedAnswer(OSError):
    """A refused answer; its text gives the reason and nothing of the answer."""


class TooLate(RefusedAnswer, TimeoutError):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"no whole answer within {seconds:g} s")


def objection(error: BaseException | None) -> str | None:
    return next((str(cause) for cause in causes_of(error) if isinstance(cause, RefusedAnswer)), None)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all its causes."""
    waiting, passed = [error], set[int]()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in passed:
            continue
        passed.add(id(cause))
        yield cause
        inner = (getattr(cause, name, None) for name in ("reason", "inner_exception"))
        named = getattr(cause, "kwargs", None)  # botocore
        waiting += [cause.__cause__, cause.__context__, *inner, *cause.args]
        waiting += named.values() if isinstance(named, dict) else ()


def retry_after(header: str, now: datetime | None = None) -> float | None:
    """Source: RFC 9110, 10.2.3. :class:`Throttled` limits it."""
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def untrusted(error: BaseException | None) -> bool:
    """Whether a certificate's check failed, which no retry fixes."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes_of(error))


# --- answers of another shape


def reads_answers(name: str = "") -> Callable[[A], A]:
    """Make an adapter raise Unavailable for an answer of another shape, naming ``name`` or itself.

    It is retried, because a proxy's page passes.
    """

    def guarded(adapter: A) -> A:
        for verb, function in list(vars(adapter).items()):
            if isinstance(function, FunctionType) and not verb.startswith("_"):
                setattr(adapter, verb, _telling(function, name))
        return adapter

    return guarded


def _telling(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def entries(where: str, answers: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from answers
        except MISREAD as error:
            raise _misread(error, where) from None

    @functools.wraps(function)
    def ask(adapter: Any, *arguments: Any, **options: Any) -> Any:
        where = name or str(adapter.name)
        try:
            answer = function(adapter, *arguments, **options)
        except MISREAD as error:
            raise _misread(error, where) from None
        return entries(where, answer) if isinstance(answer, Iterator) else answer

    return ask


def _misread(error: Exception, where: str) -> Unavailable:
    """Contains only class and place: the error's text could hold a value."""
    problem = f"its answer is not what its API promises ({type(error).__name__} at {raised_at(error)})"
    hint = "Check that the address reaches it, and that no proxy answers in its place; it is retried automatically"
    return Unavailable("understand", where, problem, hint)
