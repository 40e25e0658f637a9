"""What the hub knows about a secret, and this catalogue lacks or contradicts."""

from typing import Final

from keyturn.core.rotation_record import Record
from keyturn.revocation.incidents.incident import SecretProgress
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.copies.store_status import left_stores
from keyturn.rotation.declared import contradicting_stores, describe_contradiction, last_rotation
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_whatever

OTHER_CATALOGUE: Final = (
    "Go on from the catalogue that the secret was rotated with (`keyturn revoke --resume`). Where this one is right, "
    "see by hand that nothing takes the old value any more, then give the incident up, with that as the reason"
)


def contradiction(workspace: Workspace, progress: SecretProgress, record: Record | None = None) -> str:
    """How the catalogue differs from the last rotation (by ``record``, if read), so that it ends another credential."""
    record = load_whatever(workspace, progress.path) if record is None else record
    return describe_contradiction(workspace, progress.path, last_rotation(record, progress.sequence))


def prove_stores(workspace: Workspace, progress: SecretProgress, result: StepResult) -> None:
    """Check that the catalogue has every store with a known copy."""
    path = progress.path
    before_cut = last_rotation(load_whatever(workspace, path), progress.sequence)
    for name, words in contradicting_stores(workspace, before_cut).items():
        result.check(CheckSubject.ELSEWHERE, name, CheckAnswer.REMAINING, words, OTHER_CATALOGUE)
    with result.checking(CheckSubject.ELSEWHERE, "stores"):
        places = {check.place for check in result.checks if check.subject is CheckSubject.ELSEWHERE}
        for store in (left for left in left_stores(workspace) if left.status.may_have(path)):
            if store.name not in places:
                words = f"the hub knows a copy there: {store.told}"
                result.check(CheckSubject.ELSEWHERE, store.name, CheckAnswer.REMAINING, words, OTHER_CATALOGUE)
                places.add(store.name)
        if not places:
            result.check(CheckSubject.ELSEWHERE, "stores", CheckAnswer.CLEAR)
