"""The progress of a workload's rollout. Unlike ``kubectl rollout status``, old pods count as unfinished.

Source: rollout_status.go of kubectl, and the API reference of apps/v1.
"""

from collections.abc import Mapping
from typing import Any, Final

Workload = Mapping[str, Any]

TIMED_OUT: Final = "ProgressDeadlineExceeded"
UNSEEN: Final = "its controller has not seen the restart yet"


def describe_unfinished(word: str, workload: Workload) -> str:
    """The rest of the rollout of a deployment, stateful_set or daemon_set; empty if finished."""
    status = workload.get("status") or {}
    observed = int(status.get("observedGeneration") or 0)
    if observed < int(workload["metadata"].get("generation") or 1):
        return _halted(word, workload) or UNSEEN
    left = _nodes(workload, status) if word == "daemon_set" else _replicas(word, workload, status)
    return f"{left}{_because(word, workload)}" if left else ""


def has_timed_out(workload: Workload) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any(
        (condition.get("type"), condition.get("reason")) == ("Progressing", TIMED_OUT) for condition in conditions
    )


def _replicas(word: str, workload: Workload, status: Mapping[str, Any]) -> str:
    wanted = workload["spec"].get("replicas")
    wanted = 1 if wanted is None else int(wanted)
    updated, there = _count(status, "updatedReplicas"), _count(status, "replicas")
    ready = _count(status, "availableReplicas" if word == "deployment" else "readyReplicas")
    if updated < wanted:
        return f"{updated} of {wanted} replicas"
    if there > updated:
        return f"{_many(there - updated, 'old replica')} to end"
    if ending := _count(status, "terminatingReplicas"):
        return f"{_many(ending, 'old replica')} to end"
    return f"{ready} of {wanted} replicas are ready" if ready < wanted else ""


def _nodes(workload: Workload, status: Mapping[str, Any]) -> str:
    wanted = _count(status, "desiredNumberScheduled")
    updated, ready = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    if updated < wanted:
        return f"{updated} of {_many(wanted, 'node')}"
    return f"{ready} of {_many(wanted, 'node')} are ready" if ready < wanted else ""


def _because(word: str, workload: Workload) -> str:
    return f"; {why}" if (why := _halted(word, workload)) else ""


def _halted(word: str, workload: Workload) -> str:
    spec = workload["spec"]
    strategy = spec.get("updateStrategy") or {}
    if word == "deployment":
        return "it is paused: `kubectl rollout resume` lets it go on" if spec.get("paused") else ""
    if strategy.get("type") == "OnDelete":
        return "its update strategy is OnDelete: it waits until its pods are deleted"
    if held_back := int((strategy.get("rollingUpdate") or {}).get("partition") or 0):
        return f"its partition keeps the first {held_back} as they are: set that to 0"
    return ""


def _count(status: Mapping[str, Any], name: str) -> int:
    return int(status.get(name) or 0)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
