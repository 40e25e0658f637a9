"""Which KV mount of the hub a secret lies in: what stands before the colon of its name, as in ``payments:team/app``.

A name without one is of the default mount. So one text names one secret wherever names stand: in the catalogue, marks,
records, the ledger, notices and incidents.
"""

import re
from collections.abc import Collection
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.text.suggest import advice

MOUNT: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
"""What a mount may be called."""
DEFAULT: Final = "default"
"""What the default mount is called where a name has to stand; no other may be called so."""
EVERY: Final = "*"
"""In a pattern: whichever mount, the default one too."""

_NAMED: Final = re.compile(rf"({MOUNT}):(.*)", re.DOTALL)


def split(path: str, mounts: Collection[str] | None = None) -> tuple[str, str]:
    """The mount's name, empty for the default one, and the path in it.

    ``mounts`` are the names that there are: what begins otherwise is in the default mount, whatever it looks like.
    Without them, whatever stands before the colon is a mount.
    """
    named = _NAMED.fullmatch(path) if ":" in path else None  # thousands of paths are asked for, few have one
    return (named[1], named[2]) if named and (mounts is None or named[1] in mounts) else ("", path)


def join(mount: str, path: str) -> str:
    """The name of the secret at ``path`` in that mount."""
    return f"{mount}:{path}" if mount else path


def mount_of(path: str) -> str:
    """The mount's name, empty for the default one."""
    return split(path)[0]


def overlap(first: str, second: str) -> bool:
    """Whether two paths of mounts are the same, or one lies below the other."""
    left, right = (f"{path.strip('/')}/" for path in (first, second))
    return left.startswith(right) or right.startswith(left)


def undeclared(mount: str, mounts: Collection[str], name: str) -> Invalid:
    """What is said where no mount of that name is declared."""
    hint = advice(mount, mounts, "Declare it under mounts")
    return Invalid("find", name, f"the catalogue declares no mount {mount}", hint)
