"""The summary for a tired reader: state, open work, readers and proof."""

from collections.abc import Iterator, Sequence
from typing import Final

from keyturn.pages.words import clock, count_noun, lasted, list_names
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.proof import Check
from keyturn.revocation.report.model import ReadersReport, SecretReport
from keyturn.revocation.report.words import STEPS

METHOD: Final = (
    "A login with the old credential has to be refused by its target. The hub must give none of the old versions. "
    "Every copy, and every old version of it that its store gives, is read, and its keyed fingerprint compared with "
    "those of the old values. The fields that a rotation keeps, and every place that the hub knows, are checked too."
)


def write_headline(status: IncidentStatus, to_do: Sequence[str]) -> str:
    """Whether the incident is over, in one line."""
    verdict = str(status.verdict).capitalize()
    if status.incident.given_up:
        return f"{verdict}: {count_noun(len(to_do), 'thing is', 'things are')} left."
    if not status.open:
        number = len(status.unproven)
        rest = f"{count_noun(number, 'thing remains', 'things remain')}" if number else "nothing is left to do"
        return f"{verdict}: {rest}."
    where = sum(bool(secret.left) for secret in status.secrets)
    spread = f", in {where:,} of {len(status.secrets):,} secrets" if len(status.secrets) > 1 and where else ""
    return f"Open: {count_noun(len(to_do), 'thing is', 'things are')} left to do{spread}."


def things_left(status: IncidentStatus, secrets: Sequence[SecretReport]) -> tuple[str, ...]:
    """What is still to do; if nothing failed, the steps that have not run."""
    incident = status.incident
    left = (*incident.left, *(f"{secret.path}: {in_words(words)}" for secret in secrets for words in secret.left))
    if left or not (status.open or incident.given_up):
        return left
    waiting = tuple(
        f"{secret.path}: not done yet: {', '.join(STEPS[step] for step in secret.steps_missing)}"
        for secret in secrets
        if secret.steps_missing
    )
    return waiting or ("the last look at everything has not been taken",)


def in_words(left: str) -> str:
    """A line about open work, with its step in words."""
    step, colon, rest = left.partition(": ")
    return f"{STEPS[step]}: {rest}" if colon and step in STEPS else left


def summarise_report(
    status: IncidentStatus, secrets: Sequence[SecretReport], readers: ReadersReport
) -> tuple[str, ...]:
    """Sentences about ended access, replacements, clear copies, and readers."""
    sentences = (*_access(secrets), *_replaced(status, secrets), *_copies(secrets), *_readers(secrets, readers))
    return tuple(sentences)


def _access(secrets: Sequence[SecretReport]) -> Iterator[str]:
    if not secrets:
        yield "No secret was chosen, only leases."
        return
    valid = [secret.path for secret in secrets if "cut" in secret.steps_missing]
    if valid:
        yield f"STILL VALID: the old credential of {list_names(valid)} is not ended yet."
    ended = [secret for secret in secrets if "cut" in secret.steps_done]
    refused = [secret for secret in ended if secret.refused_seconds is not None]
    if refused:
        slowest = lasted(max(secret.refused_seconds or 0.0 for secret in refused))
        whose = f"of {_whole(refused, secrets)}"
        yield f"The target has refused the old credential {whose} since {slowest} after the trigger."
    if unseen := [secret.path for secret in ended if secret.refused_seconds is None]:
        yield f"Not seen to be refused by a target (there is none, or it could not be asked): {list_names(unseen)}."
    if sessions := sum(secret.sessions_ended for secret in secrets):
        yield f"{count_noun(sessions, 'session was', 'sessions were')} ended."
    if outliving := [secret.path for secret in secrets if secret.outlives]:
        yield f"Something that was given out on the old credential works on: {list_names(outliving)}."


def _whole(some: Sequence[SecretReport], secrets: Sequence[SecretReport]) -> str:
    if len(secrets) == 1:
        return secrets[0].path
    return (
        f"all {len(secrets):,} secrets" if len(some) == len(secrets) else f"{len(some):,} of {len(secrets):,} secrets"
    )


def _replaced(status: IncidentStatus, secrets: Sequence[SecretReport]) -> Iterator[str]:
    if not secrets:
        return
    if status.incident.mode is Mode.REVOKE_ONLY:
        yield "Nothing new was made: who needs it is cut off until a person rotates the secret."
        return
    fresh = [secret for secret in secrets if secret.replacement]
    if len(fresh) == len(secrets):
        yield f"A new credential is in force for {_whole(fresh, secrets)}."
    else:
        lacking = [secret.path for secret in secrets if not secret.replacement]
        yield f"No new credential yet, so who needs it is cut off: {list_names(lacking)}."


def _copies(secrets: Sequence[SecretReport]) -> Iterator[str]:
    if not secrets:
        return
    clear = [secret for secret in secrets if secret.clear_seconds is not None]
    if len(clear) == len(secrets):
        slowest = lasted(max(secret.clear_seconds or 0.0 for secret in clear))
        yield f"The old value was looked for everywhere, and the search was over {slowest} after the trigger."
    else:
        some = f": only for {_whole(clear, secrets)}" if clear else ""
        yield f"It is not proven yet that every copy is clear{some}."
    if remaining := [secret.path for secret in secrets if secret.remains]:
        yield f"An old value remains where the service can't remove it: {list_names(remaining)}."


def _readers(secrets: Sequence[SecretReport], readers: ReadersReport) -> Iterator[str]:
    if not secrets:
        return
    if not any(not log.failed for log in readers.logs):
        why = "could be read" if readers.logs else "was given"
        yield f"No access log {why}, so who has read it is not known."
        return
    others = {
        (principal.system, principal.principal)
        for principal in readers.principals
        if not principal.own and principal.reads
    }
    tried = {
        (principal.system, principal.principal)
        for principal in readers.principals
        if not principal.own and not principal.reads
    } - others
    period = f"between {clock(readers.since)} and {clock(readers.until)} UTC"
    also = f", and {len(tried):,} more tried" if tried else ""
    has = "principal other than Keyturn's logins has", "principals other than Keyturn's logins have"
    what = "it" if len(secrets) == 1 else "at least one of them"
    yield f"{count_noun(len(others), *has)} read {what} {period}{also}."
    if any(log.gaps or log.failed for log in readers.logs):
        yield "The logs have gaps, which are listed below: there may be more readers."


def describe_proof(status: IncidentStatus) -> tuple[str, ...]:
    """The proof for each secret and the incident, or its gaps."""
    by_secret: dict[str, list[Check]] = {}
    for path, check in status.checks:
        by_secret.setdefault(path, []).append(check)
    return (
        METHOD,
        *(
            f"{path or status.incident.id}: {'; '.join(check.words for check in checks)}."
            for path, checks in by_secret.items()
        ),
    )
