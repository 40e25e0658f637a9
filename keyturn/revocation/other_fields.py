"""The fields outside the credential, and whether one holds a leaked value."""

from collections.abc import Sequence

from keyturn.core.fingerprint import is_noted
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Mode, SecretProgress
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.secret_fields import ROTATED_AT, secret_fields
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.manual import ManualSettings


def fields_beside(workspace: Workspace, path: str, versions: Sequence[HubSecret]) -> SecretFields | None:
    """The newest version's fields outside the credential; ``versions`` are newest first.

    None for manual secrets: no strategy knows their secret fields.
    """
    if not versions or isinstance(workspace.secret(path).rotation, ManualSettings):
        return None
    made = {*workspace.open_strategy(path).credential_fields, ROTATED_AT}
    return SecretFields({name: value for name, value in versions[0].fields.reveal().items() if name not in made})


def secret_digests(workspace: Workspace, secret: HubSecret) -> dict[str, str]:
    """The fingerprint of each field that may grant access."""
    fields = secret_fields(workspace, secret)
    return {name: workspace.fingerprint_of(secret.path, secret.fields[name]) for name in fields}


def leaked_fields(workspace: Workspace, progress: SecretProgress, fields: SecretFields) -> tuple[str, ...]:
    """The fields that hold the value of any leaked field."""
    leaks = {digest for leaked in progress.old for digest in leaked.fields.values()}
    made = ((name, workspace.fingerprint_of(progress.path, text)) for name, text in fields.items())
    return tuple(name for name, digest in made if is_noted(leaks, digest))


def kept_names(workspace: Workspace, path: str, fields: SecretFields) -> tuple[str, ...]:
    """The fields that a rotation keeps."""
    made = {*workspace.open_strategy(path).credential_fields, ROTATED_AT}
    return tuple(name for name, _ in fields.items() if name not in made)


# --- the proof


def prove_kept_fields(
    workspace: Workspace, mode: Mode, progress: SecretProgress, current: HubSecret | None, result: StepResult
) -> None:
    """Check whether a kept field holds what any field leaked."""
    with result.checking(CheckSubject.KEPT_FIELDS, ""):
        if not any(leaked.fields for leaked in progress.old):
            return result.check(CheckSubject.KEPT_FIELDS, "", *unknown_answer(workspace, progress.path, current))
        stored = load_record(workspace, progress.path).rest
        fields = current.fields if current else stored
        if fields is None:
            return result.check(CheckSubject.KEPT_FIELDS, "", CheckAnswer.NONE)
        leaking = leaked_fields(workspace, progress, fields)
        for name in leaking:
            report_kept(progress, name, result, served=current is not None and mode is Mode.REPLACE)
        names = ", ".join(kept_names(workspace, progress.path, fields))
        if not leaking:
            result.check(CheckSubject.KEPT_FIELDS, "", CheckAnswer.CLEAR if names else CheckAnswer.NONE, names)
    return None


def report_kept(progress: SecretProgress, name: str, result: StepResult, *, served: bool) -> None:
    """Report one field that holds a leaked value."""
    if not served:
        words = "Keyturn keeps it for the next rotation, with the value that leaked"
        return result.check(CheckSubject.KEPT_FIELDS, name, CheckAnswer.IRREVOCABLE, words)
    words = f"the field {name} holds a value that leaked, and no rotation replaces it"
    hint = (
        f"End it where it is honoured, and write a new value to that field in the hub at {progress.path}. "
        f"Where it is no secret, list it in the catalogue under public_fields"
    )
    return result.check(CheckSubject.KEPT_FIELDS, name, CheckAnswer.REMAINING, words, hint)


def unknown_answer(workspace: Workspace, path: str, current: HubSecret | None) -> tuple[CheckAnswer, str]:
    """The answer if no leaked version could be compared by field."""
    names = kept_names(workspace, path, current.fields) if current else ()
    secret = [name for name in (secret_fields(workspace, current) if current else ()) if name in names]
    if not secret:
        return CheckAnswer.NONE, ""
    return CheckAnswer.NOT_CHECKED, f"the hub has no leaked version left to compare {', '.join(secret)} with"
