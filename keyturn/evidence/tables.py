"""The rows of state, table by table: names, numbers and times only."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from keyturn.evidence.checks.inventory import aws_copies, copy_id, gaps_of, is_behind, label, reader_id, unused
from keyturn.evidence.checks.judging import DAY, days
from keyturn.evidence.checks.keys import certificates, own_key_row
from keyturn.evidence.facts import Facts, SecretFact
from keyturn.evidence.key_periods import own_key_period
from keyturn.evidence.ledger_extract import newest_promotions
from keyturn.evidence.model import StateRow


def stamp(moment: datetime | None) -> str | None:
    """Return a time in a report's notation: RFC 3339 in UTC, to the second."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z" if moment else None


@dataclass(frozen=True)
class Table:
    kind: str
    title: str
    about: str
    columns: tuple[tuple[str, str], ...]
    rows: Callable[[Facts], Iterator[StateRow]]
    name: str = ""
    """The heading of a row's name; empty where the columns already show the name."""


def secrets(facts: Facts) -> Iterator[StateRow]:
    for secret in facts.secrets:
        age = facts.looked_at - secret.rotated_at if secret.rotated_at else None
        limit = limit_of(secret)
        yield StateRow(
            "secret",
            secret.path,
            {
                "owner": secret.owner,
                "classification": secret.classification,
                "strategy": secret.strategy,
                "version": secret.version,
                "rotated_at": stamp(secret.rotated_at),
                "age_days": days(age) if age is not None else None,
                "limit_days": days(limit) if limit else None,
                "due_at": stamp(secret.due_at),
                "login": secret.login,
                "state": secret_state(secret),
            },
        )


def limit_of(secret: SecretFact) -> timedelta | None:
    """Return the maximum age: from the catalogue, the secret's expiry, or its interval."""
    life = secret.expires_at - secret.rotated_at if secret.expires_at and secret.rotated_at else None
    return secret.limit or life or secret.interval


def secret_state(secret: SecretFact) -> str:
    if secret.error:
        return f"could not be looked at: {secret.error}"
    if secret.ended_by:
        return f"ended by incident {secret.ended_by}"
    if secret.missing or secret.late:
        return f"late: {secret.missing or secret.late}"
    if not secret.version:
        return "no version yet"
    return "replaced by hand" if secret.by_hand else "in time"


def grouped(facts: Facts, kind: str) -> Iterator[StateRow]:
    """Yield the counts of the secrets that have each ``kind``: each owner, or each classification."""
    for name in sorted({getattr(secret, kind) for secret in facts.secrets}):
        yield StateRow(kind, name, _counts(facts, [each for each in facts.secrets if getattr(each, kind) == name]))


def _counts(facts: Facts, owned: list[SecretFact]) -> dict[str, str | int | None]:
    ages = [facts.looked_at - secret.rotated_at for secret in owned if secret.rotated_at]
    marks = (mark for secret in owned for mark in facts.ledger.in_force.get(secret.path, ()))
    rotated = sum(mark.action == "promote" for mark in marks)
    return {
        "secrets": len(owned),
        "late": sum(bool(secret.late or secret.missing) for secret in owned),
        "by_hand": sum(secret.by_hand for secret in owned),
        "unknown": sum(bool(secret.error) for secret in owned),
        "oldest_days": days(max(ages)) if ages else None,
        "rotated": rotated,
    }


def late(facts: Facts) -> Iterator[StateRow]:
    for secret in facts.secrets:
        if secret.late or secret.missing:
            exception = facts.excepted("rotation-in-time", secret.path)
            yield StateRow(
                "late",
                secret.path,
                {
                    "owner": secret.owner,
                    "classification": secret.classification,
                    "why": secret.missing or secret.late,
                    "exception": exception.name if exception else "",
                },
            )


def exceptions(facts: Facts) -> Iterator[StateRow]:
    for exception in facts.exceptions:
        yield StateRow(
            "exception",
            exception.name,
            {
                "checks": ", ".join(exception.checks),
                "secrets": ", ".join(exception.secrets),
                "owner": exception.owner,
                "until": f"{exception.until - DAY:%Y-%m-%d}",
                "reason": exception.reason,
                "state": "ended" if exception.until <= facts.looked_at else "in force",
            },
        )


def freezes(facts: Facts) -> Iterator[StateRow]:
    for freeze in facts.freezes:
        if freeze.begins < facts.period.until and freeze.ends > facts.period.since:
            cells = {"from": stamp(freeze.begins), "to": stamp(freeze.ends), "reason": freeze.reason}
            yield StateRow("freeze", freeze.name, {**cells, "secrets": freeze.secrets})


def copies(facts: Facts) -> Iterator[StateRow]:
    for copy in facts.copies:
        state = copy.unknown and f"could not be looked at: {copy.unknown}"
        cells = {"secret": copy.secret, "store": copy.store, "name": copy.name, "state": state or copy.state}
        yield StateRow("copy", copy_id(copy).partition(":")[2], cells)


def scanner(facts: Facts) -> Iterator[StateRow]:
    """Yield Security Hub's finding on each copy, its reason, and the entries that prove a rotation."""
    by_path = facts.by_path
    for copy in aws_copies(facts):
        numbers = newest_promotions(facts.ledger, [copy.secret])
        if pushed := facts.ledger.pushes.get((copy.secret, label(copy))):
            numbers.append(pushed.sequence)
        behind = is_behind(by_path.get(copy.secret))
        why = (
            "true: the secret is late, or replaced by hand"
            if behind
            else "false: rotated from outside AWS, so AWS knows of no rotation schedule"
        )
        cells = {"secret": copy.secret, "finding": "SecretsManager.1: automatic rotation is not enabled", "answer": why}
        yield StateRow("scanner", label(copy), {**cells, "entries": ", ".join(map(str, numbers))})


def certificate_register(facts: Facts) -> Iterator[StateRow]:
    for secret in certificates(facts):
        about = secret.certificate or {}
        yield StateRow(
            "certificate",
            secret.path,
            {
                "owner": secret.owner,
                "common_name": about.get("common_name", ""),
                "names": about.get("names", ""),
                "issuer": about.get("issuer", ""),
                "key": about.get("key", ""),
                "made_at": stamp(secret.rotated_at),
                "ends_at": stamp(secret.expires_at),
                "days_left": days(secret.expires_at - facts.looked_at) if secret.expires_at else None,
                "stored_in": ", ".join(("hub", *secret.stores)),
            },
        )


def key_register(facts: Facts) -> Iterator[StateRow]:
    for secret in facts.secrets:
        if secret.key:
            age = days(facts.looked_at - secret.rotated_at) if secret.rotated_at else None
            algorithm = (secret.certificate or {}).get("key", "")
            cells = {"kind": secret.key.kind, "algorithm": algorithm, "since": stamp(secret.rotated_at)}
            limits = {"age_days": age, "limit_days": days(secret.key.limit), "due_at": stamp(secret.due_at)}
            yield StateRow("key", secret.path, {**cells, **limits, "state": secret_state(secret)})
    for key in facts.keys:
        period, age = own_key_period(key.name), days(facts.looked_at - key.since) if key.since else None
        cells = {"kind": period.kind if period else "login", "algorithm": OWN_ALGORITHMS.get(key.name, "")}
        limits = {"age_days": age, "limit_days": days(period.limit) if period else None, "due_at": stamp(key.due_at)}
        yield StateRow("key", own_key_row(key.name), {**cells, "since": stamp(key.since), **limits, "state": key.state})


OWN_ALGORITHMS: Final = {"ledger-key": "ed25519", "fingerprint-key": "hmac-sha-256"}


def readers(facts: Facts) -> Iterator[StateRow]:
    for reader in facts.accesses.readers:
        named = "Keyturn itself" if reader.own else "named for it" if reader.expected else "nothing names it"
        yield StateRow(
            "reader",
            reader_id(reader.secret, reader.system, reader.principal).partition(":")[2],
            {
                "secret": reader.secret,
                "principal": reader.principal,
                "system": reader.system,
                "reads": reader.reads,
                "refused": reader.refused,
                "first": stamp(reader.first),
                "last": stamp(reader.last),
                "review": named,
            },
        )


def able(facts: Facts) -> Iterator[StateRow]:
    did: Counter[str] = Counter(reader.secret for reader in facts.accesses.readers if reader.reads)
    for path, names in sorted(facts.accesses.able.items()):
        yield StateRow("able", path, {"who": ", ".join(names), "may": len(names), "did": did[path]})


def unused_secrets(facts: Facts) -> Iterator[StateRow]:
    """Yield the secrets without a reader other than Keyturn; nothing where no log could be read."""
    if any(not log.failed for log in facts.accesses.logs):
        for secret in unused(facts):
            cells = {"owner": secret.owner, "classification": secret.classification}
            yield StateRow("unused", secret.path, {**cells, "consumers": ", ".join(secret.consumers)})


def logs(facts: Facts) -> Iterator[StateRow]:
    for log in facts.accesses.logs:
        covered = log.coverage
        cells = {"lines": covered.lines, "first": stamp(covered.first), "last": stamp(covered.last)}
        yield StateRow(
            "log", log.name, {**cells, "lacks": "; ".join((log.failed,) if log.failed else gaps_of(facts, log))}
        )


def unmanaged(facts: Facts) -> Iterator[StateRow]:
    for stray in facts.unmanaged:
        cells = {"place": stray.place, "name": stray.name, "what": stray.what}
        yield StateRow("unmanaged", f"{stray.place}:{stray.name}", cells)


def glass(facts: Facts) -> Iterator[StateRow]:
    for broken in facts.glass:
        about = {"at": broken.at, "action": broken.action, "what": broken.words, "reason": broken.reason}
        who = {"actor": broken.actor, "reviewed_by": broken.reviewed_by, "verdict": broken.verdict}
        yield StateRow("glass", broken.id, {**about, "review_by": broken.review_by, **who})


COUNTS: Final = (
    ("secrets", "Secrets"),
    ("late", "Late"),
    ("by_hand", "By hand"),
    ("unknown", "Unknown"),
    ("oldest_days", "Oldest (days)"),
    ("rotated", "Rotations"),
)

TABLES: Final = (
    Table(
        "classification",
        "Ages by classification",
        "At the moment of the look.",
        COUNTS,
        partial(grouped, kind="classification"),
        "Classification",
    ),
    Table("owner", "By owner", "Who answers for how many.", COUNTS, partial(grouped, kind="owner"), "Owner"),
    Table(
        "secret",
        "Every secret",
        "Its age against its limit: maximum_age of the catalogue, "
        "otherwise the end of its life, otherwise the interval.",
        (
            ("owner", "Owner"),
            ("classification", "Class"),
            ("strategy", "Kind"),
            ("version", "Version"),
            ("rotated_at", "Rotated"),
            ("age_days", "Age (days)"),
            ("limit_days", "Limit"),
            ("due_at", "Due"),
            ("login", "Login"),
            ("state", "State"),
        ),
        secrets,
        "Secret",
    ),
    Table(
        "late",
        "Late rotations",
        "Older than allowed when they were looked at.",
        (("owner", "Owner"), ("classification", "Class"), ("why", "Why"), ("exception", "Exception")),
        late,
        "Secret",
    ),
    Table(
        "exception",
        "Exceptions",
        "What the catalogue leaves out of checks: each with who answers for it, and its last day.",
        (
            ("checks", "Checks"),
            ("secrets", "Secrets"),
            ("owner", "Answers for it"),
            ("until", "Until"),
            ("reason", "Why"),
            ("state", "State"),
        ),
        exceptions,
        "Exception",
    ),
    Table(
        "freeze",
        "Freezes",
        "Times of the period in which what could wait was not rotated.",
        (("from", "From"), ("to", "To"), ("secrets", "Secrets"), ("reason", "Why")),
        freezes,
        "Freeze",
    ),
    Table(
        "certificate",
        "Register of certificates",
        "Every certificate that the catalogue declares, and where its key is stored.",
        (
            ("owner", "Owner"),
            ("common_name", "Common name"),
            ("names", "Names"),
            ("issuer", "Issuer"),
            ("key", "Key"),
            ("made_at", "Made"),
            ("ends_at", "Ends"),
            ("days_left", "Days left"),
            ("stored_in", "Stored in"),
        ),
        certificate_register,
        "Secret",
    ),
    Table(
        "key",
        "Keys and their cryptoperiods",
        "Limits are those of NIST SP 800-57 Part 1 Revision 5, table 1.",
        (
            ("kind", "Kind"),
            ("algorithm", "Algorithm"),
            ("since", "In use since"),
            ("age_days", "Age (days)"),
            ("limit_days", "Limit"),
            ("due_at", "Due"),
            ("state", "State"),
        ),
        key_register,
        "Key",
    ),
    Table(
        "able",
        "Who may read",
        "By the catalogue: consumers and Keyturn's own logins; by the hub's policies where these could be read.",
        (("who", "Who"), ("may", "May"), ("did", "Did")),
        able,
        "Secret",
    ),
    Table(
        "reader",
        "Who did read",
        "By the access logs, in the period.",
        (
            ("secret", "Secret"),
            ("principal", "Principal"),
            ("system", "System"),
            ("reads", "Reads"),
            ("refused", "Refused"),
            ("first", "First"),
            ("last", "Last"),
            ("review", "Review"),
        ),
        readers,
    ),
    Table(
        "unused",
        "Read by no one",
        "No log names a reader other than Keyturn: are they needed?",
        (("owner", "Owner"), ("classification", "Class"), ("consumers", "Consumers")),
        unused_secrets,
        "Secret",
    ),
    Table(
        "log",
        "The logs that were read",
        "And what they lack.",
        (("lines", "Lines"), ("first", "First"), ("last", "Last"), ("lacks", "Lacks")),
        logs,
        "Log",
    ),
    Table(
        "copy",
        "Copies",
        "Every copy as a plan sees it.",
        (("secret", "Secret"), ("store", "Store"), ("name", "Name"), ("state", "State")),
        copies,
    ),
    Table(
        "scanner",
        "What AWS Security Hub says of copies",
        "SecretsManager.1 asks whether AWS's own rotation is configured. Where Keyturn rotates from outside it fails "
        "all the same: the entries prove when the value was replaced and pushed.",
        (("secret", "Secret"), ("finding", "Finding"), ("answer", "It is"), ("entries", "Entries")),
        scanner,
        "Copy",
    ),
    Table(
        "unmanaged",
        "Unmanaged",
        "Take it over with keyturn import.",
        (("place", "Where"), ("name", "Name"), ("what", "What it is")),
        unmanaged,
    ),
    Table(
        "glass",
        "Without a second person",
        "What was done by breaking the glass, and who has looked at it since.",
        (
            ("at", "When"),
            ("action", "Action"),
            ("what", "What"),
            ("reason", "Why"),
            ("actor", "Who"),
            ("review_by", "To be reviewed by"),
            ("reviewed_by", "Reviewed by"),
            ("verdict", "ControlVerdict"),
        ),
        glass,
        "Name",
    ),
)
"""The tables in the order of a report."""
