"""Check that the ledger was signed lately, by the checkpoint in the hub."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.text.spans import span
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.ledger.checkpointer import CheckpointInHub
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.freshness import REMEDY, SIGN_OF_LIFE
from keyturn.ledger.naming import read_name
from keyturn.rotation.state.context import Workspace

AREA: Final = "ledger"

FIRST: Final = (
    "After the first rotation, with the notary's login: keyturn ledger checkpoint. Its worker does so with the next run"
    " of keep-ledger"
)
"""The remedy where there was never a checkpoint, as on the first day."""

LATELY: Final = SIGN_OF_LIFE + timedelta(hours=1)
"""Without new entries, the notary still signs within this time."""


def check_ledger(patient: Patient) -> Iterator[CheckResult]:
    """Check that the ledger is readable here, and the newest checkpoint in the hub."""
    yield _readable(patient)
    name, _ = read_name(patient.workspace.hub)
    if name is None:
        yield CheckResult(AREA, "name", Grade.ADVICE, "nothing was ever written with this hub", "Rotate a secret")
    else:
        yield signed_lately(patient.workspace, name.origin)


def _readable(patient: Patient) -> CheckResult:
    try:
        patient.workspace.ledger.newest_versions(sorted(patient.workspace.catalogue.secrets)[:1])
    except KeyturnError as error:
        return unseen(AREA, "entries", error)
    return CheckResult(AREA, "entries", Grade.WELL, "it can be read")


def signed_lately(workspace: Workspace, origin: str) -> CheckResult:
    """Check the age of the newest checkpoint, by the hub's clock."""
    note, _ = CheckpointInHub(workspace.hub, origin).read()
    made = read_checkpoint(note).time if note else None
    if made is None:
        return CheckResult(AREA, origin, Grade.FAILED, "no checkpoint vouches for it", FIRST)
    age = workspace.hub_now() - made
    words = f"signed {span(age)} ago"
    return CheckResult(AREA, origin, *((Grade.FAILED, words, REMEDY) if age > LATELY else (Grade.WELL, words)))
