"""The hub's KV mount in a secret's name, before the colon: ``payments:team/app``.

A name without one belongs to the default mount. So one text identifies one secret in the catalogue, marks, records, the
ledger, notices and incidents.
"""

import re
from collections.abc import Collection
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.text.suggest import advice

MOUNT: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
"""Valid mount names."""
DEFAULT: Final = "default"
"""The explicit name of the default mount; no other may use it."""
EVERY: Final = "*"
"""In a pattern: any mount, including the default one."""

_NAMED: Final = re.compile(rf"({MOUNT}):(.*)", re.DOTALL)


def split(path: str, mounts: Collection[str] | None = None) -> tuple[str, str]:
    """The mount's name, empty for the default one, and the path in it.

    With ``mounts``, only these prefixes are mounts; without, any prefix is.
    """
    named = _NAMED.fullmatch(path) if ":" in path else None  # fast path: few of thousands of paths have a colon
    return (named[1], named[2]) if named and (mounts is None or named[1] in mounts) else ("", path)


def join(mount: str, path: str) -> str:
    """The name of the secret at ``path`` in that mount."""
    return f"{mount}:{path}" if mount else path


def mount_of(path: str) -> str:
    """The mount's name, empty for the default one."""
    return split(path)[0]


def overlap(first: str, second: str) -> bool:
    """Whether one mount path equals, or is below, the other."""
    left, right = (f"{path.strip('/')}/" for path in (first, second))
    return left.startswith(right) or right.startswith(left)


def undeclared(mount: str, mounts: Collection[str], name: str) -> Invalid:
    """The error for an undeclared mount."""
    hint = advice(mount, mounts, "Declare it under mounts")
    return Invalid("find", name, f"the catalogue declares no mount {mount}", hint)
