"""Whether the hub is backed up, by the backup place and the ledger. Opens no backup, and requires no key.

`keyturn backup verify` and the drills test whether a backup can be restored.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final, cast

from keyturn.catalogue.operator.backups import BackupSettings
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.backups import BackupPlace
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.text.spans import span
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.recovery.chains import StoredChain, list_chains
from keyturn.recovery.drill_notes import RESTORE_DRILL, parse_note
from keyturn.recovery.verify_notes import VERIFY_BACKUPS, tells_whole
from keyturn.wiring.backups import open_place

AREA: Final = "backup"
BACKS_UP: Final = "backup"
"""The login that makes backups. Other logins may be denied the place on purpose."""
SLACK: Final = timedelta(hours=1)
DRILLED_LATELY: Final = timedelta(days=2)
"""A drill is required each night."""
VERIFIED_LATELY: Final = timedelta(days=35)
"""Reading all backups requires a key, which may be stored in a safe."""
TAIL: Final = 20_000
"""Newest entries searched for the last drill and verification."""


def check_backups(patient: Patient) -> Iterator[CheckResult]:
    """Check the newest backup, its lock, and the last restore drill; nothing without declared backups."""
    settings = patient.workspace.catalogue.policy.backups
    if settings is None:
        return
    try:
        place = open_place(settings.place)
        yield from _in_place(patient, settings, place, list_chains(place))
    except KeyturnError as error:
        yield _not_seen(patient, error)
    actions = [*([RESTORE_DRILL] if settings.restore_drill else []), VERIFY_BACKUPS]
    try:
        newest = _newest_entries(cast("StoredLedger", patient.workspace.ledger), actions)
    except KeyturnError as error:
        yield from (unseen(AREA, action, error) for action in actions)
        return
    if settings.restore_drill:
        yield _drilled(patient, newest.get(RESTORE_DRILL))
    verified = newest.get(VERIFY_BACKUPS)
    if verified or patient.role == BACKS_UP:
        yield _verified(patient, verified)


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
        words = "anyone who may write there may remove all of them"
        return CheckResult(AREA, "lock", Grade.ADVICE, words, remedy)
    stored = place.find(chain.manifests[-1].name)
    until = stored.retained_until if stored else None
    if until is None or until <= patient.workspace.hub_now():
        remedy = "Check that the bucket has object locks, and that its writer may set them"
        words = f"`retain` is declared, and the newest of {chain.name} is not locked"
        return CheckResult(AREA, "lock", Grade.FAILED, words, remedy)
    return CheckResult(AREA, "lock", Grade.WELL, f"the newest is locked until {until:%Y-%m-%d %H:%M} UTC")


def _drilled(patient: Patient, last: Entry | None) -> CheckResult:
    name = RESTORE_DRILL
    remedy = "See the runs of `restore-drill`, or run `keyturn backup drill --record`"
    if last is None:
        words = f"the newest {TAIL:,} entries of the ledger have none"
        return CheckResult(AREA, name, Grade.ADVICE, words, remedy)
    age = patient.workspace.clock() - last.time
    note = parse_note(last.note) if last.outcome is Outcome.DONE else None
    words = f"{span(age)} ago: {last.note}"
    if note is None or not note.proven or age > DRILLED_LATELY:
        return CheckResult(AREA, name, Grade.FAILED, words, remedy)
    return CheckResult(AREA, name, Grade.WELL, words)


def _verified(patient: Patient, last: Entry | None) -> CheckResult:
    """Check when all backups were last verified, because a drill restores only the newest."""
    remedy = "Run `keyturn backup verify --record` where a key that opens them is at hand"
    if last is None:
        words = f"the newest {TAIL:,} entries of the ledger show no successful read of the backups"
        return CheckResult(AREA, VERIFY_BACKUPS, Grade.ADVICE, words, remedy)
    age = patient.workspace.clock() - last.time
    words = f"{span(age)} ago: {last.note}"
    if last.outcome is not Outcome.DONE or not tells_whole(last.note):
        return CheckResult(AREA, VERIFY_BACKUPS, Grade.FAILED, words, remedy)
    grade = Grade.ADVICE if age > VERIFIED_LATELY else Grade.WELL
    return CheckResult(AREA, VERIFY_BACKUPS, grade, words, remedy if grade is Grade.ADVICE else "")


def _newest_entries(ledger: StoredLedger, actions: Sequence[str]) -> dict[str, Entry]:
    """Return the newest finished entry of each of these actions."""
    needles = {f'"action":"{action}"'.encode() for action in actions}
    newest = dict[str, Entry]()
    for _, leaf in ledger.leaves(max(1, ledger.size() - TAIL + 1)):
        if any(needle in leaf for needle in needles):
            entry = parse_leaf(leaf).entry
            if entry.outcome is not Outcome.BEGUN:
                newest[entry.action] = entry
    return newest
