"""Whether the hub is backed up, as far as the place of backups and the ledger tell: nothing is opened, no key is asked.

Whether backups hold, `keyturn backup verify` and drills say.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, cast

from keyturn.catalogue.backups import BackupSettings
from keyturn.core.backups import BackupPlace
from keyturn.core.errors import KeyturnError
from keyturn.core.ledger import Entry, Outcome
from keyturn.core.spans import span
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.providers.backups import open_place
from keyturn.recovery.chains import StoredChain, list_chains
from keyturn.recovery.drill_notes import RESTORE_DRILL, parse_note

AREA: Final = "backup"
BACKS_UP: Final = "backup"
"""The login whose work it is: whoever else can't see the place may be meant not to."""
SLACK: Final = timedelta(hours=1)
DRILLED_LATELY: Final = timedelta(days=2)
"""A drill is asked for each night."""
TAIL: Final = 20_000
"""The newest entries, in which the last drill is looked for."""


def check_backups(patient: Patient) -> Iterator[CheckResult]:
    """The newest backup and its lock, and the last drill of restoring; nothing where none are declared here."""
    settings = patient.workspace.catalogue.policy.backups
    if settings is None:
        return
    try:
        place = open_place(settings.place)
        yield from _in_place(patient, settings, place, list_chains(place))
    except KeyturnError as error:
        yield _not_seen(patient, error)
    if settings.restore_drill:
        yield _drilled(patient)


def _not_seen(patient: Patient, error: KeyturnError) -> CheckResult:
    result = unseen(AREA, "place", error)
    return result if patient.role == BACKS_UP else _elsewhere(result.words)


def _elsewhere(why: str) -> CheckResult:
    remedy = f"Run `keyturn doctor --as {BACKS_UP}` where backups are made"
    return CheckResult(AREA, "place", Grade.ADVICE, f"not looked at from here: {why}", remedy)


def _in_place(
    patient: Patient, settings: BackupSettings, place: BackupPlace, chains: list[StoredChain]
) -> Iterator[CheckResult]:
    finished = [chain for chain in chains if chain.newest_at]
    start = "Start `keyturn serve --only backup`, or see what it says there; `keyturn backup run` makes a base now"
    if not finished and settings.place.kind == "directory" and patient.role != BACKS_UP:
        yield _elsewhere(f"{place.name} has none on this machine")
        return
    if not finished:
        yield CheckResult(AREA, "newest", Grade.FAILED, f"{place.name} has no finished backup", start)
        return
    newest = max(chain.manifests[-1].changed_at for chain in finished)
    age = patient.workspace.hub_now() - newest
    words = f"the newest of {len(finished)} chains was written {span(age)} ago, by the place's clock"
    if age > settings.base_every + SLACK:
        yield CheckResult(AREA, "newest", Grade.FAILED, words, start)
    else:
        yield CheckResult(AREA, "newest", Grade.WELL, words)
    yield _locked(patient, settings, place, finished[-1])


def _locked(patient: Patient, settings: BackupSettings, place: BackupPlace, chain: StoredChain) -> CheckResult:
    if getattr(settings.place, "retain", None) is None:
        remedy = "Give `retain` under `place`, in a bucket that is made with locks on objects"
        words = "whoever may write to the place may remove all of them"
        return CheckResult(AREA, "lock", Grade.ADVICE, words, remedy)
    stored = place.find(chain.manifests[-1].name)
    until = stored.retained_until if stored else None
    if until is None or until <= patient.workspace.hub_now():
        remedy = "See that the bucket has locks on objects, and that whoever writes there may set them"
        words = f"`retain` is declared, and the newest of {chain.name} is not locked"
        return CheckResult(AREA, "lock", Grade.FAILED, words, remedy)
    return CheckResult(AREA, "lock", Grade.WELL, f"the newest is locked until {until:%Y-%m-%d %H:%M} UTC")


def _drilled(patient: Patient) -> CheckResult:
    name = "restore drill"
    try:
        last = _last_drill(cast("StoredLedger", patient.workspace.ledger))
    except KeyturnError as error:
        return unseen(AREA, name, error)
    remedy = "See the runs of `restore-drill`, or run `keyturn restore-drill --record`"
    if last is None:
        words = f"the newest {TAIL:,} entries of the ledger tell of none"
        return CheckResult(AREA, name, Grade.ADVICE, words, remedy)
    age = patient.workspace.clock() - last.time
    note = parse_note(last.note) if last.outcome is Outcome.DONE else None
    words = f"{span(age)} ago: {last.note}"
    if note is None or not note.proven or age > DRILLED_LATELY:
        return CheckResult(AREA, name, Grade.FAILED, words, remedy)
    return CheckResult(AREA, name, Grade.WELL, words)


def _last_drill(ledger: StoredLedger) -> Entry | None:
    needle, last = f'"action":"{RESTORE_DRILL}"'.encode(), None
    for _, leaf in ledger.leaves(max(1, ledger.size() - TAIL + 1)):
        if needle in leaf and (entry := parse_leaf(leaf).entry).outcome is not Outcome.BEGUN:
            last = entry
    return last
