"""Checks before any change: the right credential, and room for the new one everywhere."""

from collections.abc import Iterator

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import Ahead, CandidateRejected, Invalid, KeyturnError, TransientError
from keyturn.core.ports.hub import HubSecret
from keyturn.core.rotation_record import Rotation
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.references import Unfit
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.copies.lineage_check import ahead, lost_or_doubted
from keyturn.rotation.copies.push import check_owned, compare, refusal_of, refusal_of_whole, text_of
from keyturn.rotation.copies.rendered_templates import guard_rendered
from keyturn.rotation.repair.recoverable_values import recovery_needed
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action

HINT = "Nothing has been changed. Fix that, and rotate again"


def guard_destinations(workspace: Workspace, path: str, *, urgent: bool, by_hand: bool = False) -> None:
    """Refuse to begin where a destination is unreachable or could not take a new copy. Raises why.

    An ``urgent`` rotation ignores unreachable destinations. Where a copy is ahead of the hub, one ``by_hand``
    continues only if no copy's value has to be recovered first.
    """
    if not workspace.secret(path).destinations:
        return
    with record_action(workspace, "guard", path, changes=False):
        insist_on_destinations(workspace, path, urgent=urgent, by_hand=by_hand)


def insist_on_destinations(workspace: Workspace, path: str, *, urgent: bool, by_hand: bool) -> None:
    """Raises the first error of a destination, permanent ones before transient ones."""
    current = workspace.hub.read(path)
    fields = current.fields if current else ()
    # Two fields with one copy don't stop an emergency: they are reported after the push.
    places = all_places(workspace.catalogue, path, fields) if urgent else workspace.places(path, fields)
    refusals = side_by_side(lambda place: refusal_by_destination(workspace, path, place, current), places)
    errors = [error for error in refusals if error and not (urgent and isinstance(error, TransientError))]
    copy_ahead = any(isinstance(error, Ahead) for error in errors)
    lost = lost_or_doubted(workspace, path, current.version if current else 0)
    if lost:
        errors.append(ahead(workspace, path, lost, "rotate"))
    if by_hand and (lost or copy_ahead) and not recovery_needed(workspace, path, copy_ahead=copy_ahead):
        errors = [error for error in errors if not isinstance(error, Ahead)]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, TransientError))


def guard_candidate(workspace: Workspace, attempt: Attempt) -> None:
    """Refuse to install a candidate for another target or account, or one that a store or template can't take.

    Raises Invalid, and CandidateRejected where another candidate may do.
    """
    check_target(workspace, attempt.path, attempt.rotation)
    workspace.open_strategy(attempt.path).preflight(attempt.guarded, attempt.candidate)
    whole = (attempt.ground or SecretFields({})).merged(attempt.candidate)
    for destination in all_places(workspace.catalogue, attempt.path, whole):
        for flaw in flaws(workspace, destination, whole):
            raise unfit(workspace, attempt, destination, flaw)
        beside = attempt.serving if destination.shape.tells_previous else None
        for flaw in flaws(workspace, destination, whole, beside) if beside else ():
            raise Invalid("push to", destination.label, f"with the previous version next to it: {flaw}", HINT)
    guard_rendered(workspace, attempt)


def unfit(workspace: Workspace, attempt: Attempt, destination: Destination, flaw: str) -> KeyturnError:
    """The error for a candidate without a valid copy: only the candidate is at fault where CURRENT fits."""
    ground = attempt.ground
    if ground is None or any(flaws(workspace, destination, ground)):
        return Invalid("push to", destination.label, flaw, HINT)
    return CandidateRejected("push to", destination.label, flaw, "CURRENT stays as it is, and another one is made")


def check_target(workspace: Workspace, path: str, rotation: Rotation) -> None:
    """Raises Invalid where the target or strategy has changed since the rotation began."""
    strategy, target = workspace.secret(path).rotation.strategy, workspace.target(path)
    if rotation.strategy == strategy and rotation.target in ("", target):
        return
    problem = f"rotation {rotation.token} was begun as {rotation.strategy} at {rotation.target or 'no target'}"
    hint = f"The catalogue says {strategy} at {target or 'no target'} now: put it back until that rotation is retired"
    raise Invalid("go on with", path, problem, f"{hint}, or let --now leave behind what it has made there")


def describe_move(workspace: Workspace, path: str, rotation: Rotation) -> str:
    """Why nothing can be ended at its target, because the catalogue names another; empty where it doesn't."""
    try:
        check_target(workspace, path, rotation)
    except Invalid as error:
        return str(error)
    return ""


def refusal_by_destination(
    workspace: Workspace, path: str, destination: Destination, current: HubSecret | None
) -> KeyturnError | None:
    """Why a destination could not take a new copy; None when it can."""
    for flaw in flaws(workspace, destination, current.fields if current else None):
        return Invalid("push to", destination.label, flaw, HINT)
    try:
        if current:
            compare(workspace, current, destination)
            if misfit := refusal_of_whole(workspace, path, destination, text_of(current, destination)):
                return Invalid("push to", destination.label, misfit, HINT)
        else:
            check_owned(workspace, destination, workspace.open_copy(path, destination).describe(destination.name), path)
    except KeyturnError as error:
        return error
    return None


def flaws(
    workspace: Workspace, destination: Destination, fields: SecretFields | None, previous: SecretFields | None = None
) -> Iterator[str]:
    """What the destination's store does not allow, or what the secret lacks for it.

    ``previous`` are the fields of the version before, which the copy may contain too.
    """
    try:
        value = destination.shape.render(fields, previous) if fields is not None else None
    except Unfit as error:
        yield str(error)
        return
    if flaw := refusal_of(workspace, destination, value):
        yield flaw
