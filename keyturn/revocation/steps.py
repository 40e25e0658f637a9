"""Runs the steps of a secret; the hub stores what they did and what is left."""

from typing import Final

from keyturn.catalogue.files.partial import left_out_entry
from keyturn.core import errors
from keyturn.core.actor import working_at
from keyturn.core.errors import KeyturnError, TerminalError, TransientError
from keyturn.revocation.end_credentials import cut_credentials
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident, Result, SecretProgress, Step, steps_missing
from keyturn.revocation.incidents.store import Versioned
from keyturn.revocation.purge import clear_hub, clear_stores
from keyturn.revocation.replace import push_everywhere, replace_leaked, tell_everyone
from keyturn.revocation.step_result import StepFunction, StepResult
from keyturn.revocation.verify import prove_secret
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action, written_together

FUNCTIONS: Final[dict[Step, StepFunction]] = {
    Step.CUT: cut_credentials,
    Step.REPLACE: replace_leaked,
    Step.PUSH: push_everywhere,
    Step.NOTIFY: tell_everyone,
    Step.HUB: clear_hub,
    Step.FORGET: clear_stores,
    Step.PROVE: prove_secret,
}


def take_step(workspace: Workspace, incident: Incident, path: str, step: Step) -> SecretProgress:
    """Run one step of one secret; errors go into the progress. Done before is success."""
    progress, result, first = SecretProgress(path, ""), StepResult(workspace, step), None
    with result.at(""):
        first = incident_store.load_versioned(workspace, incident, path)
        progress = first[0]
        if progress.has_done(step):
            return progress
        if step is not Step.CUT and progress.cut_at is None:
            return progress  # what prevents the cut is reported once
        if path not in workspace.catalogue.secrets:
            if step is not steps_missing(incident.mode, progress)[0]:
                return progress
            result.add_left("", *why_undeclared(workspace, path))
        elif step is Step.CUT:  # it records itself, once it holds the secret
            FUNCTIONS[step](workspace, incident, progress, result)
        else:
            # Its entries are written before its progress is, so a step that counts as done is recorded.
            with (
                written_together(workspace),
                record_action(workspace, f"revoke: {step}", path, note=incident.id) as doing,
            ):
                FUNCTIONS[step](workspace, incident, progress, result)
                doing.version = result.changes.get("version", progress.version)
                doing.fingerprint = result.changes.get("fingerprint", progress.fingerprint)
                doing.note = "; ".join((incident.id, *result.left))
    # The cut has written its facts since.
    return save_progress(workspace, incident, progress, result, None if step is Step.CUT else first)


def why_undeclared(workspace: Workspace, path: str) -> tuple[str, str]:
    """Why the catalogue has no entry for the secret, and what to do."""
    if problem := left_out_entry(workspace.catalogue.left_out, "secrets", path):
        return f"its entry in the catalogue is broken: {problem.message}", f"Correct {problem.file}:{problem.line}"
    return "the catalogue declares it no more", "Put it back there until the incident is closed"


def save_progress(
    workspace: Workspace, incident: Incident, progress: SecretProgress, result: StepResult, first: Versioned | None
) -> SecretProgress:
    """Store the progress; if that fails, the step is left to do. ``first`` is the stored one, if still the newest."""
    try:
        return incident_store.update_progress(workspace, incident, progress.path, result.onto, first=first)
    except KeyturnError as error:
        result.add_failure("", error)
        return result.onto(progress)


def advance(workspace: Workspace, path: str, incident: Incident, steps: tuple[Step, ...]) -> SecretProgress:
    """Run these steps of one secret, in order; a failure stops no later step.

    Raises what is left, as TransientError where a retry may help, else as TerminalError.
    """
    for step in steps:
        with working_at(incident.id):
            progress = take_step(workspace, incident, path, step)
    if missing := tuple(step for step in steps if not progress.has_done(step)):
        raise unfinished_error(progress, missing)
    return progress


def unfinished_error(progress: SecretProgress, missing: tuple[Step, ...]) -> KeyturnError:
    """The error for what is left of these steps."""
    left = "; ".join(line for line in progress.left if line.partition(":")[0] in missing)
    kind = TransientError if may_mend(progress, missing) else TerminalError
    hint = "It keeps the incident open, and is tried again with it"
    return kind("revoke", progress.path, left or f"{', '.join(missing)} not done", hint)


def may_mend(progress: SecretProgress, missing: tuple[Step, ...]) -> bool:
    """Whether a retry may finish these steps, without a person."""
    kinds = {event.kind for event in progress.events if event.step in missing and event.result is Result.FAILED}
    return any(issubclass(getattr(errors, kind, TransientError), TransientError) for kind in kinds or {""})
