"""What a Vault or OpenBao gives back as it was given: it keeps numbers as 64-bit floats, and texts as UTF-8."""

import math
from typing import Any, Final

WHOLE: Final = 2**53
"""Up to here every whole number is a 64-bit float of its own."""

POWERS: Final = 10**21
"""From here on the server spells whole numbers with a power of ten, and they come back as floats."""

DIGITS: Final = 20
"""Characters of a number that is small enough."""

SMALLEST: Final = 1e-4
"""Below it, a float is spelled with a power of ten here, and without one by the server."""


def changed(value: Any) -> str:
    """Why the server would give back something else than ``value``, without quoting it; empty where it would not."""
    if isinstance(value, dict):
        return next((why for pair in value.items() for part in pair if (why := changed(part))), "")
    if isinstance(value, list | tuple):
        return next((why for part in value if (why := changed(part))), "")
    if isinstance(value, str):
        return "" if _is_text(value) else "it holds half a character (a lone surrogate), which is no UTF-8"
    if isinstance(value, float) and not math.isfinite(value):
        return "it holds a number that JSON has no words for"
    if type(value) is int and not _is_kept(value):
        return "it holds a whole number beyond 2^53, which the hub would round"
    return ""


def number(spelled: str) -> int | float:
    """The number, where it comes back spelled like this. Raises ValueError for any other."""
    if len(spelled) <= DIGITS and spelled.lstrip("-").isdigit():
        whole = int(spelled)
        if str(whole) == spelled and abs(whole) <= WHOLE:
            return whole
        raise ValueError
    made = float(spelled)
    if repr(made) != spelled or made.is_integer() or abs(made) < SMALLEST:
        raise ValueError
    return made


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_kept(whole: int) -> bool:
    return abs(whole) <= WHOLE or (abs(whole) < POWERS and int(float(whole)) == whole)
