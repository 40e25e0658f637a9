"""Progress of a Kubernetes rollout, as kubectl reports it."""

from typing import Any

import pytest

from keyturn.providers.kubernetes.rollout import describe_unfinished, has_timed_out

DEPLOYED = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
SET = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}
DAEMONS = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
UNSEEN = "its controller has not seen the restart yet"


def told(word: str, spec: dict[str, Any], status: dict[str, Any]) -> str:
    return describe_unfinished(word, {"metadata": {"generation": 2}, "spec": {"replicas": 3, **spec}, "status": status})


@pytest.mark.parametrize(
    ("spec", "changes", "left"),
    [
        ({}, {}, ""),
        ({}, {"observedGeneration": 1}, UNSEEN),
        ({}, {"updatedReplicas": 1}, "1 of 3 replicas"),
        ({}, {"updatedReplicas": None}, "0 of 3 replicas"),
        ({}, {"replicas": 4}, "1 old replica to end"),
        ({}, {"terminatingReplicas": 2}, "2 old replicas to end"),
        ({}, {"availableReplicas": 2}, "2 of 3 replicas are ready"),
        ({"replicas": None}, {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, ""),
        ({"replicas": 0}, {"replicas": None, "updatedReplicas": None, "availableReplicas": None}, ""),
        ({"replicas": 0}, {"replicas": 2, "updatedReplicas": None}, "2 old replicas to end"),
        (
            {"paused": True},
            {"updatedReplicas": None},
            "0 of 3 replicas; it is paused: `kubectl rollout resume` lets it go on",
        ),
    ],
)
def test_a_deployment(spec: dict[str, Any], changes: dict[str, Any], left: str) -> None:
    assert told("deployment", spec, DEPLOYED | changes) == left


@pytest.mark.parametrize(
    ("strategy", "changes", "left"),
    [
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, {}, ""),
        ({}, {"observedGeneration": None}, UNSEEN),
        ({}, {"updatedReplicas": 2}, "2 of 3 replicas"),
        ({}, {"readyReplicas": 2}, "2 of 3 replicas are ready"),
        (
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
            {"updatedReplicas": 1},
            "1 of 3 replicas; its partition keeps the first 2 as they are: set that to 0",
        ),
        (
            {"type": "OnDelete"},
            {"updatedReplicas": 1},
            "1 of 3 replicas; its update strategy is OnDelete: it waits until its pods are deleted",
        ),
        ({"type": "OnDelete"}, {}, ""),
    ],
)
def test_a_stateful_set(strategy: dict[str, Any], changes: dict[str, Any], left: str) -> None:
    assert told("stateful_set", {"updateStrategy": strategy}, SET | changes) == left


@pytest.mark.parametrize(
    ("strategy", "changes", "left"),
    [
        ({}, {}, ""),
        ({}, {"observedGeneration": 1}, UNSEEN),
        ({}, {"updatedNumberScheduled": 2}, "2 of 3 nodes"),
        ({}, {"numberAvailable": 1}, "1 of 3 nodes are ready"),
        ({}, {"desiredNumberScheduled": 0, "updatedNumberScheduled": None, "numberAvailable": None}, ""),
        (
            {"type": "OnDelete"},
            {"updatedNumberScheduled": 0},
            "0 of 3 nodes; its update strategy is OnDelete: it waits until its pods are deleted",
        ),
    ],
)
def test_a_daemon_set(strategy: dict[str, Any], changes: dict[str, Any], left: str) -> None:
    assert told("daemon_set", {"updateStrategy": strategy}, DAEMONS | changes) == left


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, False),
        ([{"type": "Progressing", "reason": "ReplicaSetUpdated"}], False),
        ([{"type": "Available"}, {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}], True),
    ],
)
def test_a_deployment_that_makes_no_progress_is_given_up(conditions: Any, expected: bool) -> None:
    assert has_timed_out({"status": {"conditions": conditions}}) is expected
