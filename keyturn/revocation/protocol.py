"""The protocol of an incident: end what leaked, replace and push, notify, clear, prove, close.

The conductor (``core.ports.conductor``) runs each ``yield from`` as a call or a task in Prefect. Progress is in the
hub, so any later run continues.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.ports.conductor import Conductor, Verb, take_side_by_side
from keyturn.revocation.conclude import conclude_incident
from keyturn.revocation.given_access import end_given_access
from keyturn.revocation.incidents.incident import STEPS, Incident, IncidentStatus, Step, steps_missing
from keyturn.revocation.incidents.store import load_status
from keyturn.revocation.steps import advance, may_mend
from keyturn.rotation.state.context import Workspace

Steps = tuple[Step, ...]

ENDING: Final[Steps] = (Step.CUT,)
SERVING: Final[Steps] = (Step.REPLACE, Step.PUSH)
"""What the users of a secret wait for."""
TELLING: Final[Steps] = (Step.NOTIFY,)
"""Waits for consumers, as long as they take to answer."""
CLEARING: Final[Steps] = (Step.HUB, Step.FORGET)
PROVING: Final[Steps] = (Step.PROVE,)

BESIDE: Final[Sequence[Steps]] = (TELLING, CLEARING)
"""Neither waits for the other; the proof waits for both, as it may repeat their steps."""
PHASES: Final[Sequence[Sequence[Steps]]] = ((SERVING,), BESIDE, (PROVING,))
"""The phases after the cuts; each covers all secrets before the next."""
AT_ONCE: Final[Mapping[Steps, int]] = {ENDING: 16, SERVING: 8, TELLING: 16, CLEARING: 8, PROVING: 8}
"""Secrets in parallel in each phase."""

FEW: Final = 8
"""Up to this many secrets, each step is shown by itself; above it, each phase."""


def wait(workspace: Workspace, seconds: float) -> None:
    """Wait for temporary failures to pass."""
    workspace.sleep(seconds)


LOOK: Final = Verb("look", load_status)
ADVANCE: Final = Verb("advance", advance)
END_ACCESS: Final = Verb("end access", end_given_access)
CONCLUDE: Final = Verb("conclude", conclude_incident)
PAUSE: Final = Verb("pause", wait)


def see_through(
    incident: str, pauses: Sequence[float], before: IncidentStatus | None = None
) -> Conductor[IncidentStatus]:
    """Continue an incident until nothing is left, again after each pause where that may help.

    Skips what was done ``before``, and closed incidents. Raises NotFound, and TransientError where the hub can't be
    asked to the end.
    """
    for pause in pauses:
        with suppress(TransientError):
            before = yield from try_once(incident, before)
            if not worth_another_try(before):
                return before
        yield from PAUSE(pause)
    return (yield from try_once(incident, before))


def try_once(incident: str, before: IncidentStatus | None) -> Conductor[IncidentStatus]:
    """Do all that is left once, and return the status; a failure stops no other step."""
    status = before or (yield from LOOK(incident))
    if not status.open:
        return status
    shown = before is None and len(status.incident.paths) <= FEW
    left = {
        secret.path: STEPS[status.incident.mode] if shown else steps_missing(status.incident.mode, secret)
        for secret in status.secrets
    }
    yield from take_ending(status.incident, left)
    for phases in PHASES:
        yield from take_phases(status.incident, phases, left)
    return (yield from CONCLUDE(incident))


def take_ending(incident: Incident, left: Mapping[str, Steps] | None = None) -> Conductor[None]:
    """End what leaked and, in parallel, temporary access, so that neither delays the other.

    Failures are stored in the hub, and stop nothing.
    """
    yield from take_side_by_side((take_phase(incident, ENDING, left), END_ACCESS(incident)))


def take_phases(
    incident: Incident, phases: Sequence[Steps], left: Mapping[str, Steps] | None = None
) -> Conductor[None]:
    """Run these phases in parallel: hanging steps delay no other phase."""
    for result in (yield from take_side_by_side(take_phase(incident, phase, left) for phase in phases)):
        if isinstance(result, KeyturnError):
            raise result


def take_phase(incident: Incident, phase: Steps, left: Mapping[str, Steps] | None = None) -> Conductor[None]:
    """Run one phase for all secrets in parallel, or the steps ``left`` of each."""
    wanted = {path: left[path] if left else STEPS[incident.mode] for path in incident.paths}
    chosen = {path: tuple(step for step in phase if step in steps) for path, steps in wanted.items()}
    protocols = (take_steps(incident, path, steps) for path, steps in chosen.items() if steps)
    yield from take_side_by_side(protocols, AT_ONCE[phase])


def take_steps(incident: Incident, path: str, steps: Steps) -> Conductor[None]:
    """Run these steps of one secret, in order; failures are stored, and stop nothing."""
    for asked_for in [(step,) for step in steps] if len(incident.paths) <= FEW else [steps]:
        with suppress(KeyturnError):
            yield from ADVANCE(path, incident, asked_for)


def worth_another_try(status: IncidentStatus) -> bool:
    """Whether a retry may fix something that is left."""
    mode = status.incident.mode
    stuck = [(secret, missing) for secret in status.secrets if (missing := steps_missing(mode, secret))]
    passing = bool(status.incident.left) or not stuck or any(may_mend(secret, missing) for secret, missing in stuck)
    return status.open and passing
