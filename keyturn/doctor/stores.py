"""Check the login's rights in each store, and that each store answers."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.rights.capabilities import capability
from keyturn.core.rights.posture import Safety, TellsPosture
from keyturn.core.rights.rights import ANYTHING
from keyturn.doctor.elsewhere import RightElsewhere, ask_everyone
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.rights.copies import copies_in
from keyturn.rotation.state.context import side_by_side

AREA: Final = "store"
PROBES: Final = ("keyturn-doctor", "DOCTOR_OF_KEYTURN", "keyturndoctor")
"""Names that no copy has, of which every store allows one."""
RENDERED: Final = "Give it what `keyturn setup store` writes for it"


def check_stores(patient: Patient) -> Iterator[CheckResult]:
    """Check the missing rights in stores that report rights, and listing in all others."""
    stores = patient.workspace.catalogue.stores
    yield from check_rights_elsewhere(patient, AREA, stores)
    yield from side_by_side(partial(_listed, patient), [name for name in stores if not stores[name].ASKS])
    if patient.role == "worker":
        for results in side_by_side(partial(check_posture, patient), sorted(stores)):
            yield from results


def check_rights_elsewhere(patient: Patient, area: str, declared: Mapping[str, Any]) -> Iterator[CheckResult]:
    """Check the rights in the stores or targets that report them."""
    names = [name for name, settings in declared.items() if settings.ASKS]
    answers = ask_everyone(patient.workspace.catalogue, patient.role, area) if names else []
    for name in names:
        yield from judge_rights(area, name, [answer for answer in answers if answer.where == f"{area} {name}"])


def judge_rights(area: str, name: str, answers: Sequence[RightElsewhere]) -> Iterator[CheckResult]:
    """Judge one place's answers: a line for missing rights, and one for excess rights."""
    unseen_whys = [answer.verdict.why for answer in answers if answer.is_unseen and answer.verdict.askable]
    untold_whys = [answer.verdict.why for answer in answers if answer.is_unseen and not answer.verdict.askable]
    lacking = [f"{answer.verdict.call} on {answer.verdict.place}" for answer in answers if answer.finding == "lacks"]
    beyond = [answer.verdict.call for answer in answers if answer.finding == "has beyond"]
    if unseen_whys:
        yield CheckResult(area, name, Grade.UNKNOWN, f"its rights could not be looked at: {unseen_whys[0]}")
    if lacking:
        yield CheckResult(area, name, Grade.FAILED, f"the login lacks {', '.join(lacking)}", RENDERED)
    if untold_whys:
        words = f"{len(untold_whys)} rights that can't be listed: {untold_whys[0]}"
        yield CheckResult(area, name, Grade.ADVICE, words, "The first sync shows whether it has them")
    if beyond:
        words = f"the login may do more than it needs: {', '.join(dict.fromkeys(beyond))}"
        yield CheckResult(area, name, Grade.ADVICE, words, RENDERED)
    if not (unseen_whys or lacking or untold_whys):
        yield CheckResult(area, name, Grade.WELL, "the login has all rights that are needed")


GRADES: Final = {
    Safety.SOUND: Grade.WELL,
    Safety.WEAK: Grade.ADVICE,
    Safety.BROKEN: Grade.FAILED,
    Safety.UNSEEN: Grade.ADVICE,
}
"""No work requires these looks, so a missing look is only advice."""


def check_posture(patient: Patient, name: str) -> list[CheckResult]:
    """Check how safely one store keeps copies, where it reports that."""
    declared, results = patient.workspace.catalogue, list[CheckResult]()
    try:
        tells = capability(patient.workspace.open_store(name), TellsPosture)
        if tells is None:
            return []
        names = [copy for copy in copies_in(declared, name, declared.stores[name], "").names if ANYTHING not in copy]
        for posture in tells.posture(names):
            where, grade = f"{name}: {posture.what}", GRADES[posture.safety]
            results.append(CheckResult(AREA, where, grade, posture.words, posture.remedy))
    except KeyturnError as error:
        problem = f"could not look how safely it keeps copies: {error.problem}"
        results.append(CheckResult(AREA, f"{name}: posture", Grade.ADVICE, problem, error.hint))
    return results


def _listed(patient: Patient, name: str) -> CheckResult:
    declared = patient.workspace.catalogue
    try:
        store = patient.workspace.open_store(name)
        settings = declared.stores[name]
        names = (*copies_in(declared, name, settings, "").names, *PROBES)
        store.describe(next(probe for probe in names if settings.limits.refuses_name(probe) is None))
    except KeyturnError as error:
        return unseen(AREA, name, error)
    return CheckResult(AREA, name, Grade.WELL, "it answers; rights can't be listed")
