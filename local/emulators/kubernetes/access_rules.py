"""What the API server takes as a Role, a RoleBinding or a ServiceAccount.

Source: API reference, rbac.authorization.k8s.io/v1: a binding's role can't be changed.
"""

import copy
from collections.abc import Iterator
from typing import Any

from local.emulators.kubernetes.messages import Cause

Tree = dict[str, Any]


def decoded(tree: Tree) -> Tree:
    """The object in a request, as it is kept."""
    return {part: copy.deepcopy(whole) for part, whole in tree.items()}


def problems(tree: Tree, before: Tree | None) -> Iterator[Cause]:
    """What is wrong with it, as a change of ``before`` where there was one."""
    if tree["kind"] == "Role":
        for at, rule in enumerate(tree.get("rules") or ()):
            for part in ("verbs", "apiGroups", "resources"):
                if not rule.get(part):
                    yield Cause(f"rules[{at}].{part}", "Required value", "FieldValueRequired")
    if tree["kind"] == "RoleBinding":
        if not (tree.get("roleRef") or {}).get("name"):
            yield Cause("roleRef.name", "Required value", "FieldValueRequired")
        elif before is not None and before["roleRef"] != tree["roleRef"]:
            yield Cause("roleRef", "Invalid value: cannot change roleRef")
