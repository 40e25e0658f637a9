"""The fields that stay whatever becomes of the credential, and whether one of them holds what has leaked."""

from collections.abc import Sequence

from keyturn.core.fingerprint import is_noted
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Mode, SecretProgress
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.secret_fields import ROTATED_AT, secret_fields
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.records import load_record
from keyturn.strategies.manual import ManualSettings


def fields_beside(workspace: Workspace, path: str, versions: Sequence[HubSecret]) -> SecretFields | None:
    """The fields of the newest of ``versions``, which comes first, that are no part of the credential; None for none.

    Nothing is kept of what a person replaces, since no strategy says which of its fields are secret.
    """
    if not versions or isinstance(workspace.secret(path).rotation, ManualSettings):
        return None
    made = {*workspace.open_strategy(path).credential_fields, ROTATED_AT}
    return SecretFields({name: value for name, value in versions[0].fields.reveal().items() if name not in made})


def secret_digests(workspace: Workspace, secret: HubSecret) -> dict[str, str]:
    """The fingerprint of each field that may let somebody in."""
    fields = secret_fields(workspace, secret)
    return {name: workspace.fingerprint_of(secret.path, secret.fields[name]) for name in fields}


def leaked_fields(workspace: Workspace, progress: SecretProgress, fields: SecretFields) -> tuple[str, ...]:
    """The fields that hold what one field of a leaked version held, whichever."""
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
    """Whether a field that the rotation keeps holds what has leaked, in whichever field that was."""
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
    """One field that holds what has leaked."""
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
    """The answer where no leaked version could be compared field by field."""
    names = kept_names(workspace, path, current.fields) if current else ()
    secret = [name for name in (secret_fields(workspace, current) if current else ()) if name in names]
    if not secret:
        return CheckAnswer.NONE, ""
    return CheckAnswer.NOT_CHECKED, f"the hub has no leaked version left to compare {', '.join(secret)} with"
