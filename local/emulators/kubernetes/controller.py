"""What the controllers tell of a workload in its status, with the pods that it would have.

A rollout is finished at once, but for workloads that are ``held``: theirs begins and goes no further, until somebody
writes their status, as a controller does. A paused Deployment, the update strategy OnDelete and a partition keep old
pods as they do in a cluster. Source: apps/v1, API reference, and the controllers' syncStatus.
"""

import hashlib
import json
from typing import Any, Final

Tree = dict[str, Any]

NODES: Final = 2
"""On which a DaemonSet has a pod each."""


class Controller:
    """Of every kind. ``held`` are names of workloads; it may be changed at any time."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def status(self, kind: str, made: Tree, live: Tree | None) -> Tree:
        """The status once its controller has seen this change of ``live``."""
        before: Tree = (live or {}).get("status") or {}
        same = live is not None and live["spec"]["template"] == made["spec"]["template"]
        observed = {"observedGeneration": made["metadata"]["generation"]}
        if same and made["metadata"]["name"] in self.held:
            return before | observed
        pods = NODES if kind == "DaemonSet" else int(made["spec"]["replicas"])
        old = _updated(kind, before) if same else 0
        new = old if self._stays(kind, made, live) else pods - (_kept(made) if live else 0)
        return REPORTS[kind](pods, min(pods, max(old, new)), before, _revision(made)) | observed

    def _stays(self, kind: str, made: Tree, live: Tree | None) -> bool:
        """Whether pods that are there stay as they are."""
        if made["metadata"]["name"] in self.held:
            return True
        if kind == "Deployment":
            return bool(made["spec"].get("paused"))
        return live is not None and (made["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"


def _kept(made: Tree) -> int:
    """How many pods a partition keeps."""
    return int(((made["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)


def _updated(kind: str, status: Tree) -> int:
    return int(status.get("updatedNumberScheduled" if kind == "DaemonSet" else "updatedReplicas") or 0)


def _revision(made: Tree) -> str:
    return hashlib.sha256(json.dumps(made["spec"]["template"], sort_keys=True).encode()).hexdigest()[:10]


def _deployment(pods: int, updated: int, before: Tree, revision: str) -> Tree:
    reason = "NewReplicaSetAvailable" if updated == pods else "ReplicaSetUpdated"
    conditions = [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": reason},
    ]
    counts = {"replicas": pods, "updatedReplicas": updated, "readyReplicas": pods, "availableReplicas": pods}
    return {**{name: count for name, count in counts.items() if count}, "conditions": conditions}


def _stateful_set(pods: int, updated: int, before: Tree, revision: str) -> Tree:
    current = revision if updated == pods else before.get("currentRevision", revision)
    counts = {"replicas": pods, "updatedReplicas": updated, "readyReplicas": pods, "availableReplicas": pods}
    return {**counts, "currentRevision": current, "updateRevision": revision}


def _daemon_set(pods: int, updated: int, before: Tree, revision: str) -> Tree:
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable")
    return {**dict.fromkeys(names, pods), "updatedNumberScheduled": updated, "numberMisscheduled": 0}


REPORTS: Final = {"Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set}
