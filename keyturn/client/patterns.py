"""Patterns of paths, in the syntax of the catalogue's freezes: ``ml-training/*``, ``payments/**``."""

from collections.abc import Callable, Iterable, Sequence

from keyturn.core.errors import Invalid
from keyturn.core.mounts import EVERY, join
from keyturn.core.text.path_patterns import apart, covers, has_stars_beside


def expand(paths: Iterable[str], below: Callable[[str], Sequence[str]], most: int) -> list[str]:
    """The paths, with patterns expanded; ``below`` lists a folder. Raises Invalid above ``most``.

    A path without a pattern stays, whether it exists or not.
    """
    expanded = dict.fromkeys(each for path in paths for each in (_fitting(path, below) if "*" in path else [path]))
    if len(expanded) > most:
        problem = f"it is {len(expanded)} secrets, and {most} are kept"
        raise Invalid("warm", "secrets", problem, "Name fewer, or give SecretClient a larger max_entries")
    return [*expanded]


def _fitting(pattern: str, below: Callable[[str], Sequence[str]]) -> list[str]:
    if has_stars_beside(pattern):
        raise Invalid("list", pattern, "** stands beside something else", "Write it alone between slashes: prod/**")
    if apart(pattern)[0] == EVERY:
        raise Invalid("list", pattern, "it means every mount", "Name each mount: payments:**")
    return sorted(path for path in below(_folder(pattern)) if covers(pattern, path))


def _folder(pattern: str) -> str:
    """The folder of all matches, with the mount's name."""
    mount, within = apart(pattern)
    return join(mount, within[: within.index("*")].rpartition("/")[0])
