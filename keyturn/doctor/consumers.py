"""Check that each consumer answers, where it can, and has its webhook key."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from keyturn.core.errors import KeyturnError, NotFound, UnsupportedOperation
from keyturn.core.webhook_keys import WebhookKeys
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.rotation.state.context import Workspace, side_by_side

AREA: Final = "consumer"


def check_consumers(patient: Patient) -> Iterator[CheckResult]:
    """Check each consumer. One without a way to answer is well if its key is there."""
    names = sorted(patient.workspace.catalogue.consumers)
    yield from side_by_side(partial(_of_consumer, patient.workspace), names)


def _of_consumer(workspace: Workspace, name: str) -> CheckResult:
    path = workspace.catalogue.consumer(name).signing_key
    try:
        state = workspace.hub.read_state(path)
        if state is None:
            remedy = f"Write its webhook key to the field `key` at {path} in Keyturn's own mount of the hub"
            return CheckResult(AREA, name, Grade.FAILED, "its webhook key is not in the hub", remedy)
        WebhookKeys.from_data(path, state.data)
        workspace.sender.check_health(name)
    except UnsupportedOperation:
        return CheckResult(AREA, name, Grade.WELL, "its webhook key is in the hub; it has no way to answer")
    except NotFound as error:
        if name in asked_for_health(workspace):
            return CheckResult(AREA, name, Grade.FAILED, error.problem, error.hint)
        return CheckResult(AREA, name, Grade.WELL, f"its webhook key is in the hub; {error.problem}")
    except KeyturnError as error:
        return unseen(AREA, name, error)
    return CheckResult(AREA, name, Grade.WELL, "it says that it is well")


def asked_for_health(workspace: Workspace) -> frozenset[str]:
    """Return the canaries that a rollout asks for their health."""
    rollouts = (secret.rollout for secret in workspace.catalogue.secrets.values())
    return frozenset(name for rollout in rollouts if rollout and rollout.health for name in rollout.canary)
