"""The login's capabilities at paths, and the policies of all logins."""

from collections.abc import Sequence
from typing import Any, Final

from keyturn.providers.vault.client import Calls

POLICIES: Final = "sys/policies/acl"
ROOT: Final = "root"
PATHS: Final = 500
"""OpenBao accepts at most 1,000."""


def capabilities_at(calls: Calls, paths: Sequence[str], name: str = "the hub") -> dict[str, frozenset[str]]:
    """``deny`` for none, ``root`` for all. Raises Denied, naming ``name``."""
    unique, held = list(dict.fromkeys(paths)), dict[str, Any]()
    for start in range(0, len(unique), PATHS):
        body = {"paths": unique[start : start + PATHS]}
        answer = calls.post("ask for the rights on", name, "sys/capabilities-self", body)
        held |= answer.json()["data"]
    return {path: frozenset(held[path] or ()) for path in unique}


def acl_policies(calls: Calls) -> dict[str, str]:
    names = [name for name in calls.list("the hub's policies", POLICIES) if name != ROOT]
    answers = ((name, calls.find("read", f"the hub's policy {name}", f"{POLICIES}/{name}")) for name in names)
    return {name: str(answer.json()["data"]["policy"]) for name, answer in answers if answer is not None}
