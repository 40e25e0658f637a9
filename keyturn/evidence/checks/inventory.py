"""Checks of copies, unmanaged secrets, readers, and rights to read."""

from datetime import timedelta

from keyturn.access_log.readers import LogRead
from keyturn.evidence.checks.judging import insist_seen, judge, named, rows_of
from keyturn.evidence.facts import CopyFact, Facts, Part, SecretFact
from keyturn.evidence.ledger_extract import newest_promotions, promotions
from keyturn.evidence.model import CheckResult, ControlVerdict, nothing_of, row_id, unseen
from keyturn.pages.words import count_noun, list_names

AWS = "aws-secrets-manager"

SILENCE = timedelta(days=1)
"""The allowed silence at a log's end; Keyturn's own reads appear every few minutes."""


def inventory_made(facts: Facts) -> CheckResult:
    if not facts.secrets:
        return nothing_of("No secret is declared.")
    unread = [secret.path for secret in facts.secrets if secret.error]
    owners = sorted({secret.owner for secret in facts.secrets})
    classes = sorted({secret.classification for secret in facts.secrets})
    sentences = [
        f"{count_noun(len(facts.secrets), 'secret')} of {count_noun(len(owners), 'owner')}, each classified "
        f"({list_names(classes, 5)}), with {count_noun(len(facts.copies), 'copy', 'copies')}."
    ]
    sentences += [f"Of {named(unread)} the hub does not report the state."] if unread else []
    rows = tuple(rows_of(facts.secrets))
    return CheckResult(
        ControlVerdict.UNSEEN if unread else ControlVerdict.PASS,
        tuple(sentences),
        {"secrets": len(facts.secrets)},
        rows=rows,
    )


def nothing_unmanaged(facts: Facts) -> CheckResult:
    if facts.owner:
        return nothing_of("Unmanaged entries have no owner; see the report of all owners.")
    rows = tuple(row_id("unmanaged", f"{stray.place}:{stray.name}") for stray in facts.unmanaged)
    places = sorted({stray.place for stray in facts.unmanaged})
    numbers = {"unmanaged": len(facts.unmanaged)}
    if facts.unmanaged:
        words = f"{count_noun(len(facts.unmanaged), 'secret', 'secrets')} unmanaged, in {list_names(places, 5)}."
        hidden = facts.out_of_sight(Part.STORES)
        return CheckResult(
            ControlVerdict.FAIL, (words, *([f"Besides: {hidden}"] if hidden else [])), numbers, rows=rows
        )
    if hidden_result := insist_seen(facts, Part.STORES):
        return hidden_result
    return CheckResult(ControlVerdict.PASS, ("Everything in the stores and in the hub is managed.",), numbers)


def copies_in_step(facts: Facts) -> CheckResult:
    """Whether every copy is in sync with the hub and belongs to Keyturn."""
    if hidden := insist_seen(facts, Part.COPIES):
        return hidden
    if not facts.copies:
        return nothing_of("No secret has a copy.")
    by_path = facts.by_path
    owned = [by_path[path] for path in sorted({copy.secret for copy in facts.copies}) if path in by_path]
    wrong = {
        copy.secret: f"{copy.store}:{copy.name} is not in sync ({copy.state}: {copy.wrong})"
        for copy in facts.copies
        if copy.wrong
    }
    unknown = [copy for copy in facts.copies if copy.unknown]
    entries = [mark.sequence for (secret, _), mark in facts.ledger.pushes.items() if secret in by_path]
    rows = [copy_id(copy) for copy in facts.copies]
    result = judge(facts, "copies-in-step", owned, wrong, "Every copy is in sync", entries=entries, rows=rows)
    if not unknown:
        return result
    words = [f"{copy.store}:{copy.name} could not be looked at: {copy.unknown}" for copy in unknown[:8]]
    verdict = ControlVerdict.FAIL if result.verdict is ControlVerdict.FAIL else ControlVerdict.UNSEEN
    return CheckResult(verdict, (*result.found, *words), result.numbers, result.entries, result.rows, result.remarks)


def copy_id(copy: CopyFact) -> str:
    return row_id("copy", f"{copy.secret}@{copy.store}:{copy.name}")


def scanner_explained(facts: Facts) -> CheckResult:
    """Explain AWS Security Hub's findings on copies that Keyturn rotates from outside AWS."""
    copies = aws_copies(facts)
    if not copies:
        return nothing_of("No copy is in AWS Secrets Manager.")
    if hidden := insist_seen(facts, Part.LEDGER):
        return hidden
    entries = newest_promotions(facts.ledger, (copy.secret for copy in copies))
    entries += [mark.sequence for copy in copies if (mark := facts.ledger.pushes.get((copy.secret, label(copy))))]
    by_path = facts.by_path
    late = sorted({copy.secret for copy in copies if is_behind(by_path.get(copy.secret))})
    untold = sorted({copy.secret for copy in copies if not any(promotions(facts.ledger, copy.secret))})
    sentences = [
        f"{count_noun(len(copies), 'copy', 'copies')} in AWS Secrets Manager: Security Hub's SecretsManager.1 fails "
        "for each, since it asks whether AWS's own rotation is configured, not whether the value is replaced.",
        "Keyturn replaces the value in the hub and pushes it; the entries below show when, each with its proof.",
    ]
    sentences += [f"Late, or replaced by hand, so that the finding is true: {named(late)}."] if late else []
    sentences += [f"No entry up to the period's end records a rotation of {named(untold)}."] if untold else []
    rows = tuple(row_id("scanner", label(copy)) for copy in copies)
    verdict = ControlVerdict.FAIL if late else ControlVerdict.UNSEEN if untold else ControlVerdict.PASS
    return CheckResult(verdict, tuple(sentences), {"copies": len(copies)}, tuple(sorted(set(entries))), rows)


def is_behind(secret: SecretFact | None) -> bool:
    return secret is None or bool(secret.late or secret.error or secret.by_hand)


def aws_copies(facts: Facts) -> list[CopyFact]:
    return [copy for copy in facts.copies if copy.kind == AWS]


def label(copy: CopyFact) -> str:
    return f"{copy.store}:{copy.name}"


# --- reads, and rights to read


def accesses_known(facts: Facts) -> CheckResult:
    """Whether the logs show every read of the whole period."""
    if hidden := insist_seen(facts, Part.ACCESSES):
        return hidden
    logs = facts.accesses.logs
    if not logs:
        return unseen("No access log was given, so who has read what is not known.")
    failed = [f"{log.name}: {log.failed}" for log in logs if log.failed]
    gaps = [f"{log.name}: {gap}" for log in logs if not log.failed for gap in gaps_of(facts, log)]
    foreign = len({reader.principal for reader in facts.accesses.readers if not reader.own})
    reads = sum(reader.reads for reader in facts.accesses.readers)
    counted = (
        f"{count_noun(reads, 'read')} in the period, by "
        f"{count_noun(foreign, 'principal')} in addition to Keyturn's own."
    )
    sentences = [*([counted] if len(failed) < len(logs) else []), *failed, *gaps]
    verdict = ControlVerdict.UNSEEN if failed or gaps else ControlVerdict.PASS
    rows = tuple(reader_id(reader.secret, reader.system, reader.principal) for reader in facts.accesses.readers)
    return CheckResult(verdict, tuple(sentences), {"reads": reads, "logs": len(logs)}, rows=rows)


def gaps_of(facts: Facts, log: LogRead) -> tuple[str, ...]:
    """Return a log's gaps in the period, in words, including an early end."""
    ends, last = min(facts.period.until, facts.looked_at), log.coverage.last
    if last is None or ends - last <= SILENCE:
        return log.coverage.gaps
    return (*log.coverage.gaps, f"it reports nothing after {last:%Y-%m-%d %H:%M} UTC")


def reader_id(secret: str, system: str, principal: str) -> str:
    return row_id("reader", f"{secret}@{system}:{principal}")


def accesses_reviewed(facts: Facts) -> CheckResult:
    """Whether the catalogue or a monitor names everyone who read a secret."""
    if hidden := insist_seen(facts, Part.ACCESSES):
        return hidden
    if not [log for log in facts.accesses.logs if not log.failed]:
        return unseen("No access log could be read, so who has read what can't be compared with who may.")
    readers = [reader for reader in facts.accesses.readers if not reader.own and reader.reads]
    strange = [reader for reader in readers if not reader.expected]
    refused = sum(reader.refused for reader in facts.accesses.readers if not reader.own)
    sentences = [
        f"{count_noun(len(readers) - len(strange), 'reader is', 'readers are')} named for what they read; "
        f"{count_noun(refused, 'attempt')} got nothing."
    ]
    sentences += [
        f"{reader.principal} read {reader.secret} {count_noun(reader.reads, 'time')}, and nothing names it for that."
        for reader in strange[:8]
    ]
    sentences += [f"and {len(strange) - 8:,} more, which the rows name."] if len(strange) > 8 else []
    remarks = [
        f"It is unknown who may by the hub's current policies: {why}"
        for why in [facts.unseen.get(Part.POLICIES, "")]
        if why
    ]
    rows = tuple(reader_id(reader.secret, reader.system, reader.principal) for reader in readers)
    gaps = any(log.failed or gaps_of(facts, log) for log in facts.accesses.logs)
    verdict = ControlVerdict.FAIL if strange else ControlVerdict.UNSEEN if gaps else ControlVerdict.PASS
    if gaps:
        remarks.append("The logs have gaps: there may be more readers.")
    return CheckResult(
        verdict, tuple(sentences), {"readers": len(readers), "strange": len(strange)}, rows=rows, remarks=tuple(remarks)
    )


def unused_listed(facts: Facts) -> CheckResult:
    """List the secrets without a reader other than Keyturn in the period, for a person to judge."""
    if hidden := insist_seen(facts, Part.ACCESSES):
        return hidden
    good = [log for log in facts.accesses.logs if not log.failed and not gaps_of(facts, log)]
    if not good or len(good) < len(facts.accesses.logs):
        return unseen("The logs do not cover the period without gaps, so it can't be shown that a secret was not read.")
    idle = unused(facts)
    rows = tuple(row_id("unused", secret.path) for secret in idle)
    sentences = [
        f"{count_noun(len(facts.secrets) - len(idle), 'secret was', 'secrets were')} read in the hub in the period."
    ]
    remark = (
        f"No one but Keyturn read {named([secret.path for secret in idle])} in the hub: are they needed? Who reads a "
        "copy in a store shows in that store's log alone."
    )
    return CheckResult(
        ControlVerdict.PASS, tuple(sentences), {"unused": len(idle)}, rows=rows, remarks=(remark,) if idle else ()
    )


def unused(facts: Facts) -> list[SecretFact]:
    read = {reader.secret for reader in facts.accesses.readers if not reader.own and reader.reads}
    return [secret for secret in facts.secrets if secret.path not in read]


def exceptions_in_force(facts: Facts) -> CheckResult:
    if not facts.exceptions:
        return nothing_of("No exception is declared.")
    over = [exception for exception in facts.exceptions if exception.until <= facts.looked_at]
    sentences = [
        f"{len(facts.exceptions) - len(over):,} of {count_noun(len(facts.exceptions), 'exception')} in force, each "
        "with an owner and an end."
    ]
    sentences += [f"{exception.name} has ended, and {exception.owner} answers for it." for exception in over]
    rows = tuple(row_id("exception", exception.name) for exception in facts.exceptions)
    verdict = ControlVerdict.FAIL if over else ControlVerdict.PASS
    return CheckResult(verdict, tuple(sentences), {"exceptions": len(facts.exceptions), "over": len(over)}, rows=rows)
