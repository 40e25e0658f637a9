"""Suggestions for misspelled names."""

from collections.abc import Iterable


def likely(name: str, choice: Iterable[str]) -> str | None:
    """The closest known name, if one is near."""
    import difflib  # deferred: only needed for an unknown name

    by_folded = {option.casefold(): option for option in choice}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[near[0]] if near else None


def advice(name: str, choice: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the closest name, else all names, else ``otherwise``."""
    names = sorted(choice)
    if near := likely(name, names):
        return f"Did you mean {near}?"
    return f"Known here: {', '.join(names)}." if names else otherwise
