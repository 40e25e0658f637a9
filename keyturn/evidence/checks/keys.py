"""Checks of keys and certificates: their expiry and their cryptoperiods."""

from typing import Final

from keyturn.core.schedule.causes import LATE_AFTER
from keyturn.evidence.checks.judging import days, insist_seen, judge, rows_of
from keyturn.evidence.facts import Facts, Part, SecretFact
from keyturn.evidence.key_periods import own_key_period
from keyturn.evidence.ledger_extract import newest_promotions
from keyturn.evidence.model import CheckResult, ControlVerdict, nothing_of, row_id
from keyturn.pages.words import count_noun

CERTIFICATE: Final = "certificate"


def certificates(facts: Facts) -> list[SecretFact]:
    return [secret for secret in facts.secrets if secret.strategy == CERTIFICATE]


def certificates_in_time(facts: Facts) -> CheckResult:
    """Whether every certificate is registered, not ended, and not in the last tenth of its life."""
    secrets = certificates(facts)
    if not secrets:
        return nothing_of("No certificate is declared.")
    wrong = {secret.path: why for secret in secrets if (why := ending(facts, secret))}
    entries = newest_promotions(facts.ledger, (secret.path for secret in secrets))
    rows = [row_id(CERTIFICATE, secret.path) for secret in secrets]
    return judge(
        facts,
        "certificates-in-time",
        secrets,
        wrong,
        "Registered, with an end that is known, and renewed before it",
        entries=entries,
        rows=rows,
    )


def ending(facts: Facts, secret: SecretFact) -> str:
    if secret.error:
        return ""
    if not secret.version:
        return "it is not made yet"
    if secret.expires_at is None or secret.rotated_at is None:
        return "its end is unknown"
    if secret.expires_at <= facts.looked_at:
        return f"it ended on {secret.expires_at:%Y-%m-%d}"
    last_tenth = secret.rotated_at + (secret.expires_at - secret.rotated_at) * LATE_AFTER
    return f"it ends on {secret.expires_at:%Y-%m-%d}, and is not renewed" if last_tenth <= facts.looked_at else ""


def cryptoperiods(facts: Facts) -> CheckResult:
    secrets = [secret for secret in facts.secrets if secret.key]
    if not secrets:
        return nothing_of("No secret is a cryptographic key: passwords and tokens have no cryptoperiod.")
    wrong = {
        secret.path: f"it is {days(facts.looked_at - secret.rotated_at)} days old, and {secret.key.kind}s last "
        f"{days(secret.key.limit)} at most"
        for secret in secrets
        if secret.key and secret.rotated_at and facts.looked_at - secret.rotated_at > secret.key.limit
    }
    entries = newest_promotions(facts.ledger, (secret.path for secret in secrets))
    return judge(
        facts,
        "cryptoperiods",
        secrets,
        wrong,
        "Keys within the cryptoperiods of their kinds",
        entries=entries,
        rows=rows_of(secrets),
    )


def own_key_row(name: str) -> str:
    """Return the row name of an own key; no secret's path has this form."""
    return f"own key {name}"


def own_keys_in_time(facts: Facts) -> CheckResult:
    if facts.owner:
        return nothing_of("Keyturn's own keys are no owner's; see the report of all owners.")
    if hidden := insist_seen(facts, Part.KEYS):
        return hidden
    if not facts.keys:
        return nothing_of("This login sees none of Keyturn's own keys.")
    wrong = [
        f"{key.name}: its next step is overdue{f': {key.blocked}' if key.blocked else ''}."
        for key in facts.keys
        if key.late
    ]
    wrong += [
        f"{key.name}: it is {days(facts.looked_at - key.since)} days old, and {period.kind}s last {days(period.limit)}."
        for key in facts.keys
        if key.since and (period := own_key_period(key.name)) and facts.looked_at - key.since > period.limit
    ]
    unknown = [f"{key.name} could not be looked at: {key.blocked}" for key in facts.keys if key.state == "unknown"]
    fine = len(facts.keys) - len(wrong) - len(unknown)
    verdict = ControlVerdict.FAIL if wrong else ControlVerdict.UNSEEN if unknown else ControlVerdict.PASS
    turned = [mark.sequence for mark in facts.ledger.marks if mark.action in TURNS and mark.outcome == "done"]
    sentences = (
        f"In time: {fine:,} of {count_noun(len(facts.keys), 'key')} that Keyturn itself works with.",
        *wrong,
        *unknown,
    )
    rows = tuple(row_id("key", own_key_row(key.name)) for key in facts.keys)
    return CheckResult(verdict, sentences, {"keys": len(facts.keys), "wrong": len(wrong)}, tuple(turned), rows)


TURNS: Final = ("turn webhook key", "turn secret id", "ledger key")
