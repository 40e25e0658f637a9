"""Paths that are named by a pattern, in the words of the catalogue's freezes: ``ml-training/*``, ``payments/**``."""

from collections.abc import Callable, Iterable, Sequence

from keyturn.core.errors import Invalid
from keyturn.core.mounts import EVERY, join
from keyturn.core.text.path_patterns import apart, covers, has_stars_beside


def expand(paths: Iterable[str], below: Callable[[str], Sequence[str]], most: int) -> list[str]:
    """The paths, and those that fit what is a pattern; ``below`` lists a folder. Raises Invalid for more than ``most``.

    What is no pattern is in the list whether there is such a secret or not.
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
    """The folder that holds all that fits, with the mount's name."""
    mount, within = apart(pattern)
    return join(mount, within[: within.index("*")].rpartition("/")[0])
