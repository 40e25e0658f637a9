"""What the login in use may do, as a Vault or OpenBao tells it of paths that it is asked about, and of no others."""

from collections.abc import Sequence
from typing import Any, Final

from keyturn.providers.vault.client import Calls

PATHS: Final = 500
"""Asked for in one request; OpenBao takes at most 1,000 strings in one."""


def capabilities_at(calls: Calls, paths: Sequence[str], name: str = "the hub") -> dict[str, frozenset[str]]:
    """The capabilities at these paths: ``deny`` for nothing, ``root`` for all. Raises Denied, naming ``name``."""
    unique, held = list(dict.fromkeys(paths)), dict[str, Any]()
    for start in range(0, len(unique), PATHS):
        body = {"paths": unique[start : start + PATHS]}
        answer = calls.post("ask for the rights on", name, "sys/capabilities-self", body)
        held |= answer.json()["data"]
    return {path: frozenset(held[path] or ()) for path in unique}
