"""Replacing the ended credential: a new value, every copy, and notices to consumers."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from keyturn.catalogue.destinations import DeclaredPlace, Destination
from keyturn.core.errors import CandidateRejected, CertainRefusal, Conflict, KeyturnError, unexpected
from keyturn.core.notifications.channel import Announcement
from keyturn.core.notifications.notice_state import Heard, made_at
from keyturn.core.notifications.notices import SECRET_REVOKED
from keyturn.core.rotation_record import IN_FORCE, Record, Rotation, Stage
from keyturn.core.schedule.due import Reason
from keyturn.revocation.elsewhere import OTHER_CATALOGUE, contradiction
from keyturn.revocation.findings.leaked_versions import holds_leaked, last_leaked
from keyturn.revocation.incidents.incident import Incident, Mode, Result, SecretProgress, Step
from keyturn.revocation.incidents.store import load_incident
from keyturn.revocation.lock import closed_cut, cut_token, newest_version
from keyturn.revocation.step_result import StepResult, events_since_replacement
from keyturn.rotation.copies.push import known_places, push_destination
from keyturn.rotation.copies.restarts import list_names, restart, restarting
from keyturn.rotation.decide import CANDIDATES, Decision
from keyturn.rotation.declared import describe_missing_fields, missing_fields
from keyturn.rotation.retire import close_retired, tidy
from keyturn.rotation.run import candidate_in_force
from keyturn.rotation.state.agreements import partners_with
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.notice_store import change_part, part_of
from keyturn.rotation.state.record_store import load_record, rewrite
from keyturn.strategies.manual import ManualSettings

ORGANISATION: Final = "organisation "
"""Prefix of the place of such an event."""


def tell_partners(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Notify each partner once; one without a channel is left to a person."""
    events = events_since_replacement(progress.events)
    heard = {event.place for event in events if event.step is Step.NOTIFY and event.result is not Result.FAILED}
    for partner, places in partners_with(workspace.catalogue, progress.path).items():
        if (name := f"{ORGANISATION}{partner}") not in heard:
            with result.at(name):
                tell_partner(workspace, incident, progress, partner, places, result)


def tell_partner(
    workspace: Workspace,
    incident: Incident,
    progress: SecretProgress,
    partner: str,
    places: list[DeclaredPlace],
    result: StepResult,
) -> None:
    """Notify one partner, and record it. Raises the channel's error."""
    name, copies = f"{ORGANISATION}{partner}", ", ".join(map(copy_name, places))
    channel = workspace.partner_channel(partner) if workspace.partner_channel else None
    with record_action(workspace, "tell organisation", progress.path, place=partner, note=incident.id):
        if channel is None:
            words = f"it has a copy ({copies}), and the operator's file names no channel for it: notify it by hand"
            return result.add_remaining(name, words)
        subject = f"Keyturn: {progress.path} of {workspace.catalogue.policy.organisation} is revoked"
        body = f"Your copy: {copies}\nIncident: {incident.id}\nEverything that uses it has to read it again."
        channel.send(Announcement(f"{incident.id}-{partner}-{progress.path}", subject, body))
    return result.add_done(name, f"it has a copy ({copies}), and was notified")


def copy_name(place: DeclaredPlace) -> str:
    """A copy's name there; the pattern for copies of each field."""
    return place.name if isinstance(place, Destination) else place.place.name


def replace_leaked(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Put a new credential in force, without a grace period. In force already is success."""
    path = progress.path
    if isinstance(workspace.secret(path).rotation, ManualSettings):
        return await_a_person(workspace, progress, result)
    record = load_record(workspace, path)
    if other := left_without_value(workspace, incident, record):
        problem = f"incident {other} wants it left without a new value"
        return result.add_left("", problem, f"Rotate it once that is over: `keyturn rotate {path} --now`")
    if progress.unseen and workspace.hub.read(path) is None and record.rest is None:
        hint = f"Write that to the hub at {path} as its next version, without a credential, and it continues with it"
        return result.add_left("", "the fields next to the credential, such as host and port, are unknown", hint)
    if words := contradiction(workspace, progress, record):
        return result.add_left("", f"nothing is replaced: {words}", OTHER_CATALOGUE)
    if words := declared_wrongly(workspace, incident, progress, record):
        hint = f"Correct the catalogue. To add what it declares: `keyturn rotate {path} --now --change-account`"
        return result.add_left("", words, hint)
    rotation = put_in_force(workspace, incident, progress)
    close_at_once(workspace, incident, progress, rotation)
    current = workspace.hub.read(path)
    result.changes = {"version": rotation.version or 0, "fingerprint": rotation.fingerprint}
    if current and not holds_leaked(workspace, progress, current):
        result.changes = {
            "version": current.version,
            "fingerprint": workspace.fingerprint(current.path, current.fields),
        }
    made = ", made by what is under in_emergency" if has_emergency_settings(workspace, path) else ""
    return result.add_done("", f"version {result.changes['version']} is in force{made}")


def declared_wrongly(workspace: Workspace, incident: Incident, progress: SecretProgress, record: Record) -> str:
    """How a replacement's fields would differ from the leaked ones; empty after a replacement."""
    current = workspace.hub.read(progress.path)
    if current is None or replacement_of(record, cut_token(incident.id, progress.path)):
        return ""
    missing = missing_fields(workspace, progress.path, current.fields)
    return describe_missing_fields(missing, current.fields) if missing else ""


def left_without_value(workspace: Workspace, incident: Incident, record: Record) -> str:
    """The later incident that prevents a replacement, else empty."""
    other = record.frozen
    if other in ("", incident.id):
        return ""
    return other if load_incident(workspace, other).mode is Mode.REVOKE_ONLY else ""


def is_overwritten(workspace: Workspace, progress: SecretProgress) -> bool:
    """Whether a leaked value was written over the replacement."""
    current = workspace.hub.read(progress.path)
    return current is not None and holds_leaked(workspace, progress, current)


def await_a_person(workspace: Workspace, progress: SecretProgress, result: StepResult) -> None:
    """Accept a person's value once the hub has a newer version that did not leak."""
    path, current = progress.path, workspace.hub.read(progress.path)
    if current is None or current.version <= last_leaked(progress):
        hint = f"End it where it is honoured, and write the new value to the hub at {path}"
        return result.add_left("", "a person replaces it", hint)
    if holds_leaked(workspace, progress, current):
        hint = f"Write a new value to the hub at {path}"
        return result.add_left(
            "", f"version {current.version}, which was written by hand, is the value that leaked", hint
        )
    result.changes = {"version": current.version, "fingerprint": workspace.fingerprint(current.path, current.fields)}
    return result.add_done("", f"written by hand: version {current.version}")


def replacement_of(record: Record, token: str) -> Rotation | None:
    """The rotation that put a credential in force since the cut ``token``, or None."""
    cut = closed_cut(record, token)
    later = (*record.history, *([record.rotation] if record.rotation else []))
    return next(
        (
            rotation
            for rotation in reversed(later)
            if cut
            and rotation.sequence > cut.sequence
            and rotation.stage in (*IN_FORCE, Stage.RETIRED)
            and rotation.version
        ),
        None,
    )


def put_in_force(workspace: Workspace, incident: Incident, progress: SecretProgress) -> Rotation:
    """Return the rotation since the cut, else try a few candidates until the target accepts one."""
    path, reason, refused = progress.path, Reason("Revoked", f"incident {incident.id}"), 0
    making = for_emergency(workspace, path)
    while True:
        # Read before the record, so that a replacement by another run is not replaced again.
        newest = newest_version(workspace, path)
        rotation = replacement_of(load_record(workspace, path), cut_token(incident.id, path))
        if rotation and not is_overwritten(workspace, progress):
            return rotation
        try:
            return candidate_in_force(making, path, Decision(reason, newest, urgent=True, by_hand=True))
        except CertainRefusal:
            raise  # any other candidate would be refused too
        except CandidateRejected:
            refused += 1  # counted here: the record keeps too few rotations to count them
            if refused >= CANDIDATES:
                raise


def for_emergency(workspace: Workspace, path: str) -> Workspace:
    """The workspace with the catalogue's emergency settings for new candidates."""
    if workspace.open_replacement is None or not has_emergency_settings(workspace, path):
        return workspace
    return replace(workspace, open_strategy=workspace.open_replacement)


def has_emergency_settings(workspace: Workspace, path: str) -> bool:
    """Whether the catalogue has emergency settings for the secret."""
    rotation = workspace.secret(path).rotation
    return rotation.for_emergency() is not rotation


def close_at_once(workspace: Workspace, incident: Incident, progress: SecretProgress, rotation: Rotation) -> None:
    """Close the rotation without a grace period. Closed before is success.

    A value that a person put in force since the cut still works, and is retired as usual.
    """
    path, record = progress.path, load_record(workspace, progress.path)
    if record.retiring is None or record.retiring.token != rotation.token:
        return
    before = None if record.dead(rotation.base_version) else workspace.hub.read(path, rotation.base_version)
    if before is not None and not holds_leaked(workspace, progress, before):
        return
    tidy(workspace, path)
    close_retired(
        workspace, path, record, record.retiring, f"the credential before it was ended by incident {incident.id}"
    )


def push_everywhere(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Update every copy, in parallel; a failure stops no other copy."""
    if Step.REPLACE not in progress.done:
        return result.add_left("", "there is no new value yet")
    places, unknown = known_places(workspace, progress.path)
    for pushed in (*side_by_side(lambda place: push_destination(workspace, progress.path, place), places), *unknown):
        label = f"{pushed.store}:{pushed.name}"
        if pushed.in_step:
            result.add_done(label, f"{pushed.state}, version {pushed.version}")
        else:
            result.add_left(label, pushed.error or f"it is {pushed.state}", kind=pushed.kind)
    return restart_everyone(workspace, progress.path, result)


def restart_everyone(workspace: Workspace, path: str, result: StepResult) -> None:
    """Restart the workloads that use the copies, without waiting for their pods."""
    for store, names in restarting(workspace, known_places(workspace, path)[0]).items():
        with result.at(store):
            if workloads := restart(workspace, store, names, path):
                result.add_done(store, f"restarted {list_names(workloads)}")


def tell_everyone(workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult) -> None:
    """Notify all consumers in parallel that the old value has ended, unless they acknowledged."""
    tell_partners(workspace, incident, progress, result)
    events = events_since_replacement(progress.events)
    heard = {event.place for event in events if (event.step, event.result) == (Step.NOTIFY, Result.DONE)}
    silent = [consumer for consumer in workspace.secret(progress.path).consumers if consumer not in heard]
    version = progress.version or max((leaked.version for leaked in progress.old), default=0)
    if silent and not version:
        return result.add_done("", "there is no version to notify about")
    side_by_side(
        lambda consumer: result.attempt(consumer, lambda: notify_consumer(workspace, progress, version, consumer)),
        silent,
    )
    heard |= {event.place for event in result.events if event.result is Result.DONE}
    heard = {place for place in heard if not place.startswith(ORGANISATION)}
    if isinstance(workspace.secret(progress.path).rotation, ManualSettings) and Step.REPLACE in progress.done:
        return record_written(workspace, incident, progress, heard)
    return record_acknowledged(workspace, incident, progress.path, heard)


def record_acknowledged(workspace: Workspace, incident: Incident, path: str, heard: Collection[str]) -> None:
    """Record the consumers that acknowledged the replacement, if there is one."""
    record = load_record(workspace, path)
    rotation = replacement_of(record, cut_token(incident.id, path))
    if rotation is None or set(rotation.acknowledged) >= set(heard):
        return
    noted = replace(rotation, acknowledged=tuple(sorted({*rotation.acknowledged, *heard})))
    history = tuple(noted if past == rotation else past for past in record.history)
    try:
        rewrite(workspace, path, replace(record, history=history))
    except Conflict:
        record_acknowledged(workspace, incident, path, heard)


def record_written(workspace: Workspace, incident: Incident, progress: SecretProgress, heard: Collection[str]) -> None:
    """Record which consumers know a person's value, and release the secret, like a promotion.

    What the incident ended stays dead, by its version and by its value.
    """
    path, info = progress.path, workspace.hub.describe(progress.path)
    if info is None or info.version != progress.version:
        return
    heard_of = Heard(info.version, made_at(info), progress.fingerprint, told=tuple(sorted(heard)))
    change_part(workspace, part_of(path), lambda entries: {**entries, path: heard_of})
    record = load_record(workspace, path)
    if record.frozen != incident.id or record.open:
        return
    try:
        rewrite(workspace, path, replace(record, frozen=""))
    except Conflict:
        record_written(workspace, incident, progress, heard)


def notify_consumer(workspace: Workspace, progress: SecretProgress, version: int, consumer: str) -> str:
    """Notify one consumer, and return the outcome in words. Raises its refusal."""
    at, replaced = progress.cut_at or workspace.clock(), bool(progress.version)
    try:
        workspace.sender.deliver(consumer, progress.path, version, at, SECRET_REVOKED, replaced=replaced)
    except KeyturnError:
        raise
    except Exception as error:  # noqa: BLE001  one that is not foreseen stops no other consumer
        raise unexpected(error) from None
    if workspace.catalogue.consumer(consumer).answers:
        return "has acknowledged"
    return "its notice was delivered; it has no health endpoint, so it is unknown whether it uses the new value"
