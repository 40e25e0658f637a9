"""An incident seen through, said once: end what leaked, serve who waits for the new value, tell, clear, prove, close.

Each ``yield from`` is a step that whoever conducts it carries out (``core.ports.conductor``): as a plain function
here, as a task in Prefect. How far every secret is, and what a step has left, stands in the hub: whoever comes next
goes on from there.
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
"""What those who use a secret wait for."""
TELLING: Final[Steps] = (Step.NOTIFY,)
"""What waits for those who use it, as long as they take to answer."""
CLEARING: Final[Steps] = (Step.HUB, Step.FORGET)
PROVING: Final[Steps] = (Step.PROVE,)

BESIDE: Final[Sequence[Steps]] = (TELLING, CLEARING)
"""Neither waits for the other. The proof waits for both: what it wants done anew, nobody may be at work on."""
PHASES: Final[Sequence[Sequence[Steps]]] = ((SERVING,), BESIDE, (PROVING,))
"""Once all has ended, each for all secrets before the next one for any."""
AT_ONCE: Final[Mapping[Steps, int]] = {ENDING: 16, SERVING: 8, TELLING: 16, CLEARING: 8, PROVING: 8}
"""So many secrets at once in each phase."""

FEW: Final = 8
"""Secrets of which each step is asked for by itself, so that it is shown; of more, each phase is."""


def wait(workspace: Workspace, seconds: float) -> None:
    """Let what may pass by itself pass."""
    workspace.sleep(seconds)


LOOK: Final = Verb("look", load_status)
ADVANCE: Final = Verb("advance", advance)
END_ACCESS: Final = Verb("end access", end_given_access)
CONCLUDE: Final = Verb("conclude", conclude_incident)
PAUSE: Final = Verb("pause", wait)


def see_through(
    incident: str, pauses: Sequence[float], before: IncidentStatus | None = None
) -> Conductor[IncidentStatus]:
    """Go on with an incident until nothing is left; after each of these pauses again, where that may help.

    Of one that stood so ``before``, what was done then is passed over. One that is closed is left alone. Raises
    NotFound, and TransientError where the hub can't be asked to the end.
    """
    for pause in pauses:
        with suppress(TransientError):
            before = yield from try_once(incident, before)
            if not worth_another_try(before):
                return before
        yield from PAUSE(pause)
    return (yield from try_once(incident, before))


def try_once(incident: str, before: IncidentStatus | None) -> Conductor[IncidentStatus]:
    """Everything that is left of it, once: how it stands then. One that fails stops no other."""
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
    """End what leaked and, beside it, what was given for a while: a target that hangs holds neither up for the other.

    What could not be ended is kept in the hub, and stops nothing.
    """
    yield from take_side_by_side((take_phase(incident, ENDING, left), END_ACCESS(incident)))


def take_phases(
    incident: Incident, phases: Sequence[Steps], left: Mapping[str, Steps] | None = None
) -> Conductor[None]:
    """These phases, beside each other where they are several: one whose steps hang holds no other up."""
    for result in (yield from take_side_by_side(take_phase(incident, phase, left) for phase in phases)):
        if isinstance(result, KeyturnError):
            raise result


def take_phase(incident: Incident, phase: Steps, left: Mapping[str, Steps] | None = None) -> Conductor[None]:
    """The steps of one phase, of all secrets side by side: those that are ``left`` of each, or all of its mode."""
    wanted = {path: left[path] if left else STEPS[incident.mode] for path in incident.paths}
    chosen = {path: tuple(step for step in phase if step in steps) for path, steps in wanted.items()}
    protocols = (take_steps(incident, path, steps) for path, steps in chosen.items() if steps)
    yield from take_side_by_side(protocols, AT_ONCE[phase])


def take_steps(incident: Incident, path: str, steps: Steps) -> Conductor[None]:
    """These steps of one secret, in order. What one could not do is kept in the hub, and stops none after it."""
    for asked_for in [(step,) for step in steps] if len(incident.paths) <= FEW else [steps]:
        with suppress(KeyturnError):
            yield from ADVANCE(path, incident, asked_for)


def worth_another_try(status: IncidentStatus) -> bool:
    """Whether something is left that may pass by itself."""
    mode = status.incident.mode
    stuck = [(secret, missing) for secret in status.secrets if (missing := steps_missing(mode, secret))]
    passing = bool(status.incident.left) or not stuck or any(may_mend(secret, missing) for secret, missing in stuck)
    return status.open and passing
