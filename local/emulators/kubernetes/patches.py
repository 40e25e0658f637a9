"""What a patch makes of an object. Sources: RFC 7386, and "Strategic merge patch"."""

import copy
from typing import Any, Final

Tree = dict[str, Any]

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
}
"""Lists whose members a strategic merge joins by this key."""


def merged(live: Any, patch: Any) -> Any:
    """A JSON merge patch: null removes, a list replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = copy.deepcopy(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def strategic(live: Any, patch: Any, name: str = "") -> Any:
    """The same, but that lists of named members are joined by their names."""
    if isinstance(patch, list) and isinstance(live, list) and (key := MERGE_KEYS.get(name)):
        return _joined(live, patch, key)
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = copy.deepcopy(live) if isinstance(live, dict) else {}
    for part, value in patch.items():
        if value is None:
            made.pop(part, None)
        else:
            made[part] = strategic(made.get(part), value, part)
    return made


def _joined(live: list[Tree], patch: list[Tree], key: str) -> list[Tree]:
    members = {member[key]: member for member in live}
    for member in patch:
        members[member[key]] = strategic(members.get(member[key]), member)
    return list(members.values())
