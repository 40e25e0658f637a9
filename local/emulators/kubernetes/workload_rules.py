"""What the API server takes as a Deployment, StatefulSet or DaemonSet, and its defaults.

Source: API reference, apps/v1.
"""

import copy
from collections.abc import Iterator
from typing import Any, Final

from local.emulators.kubernetes.messages import Cause

Tree = dict[str, Any]

DEFAULTS: Final[dict[str, Tree]] = {
    "Deployment": {"replicas": 1, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate"}},
    "StatefulSet": {"replicas": 1, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
    "DaemonSet": {"updateStrategy": {"type": "RollingUpdate"}},
}


def decoded(kind: str, tree: Tree) -> Tree:
    """The workload in a request, as it is kept; its status is the controller's alone."""
    made = {part: copy.deepcopy(whole) for part, whole in tree.items() if part != "status"}
    if isinstance(spec := made.get("spec"), dict):
        made["spec"] = copy.deepcopy(DEFAULTS[kind]) | spec
    return made


def problems(tree: Tree, before: Tree | None) -> Iterator[Cause]:
    """What is wrong with a workload, as a change of ``before`` where there was one."""
    selector = ((tree.get("spec") or {}).get("selector") or {}).get("matchLabels")
    labels = (((tree.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector:
        yield Cause("spec.selector", "Required value", "FieldValueRequired")
    elif not selector.items() <= labels.items():
        yield Cause("spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`")
    elif before is not None and before["spec"]["selector"] != tree["spec"]["selector"]:
        yield Cause("spec.selector", "Invalid value: field is immutable")
