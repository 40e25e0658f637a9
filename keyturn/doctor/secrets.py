"""Whether the hub gives what it holds of each secret."""

from collections.abc import Iterator
from typing import Final

from keyturn.core.hub import survey
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen

AREA: Final = "secret"


def check_secrets(patient: Patient) -> Iterator[CheckResult]:
    """Which secrets of the catalogue the hub tells nothing of, and which have no version yet."""
    paths = sorted(patient.workspace.catalogue.secrets)
    infos = survey(patient.workspace.hub)
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
            yield CheckResult(AREA, path, Grade.FAILED, words, f"See `keyturn status`, then `keyturn recover {path}`")
        else:
            readable += 1
    if readable:
        yield CheckResult(AREA, f"{readable} of {len(paths)}", Grade.WELL, "the hub serves their newest version")
