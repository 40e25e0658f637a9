"""Checks of rotation: by whom, at what age, and the end of old credentials."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from keyturn.evidence.checks.judging import (
    about_people,
    days,
    insist_seen,
    judge,
    machines,
    named,
    rows_of,
    since_ledger_began,
)
from keyturn.evidence.facts import Facts, LedgerMark, Part, SecretFact
from keyturn.evidence.ledger_extract import newest_promotions, promotions
from keyturn.evidence.model import CheckResult, ControlVerdict, nothing_of
from keyturn.pages.words import count_noun

OVERDUE: Final = timedelta(days=1)
"""The tolerance for an old credential after its grace period."""
USUAL: Final = timedelta(days=90)
"""The limit of PCI DSS 8.3.9 for passwords that are the only factor."""


def rotation_automated(facts: Facts) -> CheckResult:
    secrets = machines(facts)
    if not secrets:
        return nothing_of("No secret is declared that a machine uses.", *about_people(facts))
    wrong = {secret.path: "a person replaces it, by hand" for secret in secrets if secret.by_hand}
    entries = newest_promotions(facts.ledger, (secret.path for secret in secrets))
    good = "Rotated automatically on its own schedule"
    return judge(
        facts,
        "rotation-automated",
        [secret for secret in secrets if not secret.error or secret.by_hand],
        wrong,
        good,
        entries=entries,
        rows=rows_of(secrets),
        remarks=about_people(facts),
    )


def rotation_in_time(facts: Facts) -> CheckResult:
    """Whether no secret is older than its limit at the time of the look."""
    secrets = machines(facts)
    if not secrets:
        return nothing_of("No secret is declared that a machine uses.", *about_people(facts))
    wrong = {secret.path: secret.late or secret.missing for secret in secrets if secret.late or secret.missing}
    wrong |= {secret.path: "it has no version yet" for secret in secrets if not secret.error and not secret.version}
    wrong |= {secret.path: f"the incident {secret.ended_by} has ended it" for secret in secrets if secret.ended_by}
    entries = newest_promotions(facts.ledger, (secret.path for secret in secrets))
    return judge(
        facts,
        "rotation-in-time",
        secrets,
        wrong,
        "Within their limits when it was looked at",
        entries=entries,
        rows=rows_of(secrets),
        remarks=about_people(facts),
    )


def rotated_in_period(facts: Facts) -> CheckResult:
    """Whether no secret exceeded its limit during the period."""
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    secrets = [secret for secret in machines(facts) if secret.limit and not secret.by_hand]
    if not secrets:
        return nothing_of("No secret has a limit of its age (maximum_age).", *about_people(facts))
    wrong, entries, unknown = dict[str, str](), list[int](), list[str]()
    for secret in secrets:
        marks = list(promotions(facts.ledger, secret.path))
        entries += [mark.sequence for mark in marks]
        if not marks:
            unknown.append(secret.path)
        elif gap := longest_gap(facts, secret, marks):
            wrong[secret.path] = (
                f"it was {days(gap)} days old at its oldest, and its limit is {days(secret.limit or gap)}"
            )
    remarks = [f"The ledger records no rotation of {named(unknown)}: only the hub gives their ages."]
    done = sum(facts.ledger.count(action) for action in ("promote", "revert", "recover"))
    result = judge(
        facts,
        "rotated-in-period",
        [secret for secret in secrets if secret.path not in unknown],
        wrong,
        f"Replaced {count_noun(done, 'time')} in the period; never beyond their limits",
        entries=entries,
        remarks=[*(remarks if unknown else []), *about_people(facts)],
    )
    if len(unknown) == len(secrets):
        result = nothing_of(
            "The ledger records no rotation of any of them, up to the end of the period.", *result.remarks
        )
    return since_ledger_began(facts, result)


def longest_gap(facts: Facts, secret: SecretFact, marks: list[LedgerMark]) -> timedelta | None:
    """Return the longest time one version was in force, where beyond the secret's limit."""
    ends = min(facts.period.until, facts.looked_at)
    moments = [mark.at for mark in marks] + [max(ends, marks[-1].at)]
    gaps = [after - before for before, after in pairwise(moments) if after > facts.period.since]
    longest = max(gaps, default=timedelta(0))
    return longest if secret.limit and longest > secret.limit else None


def limits_declared(facts: Facts) -> CheckResult:
    secrets = machines(facts)
    if not secrets:
        return nothing_of("No secret is declared that a machine uses.", *about_people(facts))
    wrong = {
        secret.path: "nothing says how old it may become"
        for secret in secrets
        if secret.limit is None and secret.interval is None and secret.certificate is None
    }
    return judge(
        facts,
        "limits-declared",
        [secret for secret in secrets if not secret.error],
        wrong,
        "Their age has a limit, or an interval",
        rows=rows_of(secrets),
        remarks=about_people(facts),
    )


def old_credentials_ended(facts: Facts) -> CheckResult:
    secrets = machines(facts)
    if not secrets:
        return nothing_of("No secret is declared that a machine uses.", *about_people(facts))
    wrong = {
        secret.path: f"its old credential lives on, {ago(facts.looked_at, secret.retiring_since)} after its grace"
        for secret in secrets
        if secret.retiring_since and facts.looked_at - secret.retiring_since > OVERDUE
    }
    retired = facts.ledger.having("retire")
    good = f"No old credential outlives its grace ({count_noun(len(retired), 'was', 'were')} ended in the period)"
    return judge(
        facts,
        "old-credentials-ended",
        secrets,
        wrong,
        good,
        entries=[mark.sequence for mark in retired],
        rows=rows_of(secrets),
    )


def logins_work(facts: Facts) -> CheckResult:
    """Whether CURRENT of each secret was tested within two days, and logs in."""
    secrets = [secret for secret in facts.secrets if secret.login and secret.login != "unknown"]
    if not secrets:
        return nothing_of("No secret has a target at which its credential could be tried, or none was tried yet.")
    wrong = {secret.path: "its target refuses CURRENT" for secret in secrets if secret.login == "refused"}
    untried = [secret.path for secret in secrets if secret.login == "untried" or _stale(facts, secret)]
    changed = [mark.sequence for mark in facts.ledger.marks if mark.action == "check login"]
    result = judge(
        facts,
        "logins-work",
        [secret for secret in secrets if secret.path not in untried],
        wrong,
        "Tried within two days, and accepted by their targets",
        entries=changed,
        rows=rows_of(secrets),
    )
    if not untried:
        return result
    verdict = ControlVerdict.FAIL if result.verdict is ControlVerdict.FAIL else ControlVerdict.UNSEEN
    sentences = (*result.found, f"Not tried within two days: {named(untried)}.")
    return CheckResult(verdict, sentences, result.numbers, result.entries, result.rows, result.remarks)


def people_passwords(facts: Facts) -> CheckResult:
    """Report on people's own passwords. It never passes, because rotating them is no merit."""
    people = [secret for secret in facts.secrets if secret.person]
    if not people:
        return nothing_of("No secret is a person's own password: none is labelled `holder: person`.")
    young = [
        secret.path
        for secret in people
        if secret.rotated_at and not secret.error and facts.looked_at - secret.rotated_at <= USUAL
    ]
    remark = (
        f"{len(young):,} of {count_noun(len(people), 'password')} of people {'was' if len(young) == 1 else 'were'} "
        "changed within 90 days. PCI DSS takes that, or an analysis of the account's security posture, "
        "which Keyturn does not see; NIST SP 800-63B-4 takes no change by age at all."
    )
    result = nothing_of("Keyturn can't know whether these passwords are a person's only factor.", remark)
    return CheckResult(
        result.verdict, result.found, {"people": len(people)}, rows=tuple(rows_of(people)), remarks=(remark,)
    )


def _stale(facts: Facts, secret: SecretFact) -> bool:
    return secret.login_at is None or facts.looked_at - secret.login_at > 2 * OVERDUE


def ago(now: datetime, moment: datetime | None) -> str:
    if moment is None:
        return "long"
    hours = int((now - moment).total_seconds() // 3600)
    return count_noun(hours // 24, "day") if hours >= 48 else count_noun(hours, "hour")
