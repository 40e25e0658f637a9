"""Patterns of secret paths, such as ``prod/*`` and ``payments:**``."""

import re
from collections.abc import Collection
from functools import cache

from keyturn.core.mounts import EVERY, split


def covers(pattern: str, path: str, mounts: Collection[str] | None = None) -> bool:
    """Whether a path matches. Without a mount, a pattern matches only the default one; ``*:`` matches any.

    ``mounts`` are the known names; without them, any prefix is a mount.
    """
    wanted, within = apart(pattern)
    mount, rest = split(path, mounts)
    return wanted in (EVERY, mount) and _compiled(within).fullmatch(rest) is not None


def matches_pattern(pattern: str, text: str) -> bool:
    """Whether a text of parts between slashes matches a pattern that names no mount."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def apart(pattern: str) -> tuple[str, str]:
    """Split a pattern into the mount's name and the path pattern."""
    return (EVERY, pattern[2:]) if pattern.startswith(f"{EVERY}:") else split(pattern)


def has_stars_beside(pattern: str) -> bool:
    """Whether ``**`` is combined with other text in a path part, where it has no meaning."""
    return any("**" in part and part != "**" for part in apart(pattern)[1].split("/"))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile the pattern to an expression with linear time in the path, however many stars it has.

    Text between two stars matches at its first position, without backtracking: if a later one led to a match, so would
    the first.
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
