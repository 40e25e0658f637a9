"""Patterns of secrets' paths, such as ``prod/*`` and ``payments:**``."""

import re
from collections.abc import Collection
from functools import cache

from keyturn.core.mounts import EVERY, split


def covers(pattern: str, path: str, mounts: Collection[str] | None = None) -> bool:
    """Whether a path fits a pattern. One without a mount's name fits in the default mount alone, ``*:`` in any.

    ``mounts`` are the names that there are; without them, whatever stands before a colon is one.
    """
    wanted, within = apart(pattern)
    mount, rest = split(path, mounts)
    return wanted in (EVERY, mount) and _compiled(within).fullmatch(rest) is not None


@cache
def apart(pattern: str) -> tuple[str, str]:
    """The mount's name that a pattern begins with, and the pattern of paths in it."""
    return (EVERY, pattern[2:]) if pattern.startswith(f"{EVERY}:") else split(pattern)


def has_stars_beside(pattern: str) -> bool:
    """Whether ``**`` stands beside something else within a part, where it means nothing."""
    return any("**" in part and part != "**" for part in apart(pattern)[1].split("/"))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression that takes time in proportion to the path, however many stars it has.

    What stands between two stars is looked for from the left, and never again further on: if a later place led to a
    match, the first one would, too.
    """
    *folders, last = pattern.split("/")
    first, *between = "".join(part if part == "**" else f"{_part(part)}/" for part in folders).split("**")
    middle = [f"(?>(?:[^/]+/)*?{text})" for text in between[:-1]]
    end = [f"(?:[^/]+/)*{text}" for text in between[-1:]]
    return re.compile("".join([first, *middle, *end, ".+" if last == "**" else _part(last)]))


def _part(part: str) -> str:
    first, *between = (re.escape(text) for text in part.split("*"))
    middle = [f"(?>[^/]*?{text})" for text in between[:-1]]
    end = [f"[^/]*{text}" for text in between[-1:]]
    return "".join([first, *middle, *end])
