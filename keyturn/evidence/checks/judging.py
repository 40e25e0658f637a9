"""The shared logic of checks on single secrets: failures, less those with an exception."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from typing import Final

from keyturn.evidence.facts import Facts, Part, SecretFact
from keyturn.evidence.model import CheckResult, ControlVerdict, row_id, unseen
from keyturn.pages.words import count_noun, list_names

DAY: Final = timedelta(days=1)


def judge(
    facts: Facts,
    check: str,
    secrets: Sequence[SecretFact],
    wrong: Mapping[str, str],
    good: str,
    *,
    entries: Iterable[int] = (),
    rows: Iterable[str] = (),
    remarks: Sequence[str] = (),
) -> CheckResult:
    """Return the result of a check of these ``secrets``; ``wrong`` has the failures by path, with reasons.

    A secret that could not be read prevents a pass. ``good`` is what holds for all other secrets.
    """
    unread = {secret.path: secret.error for secret in secrets if secret.error}
    excepted = {path: exception for path in wrong if (exception := facts.excepted(check, path))}
    failing = [path for path in sorted(wrong) if path not in excepted]
    fine = len(secrets) - len(failing) - len(excepted) - len(unread)
    lines = [f"{good}: {fine:,} of {count_noun(len(secrets), 'secret')}."]
    lines += [f"{path}: {wrong[path]}." for path in failing[:SHOWN]]
    if len(failing) > SHOWN:
        lines.append(f"and {len(failing) - SHOWN:,} more, which the rows name.")
    lines += [f"{path} could not be looked at: {why}" for path, why in sorted(unread.items())[:SHOWN]]
    answered = [
        f"{path}: {wrong[path]}; excepted by {exception.name}, for which {exception.owner} answers until "
        f"{exception.until - DAY:%Y-%m-%d}: {exception.reason}."
        for path, exception in sorted(excepted.items())
    ]
    verdict = ControlVerdict.FAIL if failing else ControlVerdict.UNSEEN if unread else ControlVerdict.PASS
    numbers = {"looked at": len(secrets), "wrong": len(failing), "excepted": len(excepted), "unseen": len(unread)}
    return CheckResult(verdict, tuple(lines), numbers, tuple(sorted(set(entries))), tuple(rows), (*remarks, *answered))


SHOWN: Final = 8
"""Maximum number of secrets that a check's sentences name; the rows name all."""


def rows_of(secrets: Iterable[SecretFact]) -> list[str]:
    return [row_id("secret", secret.path) for secret in secrets]


def insist_seen(facts: Facts, part: Part) -> CheckResult | None:
    why = facts.out_of_sight(part)
    return unseen(f"It could not be looked at: {why}") if why else None


def of_period(check: Callable[[Facts], CheckResult]) -> Callable[[Facts], CheckResult]:
    """Wrap a check that depends only on the ledger's entries of the period."""

    @wraps(check)
    def checked(facts: Facts) -> CheckResult:
        return since_ledger_began(facts, check(facts))

    return checked


def since_ledger_began(facts: Facts, result: CheckResult) -> CheckResult:
    began = facts.ledger.began_at
    if began is None or began - facts.period.since <= DAY or result.verdict is ControlVerdict.FAIL:
        return result
    late = f"The ledger began on {began:%Y-%m-%d}: nothing covers the time before."
    return replace(result, verdict=ControlVerdict.UNSEEN, found=(late, *result.found))


def days(span: timedelta) -> int:
    return int(span.total_seconds() // DAY.total_seconds())


def named(paths: Sequence[str]) -> str:
    return list_names(list(paths), 5)


def machines(facts: Facts) -> list[SecretFact]:
    return [secret for secret in facts.secrets if not secret.person]


PEOPLE: Final = (
    "{number} of people, labelled `holder: person`, {verb} left out: NIST SP 800-63B-4 (3.1.1.2) lets a password be "
    "changed on evidence of compromise alone, so a rule that changes it by age is no merit."
)


def about_people(facts: Facts) -> tuple[str, ...]:
    people = sum(secret.person for secret in facts.secrets)
    if not people:
        return ()
    return (PEOPLE.format(number=count_noun(people, "password"), verb="is" if people == 1 else "are"),)
