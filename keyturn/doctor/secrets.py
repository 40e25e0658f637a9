"""Check that the hub serves each secret."""

from collections.abc import Iterator
from typing import Final

from keyturn.core.ports.hub import survey
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.rotation.copies.lineage_check import describe_ahead, remedy
from keyturn.rotation.declared import find_missing_fields
from keyturn.rotation.repair.removed_entries import SAME_ID_REMEDY, of_same_id, same_id_words
from keyturn.sync.lag import lost_secrets

AREA: Final = "secret"


def check_secrets(patient: Patient) -> Iterator[CheckResult]:
    """Check for secrets that can't be served, lost versions, or have none yet."""
    paths = sorted(patient.workspace.catalogue.secrets)
    infos = survey(patient.workspace.hub)
    lost = lost_secrets(patient.workspace)
    lacking = find_missing_fields(patient.workspace, [path for path in paths if path in infos])
    readable = 0
    for path in paths:
        info = infos.get(path)
        if error := infos.error(path):
            yield unseen(AREA, path, error)
        elif info is None or info.newest is None:
            words = "the hub has no version of it"
            yield CheckResult(AREA, path, Grade.ADVICE, words, f"`keyturn rotate {path} --now` makes the first")
        elif not info.served:
            words = f"version {info.version}, the newest, is {info.newest.state}"
            yield CheckResult(
                AREA, path, Grade.FAILED, words, f"See `keyturn status`, then `keyturn repair recover {path}`"
            )
        elif path in lost:
            words = describe_ahead(path, info.version, lost[path])
            yield CheckResult(AREA, path, Grade.FAILED, words, remedy(path, lost[path]))
        elif path in lacking:
            hint = "Correct the entry: a rotation is refused until then"
            yield CheckResult(AREA, path, Grade.FAILED, lacking[path], hint)
        else:
            readable += 1
    if readable:
        yield CheckResult(
            AREA,
            f"{readable} of {len(paths)}",
            Grade.WELL,
            "the hub serves the newest version that copies and ledger know",
        )


def check_catalogue(patient: Patient) -> Iterator[CheckResult]:
    """Check whether another catalogue on this hub seems to have the same id; nothing where none does."""
    own = patient.workspace.catalogue
    if others := of_same_id(patient.workspace):
        yield CheckResult("catalogue", own.id, Grade.ADVICE, same_id_words(own.id, others), SAME_ID_REMEDY)
