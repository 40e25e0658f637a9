"""Guessing which known name was meant."""

import difflib
from collections.abc import Iterable


def likely(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, if one is near."""
    by_folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[found[0]] if found else None


def advice(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the one likely meant, else the whole choice, else ``otherwise``."""
    names = sorted(known)
    if meant := likely(name, names):
        return f"Did you mean {meant}?"
    return f"Known here: {', '.join(names)}." if names else otherwise
