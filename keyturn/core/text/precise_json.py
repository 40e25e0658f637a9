"""Values that Vault or OpenBao return unchanged: numbers are stored as 64-bit floats, texts as UTF-8."""

import math
from typing import Any, Final

WHOLE: Final = 2**53
"""Up to here every whole number has an exact 64-bit float."""

POWERS: Final = 10**21
"""From here the server writes whole numbers with an exponent, and they return as floats."""

DIGITS: Final = 20
"""Maximum characters of an exact number."""

SMALLEST: Final = 1e-4
"""Below it, Python writes a float with an exponent, and the server without one."""


def changed(value: Any) -> str:
    """Return why the server would change ``value``, without quoting it; empty if it would not."""
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
    """The number if it would be spelled the same again. Raises ValueError for any other."""
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
