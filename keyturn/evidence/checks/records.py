"""Checks of the records: the ledger's integrity, the actors, values shown, and incidents."""

import re
from datetime import datetime, timedelta
from typing import Final

from keyturn.evidence.checks.judging import DAY, insist_seen, judge, of_period, rows_of
from keyturn.evidence.facts import Facts, LedgerExtract, LedgerMark, Part, SecretFact
from keyturn.evidence.ledger_extract import INCIDENTS, SEGMENT, incident_of
from keyturn.evidence.model import CheckResult, ControlVerdict, nothing_of, row_id
from keyturn.pages.words import count_noun, list_names
from keyturn.recovery.drill_notes import RESTORE_DRILL, parse_note
from keyturn.rotation.state.break_glass import BrokenGlass

YEAR: Final = timedelta(days=365)


def ledger_whole(facts: Facts) -> CheckResult:
    """Whether no entry of the ledger was changed, removed, inserted or cut off, by the public key alone."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    ledger = facts.ledger
    numbers = {"entries": ledger.size, "of the period": ledger.entries, "later": ledger.later}
    if ledger.problems:
        return CheckResult(ControlVerdict.FAIL, (f"The ledger was changed: {'; '.join(ledger.problems)}.",), numbers)
    sentences = [
        f"All {count_noun(ledger.size, 'entry', 'entries')} are as they were when the checkpoint was signed; "
        f"{count_noun(ledger.entries, 'entry is', 'entries are')} of the period."
    ]
    remarks = [f"{count_noun(ledger.later, 'entry', 'entries')} came after the checkpoint and count for nothing here."]
    return CheckResult(
        ControlVerdict.PASS, tuple(sentences), numbers, _outer(ledger), remarks=tuple(remarks if ledger.later else ())
    )


@of_period
def actions_attributed(facts: Facts) -> CheckResult:
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    ledger = facts.ledger
    if not ledger.entries:
        return nothing_of("The ledger has no entry of the period.")
    numbers = {"entries": ledger.entries, "unnamed": ledger.unnamed, "incomplete": ledger.incomplete}
    if ledger.incomplete:
        words = f"{count_noun(ledger.incomplete, 'entry lacks', 'entries lack')} who, what, from where or how it ended."
        return CheckResult(ControlVerdict.FAIL, (words,), numbers, _outer(ledger))
    sentences = [
        f"All {count_noun(ledger.entries, 'entry tells', 'entries tell')} who, what, when, where and how it ended."
    ]
    if ledger.unnamed:
        sentences.append(f"Of {ledger.unnamed:,} the hub could not be asked who it was.")
    return CheckResult(
        ControlVerdict.UNSEEN if ledger.unnamed else ControlVerdict.PASS, tuple(sentences), numbers, _outer(ledger)
    )


def records_kept(facts: Facts) -> CheckResult:
    """Whether the ledger is readable and covers a year, or everything since it began."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    ledger, began = facts.ledger, facts.ledger.began_at
    if ledger.problems or began is None:
        return CheckResult(
            ControlVerdict.FAIL, (f"The ledger is not whole: {'; '.join(ledger.problems) or 'it is empty'}.",)
        )
    whole = "Nothing of it was removed since its first entry, and all of it was read for this report."
    if facts.looked_at - began >= YEAR:
        return CheckResult(ControlVerdict.PASS, (f"It reaches back to {began:%Y-%m-%d}, a year and more.", whole))
    remark = f"It began on {began:%Y-%m-%d}, so there is no year of it yet."
    return CheckResult(ControlVerdict.PASS, (whole,), remarks=(remark,))


@of_period
def values_shown(facts: Facts) -> CheckResult:
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    shown = facts.ledger.having("reveal")
    by_whom = sorted({mark.actor.partition(" (")[0] for mark in shown})
    secrets = sorted({mark.secret for mark in shown})
    if not shown:
        return CheckResult(ControlVerdict.PASS, ("No value was printed in clear through Keyturn in the period.",))
    words = f"{count_noun(len(shown), 'value was', 'values were')} printed in clear, by {list_names(by_whom, 5)}."
    sentences = (words, f"Secrets: {list_names(secrets, 5)}.")
    remark = "Each is a separate entry, written before the value was shown; people decide whether it was needed."
    return CheckResult(ControlVerdict.PASS, sentences, {"shown": len(shown)}, _numbers(shown), remarks=(remark,))


@of_period
def incidents_closed(facts: Facts) -> CheckResult:
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    opened = {incident_of(mark): mark for mark in facts.ledger.having("open incident")}
    if not opened:
        return nothing_of("No credential was revoked in an emergency in the period.")
    closed = {incident_of(mark) for mark in facts.ledger.having("close incident")}
    given_up = {incident_of(mark) for mark in facts.ledger.having("give up incident")}
    left = sorted(set(opened) - closed - given_up)
    ended = [mark for mark in facts.ledger.having("cut") if incident_of(mark) in opened]
    sentences = [
        f"{count_noun(len(opened), 'incident was', 'incidents were')} opened, {len(set(opened) & closed):,} closed "
        f"with proof; {count_noun(len(ended), 'credential was', 'credentials were')} ended."
    ]
    sentences += [f"Given up with something left: {list_names(sorted(given_up), 5)}."] if given_up else []
    sentences += [f"Not closed by the end of the period: {list_names(left, 5)}."] if left else []
    marks = [mark for mark in facts.ledger.marks if mark.action in (*INCIDENTS, "cut") and mark.outcome == "done"]
    verdict = ControlVerdict.FAIL if left or given_up else ControlVerdict.PASS
    return CheckResult(verdict, tuple(sentences), {"opened": len(opened), "left": len(left)}, _numbers(tuple(marks)))


@of_period
def restore_tested(facts: Facts) -> CheckResult:
    """Whether the period's last restore drill succeeded. A backup alone proves nothing."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    drills = facts.ledger.having(RESTORE_DRILL)
    if not drills:
        words = "No restore of a backup was tested in the period: nothing shows that anything can be brought back."
        return CheckResult(ControlVerdict.FAIL, (words,), {"drills": 0})
    last = drills[-1]
    proven = (note := parse_note(last.note)) is not None and note.proven
    verdict = ControlVerdict.PASS if proven else ControlVerdict.FAIL
    words = (
        f"{count_noun(len(drills), 'restore drill')} in the period. The last one, on {last.at:%Y-%m-%d}: {last.note}."
    )
    return CheckResult(verdict, (words,), {"drills": len(drills)}, _numbers(drills))


TESTS: Final = frozenset({"drill", "rehearse"})
"""The ledger actions that measure a revocation."""
REFUSED_AFTER: Final = re.compile(r"\brefused after (\d+\.\d+) s")
"""How the notes of drills and rehearsals say when the target refused."""


@of_period
def revocation_tested(facts: Facts) -> CheckResult:
    """Whether each objective of a revocation was measured in the period, and met by the last drill or rehearsal."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    secrets = [secret for secret in facts.secrets if secret.dead_within]
    if not secrets:
        return nothing_of("No secret has an objective of a revocation (dead_within).")
    marks = [mark for mark in facts.ledger.marks if mark.action in TESTS and mark.outcome != "begun"]
    tests = {mark.secret: mark for mark in marks}
    wrong = {secret.path: why for secret in secrets if (why := _misses(secret, tests.get(secret.path)))}
    good = "Its last drill or rehearsal of the period was refused by the target within the objective"
    last = tuple(tests[secret.path] for secret in secrets if secret.path in tests)
    return judge(facts, "revocation-tested", secrets, wrong, good, entries=_numbers(last), rows=rows_of(secrets))


def _misses(secret: SecretFact, test: LedgerMark | None) -> str:
    if test is None:
        return "no revocation was tested in the period"
    seconds = REFUSED_AFTER.search(test.note) if test.outcome == "done" else None
    if seconds is None:
        return f"on {test.at:%Y-%m-%d} its credential was not seen to be refused"
    limit = secret.dead_within.total_seconds() if secret.dead_within else 0.0
    return f"refused after {seconds[1]} s, and the objective is {limit:.0f} s" if float(seconds[1]) > limit else ""


CONSENT: Final = frozenset({"approved", "approve access", "break glass", "review", "review access"})
"""The ledger actions for a second person's approval, and for acting without it."""


def is_overdue(glass: BrokenGlass, now: datetime) -> bool:
    return bool(glass.review_by) and not glass.reviewed_by and datetime.fromisoformat(glass.review_by) <= now


def second_person(facts: Facts) -> CheckResult:
    if facts.owner:
        return nothing_of("Approvals are no owner's; see the report of all owners.")
    if hidden := insist_seen(facts, Part.GLASS):
        return hidden
    if not facts.second_person and not facts.glass and not facts.ledger.having("break glass"):
        return nothing_of("Nothing needs a second person here: the operator's file asks for none.")
    unreviewed = [glass.id for glass in facts.glass if not glass.reviewed_by]
    sentences = [f"A second person is wanted for {list_names(list(facts.second_person), 5) or 'nothing now'}."]
    sentences.append(f"{count_noun(len(facts.glass), 'time', 'times')} it was skipped, and people were notified.")
    sentences += [f"Not reviewed: {list_names(unreviewed, 5)}."] if unreviewed else []
    overdue = [glass.id for glass in facts.glass if is_overdue(glass, facts.looked_at)]
    sentences += [f"Overdue: the review of {list_names(overdue, 5)}."] if overdue else []
    recorded = {glass.id for glass in facts.glass}
    named = (mark.note.partition(":")[0] for mark in facts.ledger.having("break glass"))
    if unkept := [name for name in named if name not in recorded]:
        sentences.append(f"The ledger has {list_names(unkept, 5)}, and the hub keeps no record to review.")
    approved = [mark for mark in facts.ledger.marks if mark.action in CONSENT]
    rows = tuple(row_id("glass", glass.id) for glass in facts.glass)
    unreviewed += unkept
    verdict = ControlVerdict.FAIL if unreviewed else ControlVerdict.PASS
    return CheckResult(verdict, tuple(sentences), {"unreviewed": len(unreviewed)}, _numbers(tuple(approved)), rows)


def reads_watched(facts: Facts) -> CheckResult:
    """Whether reads were watched throughout the period, by the seals in the ledger."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    segments = facts.ledger.having(SEGMENT)
    alerts = facts.ledger.having("alert")
    if not segments:
        why = "The ledger vouches for no access trail in the period, so nothing shows that anybody watched"
        return CheckResult(
            ControlVerdict.UNSEEN, (f"{why} (keyturn serve).",), {"alerts": len(alerts)}, _numbers(alerts)
        )
    places = sorted({mark.place for mark in segments})
    count = facts.ledger.count(SEGMENT)
    sentences = [
        f"{count_noun(count, 'segment')} of {list_names(places, 5)} are vouched for; "
        f"{count_noun(len(alerts), 'alert')}."
    ]
    ends = min(facts.period.until, facts.looked_at)
    behind = [place for place in places if ends - max(mark.at for mark in segments if mark.place == place) > DAY]
    sentences += [f"No segment for more than a day before the end: {list_names(behind, 5)}."] if behind else []
    begun = {place: min(mark.at for mark in segments if mark.place == place) for place in places}
    late = [place for place in places if begun[place] - facts.period.since > DAY]
    sentences += [f"{place} begins on {begun[place]:%Y-%m-%d}: nothing shows who watched before." for place in late]
    numbers = {"segments": count, "alerts": len(alerts)}
    verdict = ControlVerdict.FAIL if behind else ControlVerdict.UNSEEN if late else ControlVerdict.PASS
    return CheckResult(verdict, tuple(sentences), numbers, _numbers((*segments, *alerts)))


def _outer(ledger: LedgerExtract) -> tuple[int, ...]:
    return tuple(sorted({number for number in (ledger.first, ledger.last) if number}))


def _numbers(marks: tuple[LedgerMark, ...]) -> tuple[int, ...]:
    return tuple(sorted({mark.sequence for mark in marks}))
