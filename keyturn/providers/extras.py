"""Packages of the optional extras."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.core.errors import Invalid


@contextmanager
def needing(extra: str, doing: str, name: str) -> Iterator[None]:
    """Raises Invalid, naming the ``extra``, if an import inside lacks its package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Invalid(doing, name, f"the package {error.name} is missing", f"Install keyturn[{extra}]") from None
