"""The consumers to notify of a version that was written by hand, not by a rotation.

Pending notices are stored before any is sent, so that the next run continues after a crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from keyturn.core.errors import KeyturnError, unexpected
from keyturn.core.fingerprint import is_noted
from keyturn.core.notifications.notice_state import Heard, made_at
from keyturn.core.plan import Action, Plan
from keyturn.core.ports.hub import TOKEN, HubSecret, SecretInfo
from keyturn.core.ports.strategies import AdjustsFields
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import Rotation
from keyturn.core.text.path_patterns import covers
from keyturn.rotation.copies.lineage_check import lost_or_doubted
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.notice_store import (
    PARTS,
    HeardByPath,
    by_part,
    change_part,
    keep_look,
    last_look,
    load_part,
    was_there,
)
from keyturn.rotation.state.record_store import load_record, promoted_last
from keyturn.sync import observe
from keyturn.sync.apply import Result

AT_ONCE: Final = 8

BETWEEN: Final = 20
"""Maximum versions read to detect a change. More count as one."""

UNHEARD: Final = Heard()
"""The record of an undecided secret: its next value is a change."""


@dataclass(frozen=True)
class Owing:
    """The secrets with notices due, ``held`` by another run, or undecided with ``errors``."""

    paths: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()
    errors: Mapping[str, KeyturnError] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The record to store for a secret, if decided. ``held`` means busy in another run."""

    heard: Heard | None = None
    held: bool = False
    error: KeyturnError | None = None


def consumed(workspace: Workspace, patterns: Sequence[str]) -> list[str]:
    """The secrets with consumers that match ``patterns``, or all."""
    secrets = workspace.catalogue.secrets
    wild = [pattern for pattern in patterns if "*" in pattern]
    fitting = {path for path in patterns if path in secrets} if patterns else {*secrets}
    fitting |= {path for path in secrets if any(covers(glob, path) for glob in wild)} if wild else set()
    return sorted(path for path in fitting if secrets[path].consumers)


def owing(workspace: Workspace, planned: Plan, results: Sequence[Result]) -> Owing:
    """Record in the hub which notices an applied plan makes due. Raises the hub's errors.

    A secret with a copy out of sync is left to a later run. Without changes since the last look, nothing is written
    except, for all secrets, the time of that look.
    """
    paths = consumed(workspace, planned.paths)
    if not paths:
        return Owing()
    arrived = versions_in_step(planned, results)
    infos = looked_up(workspace, planned, results, paths)
    looked, whole = last_look(workspace), not planned.paths
    parts = by_part(paths)
    answers = side_by_side(
        lambda part: owing_part(workspace, part, parts.get(part, []), infos, arrived, looked, whole=whole),
        range(PARTS) if whole else parts,
    )
    if whole and planned.listing and not (planned.listing.secrets.unread or any(answer.errors for answer in answers)):
        keep_look(workspace, planned.listing.at)
    return Owing(
        tuple(sorted(path for answer in answers for path in answer.paths)),
        frozenset().union(*(answer.held for answer in answers)),
        {path: error for answer in answers for path, error in answer.errors.items()},
    )


def versions_in_step(planned: Plan, results: Sequence[Result]) -> dict[str, int]:
    """The version that all copies of a secret serve, or 0 if there isn't one.

    Secrets without copies and hands-off copies don't count.
    """
    done = {(result.store, result.name): result for result in results}
    served: dict[str, int] = {}
    for item in planned.items:
        result = done.get((item.store, item.name))
        if item.hands_off or item.action is Action.DELETE:
            continue
        in_step = not result.error if result else item.action is Action.IN_SYNC
        version = (result.version if result else item.version) if in_step else 0
        served[item.path] = version if served.get(item.path, version) == version else 0
    return served


def looked_up(
    workspace: Workspace, planned: Plan, results: Sequence[Result], paths: Iterable[str]
) -> Mapping[str, SecretInfo]:
    """The plan's listing of these secrets, refreshed for those with results."""
    listed: Mapping[str, SecretInfo] = planned.listing.secrets if planned.listing else {}
    touched = {result.path for result in results}
    anew = {path for path in paths if path in touched or planned.listing is None}
    if not anew:
        return listed
    # An unreadable mount blocks no other.
    return {
        **listed,
        **(observe.hub_secrets(workspace, anew) if workspace.hub.mounts else workspace.hub.describe_many(anew)),
    }


def owing_part(
    workspace: Workspace,
    part: int,
    paths: Sequence[str],
    infos: Mapping[str, SecretInfo],
    arrived: Mapping[str, int],
    looked: datetime | None,
    *,
    whole: bool,
) -> Owing:
    """The due notices of one part, with any error."""
    declared = {path: workspace.secret(path).consumers for path in paths}
    try:
        before, _ = load_part(workspace, part)
        verdicts = verdicts_of(workspace, paths, infos, before, looked, arrived)

        def lay(records: dict[str, Heard]) -> HeardByPath:
            # A record that another run has stored since is as good, and may show who was notified.
            news = {path: verdict for path, verdict in verdicts.items() if records.get(path) == before.get(path)}
            records |= {path: verdict.heard for path, verdict in news.items() if verdict.heard}
            return {
                path: heard.owing(declared[path]) if path in declared else heard
                for path, heard in records.items()
                if path in declared or not whole
            }

        now = before if lay(dict(before)) == before else change_part(workspace, part, lay)
        ready = [path for path in paths if path in now and to_be_told(now[path], infos.get(path), arrived)]
        ready = [path for path in ready if not ended(workspace, path, now[path])]
    except KeyturnError as error:
        return Owing(errors=dict.fromkeys(paths, error))
    return Owing(
        tuple(ready),
        frozenset(path for path, verdict in verdicts.items() if verdict.held),
        {path: verdict.error for path, verdict in verdicts.items() if verdict.error},
    )


def verdicts_of(
    workspace: Workspace,
    paths: Iterable[str],
    infos: Mapping[str, SecretInfo],
    before: Mapping[str, Heard],
    looked: datetime | None,
    arrived: Mapping[str, int],
) -> dict[str, Verdict]:
    """The new records for secrets with an unrecorded newest version."""
    news = [path for path in paths if path in infos and news_of(before.get(path), infos[path])]
    verdicts = side_by_side(
        lambda path: judge_version(workspace, infos[path], before.get(path), looked, arrived), news, AT_ONCE
    )
    return dict(zip(news, verdicts, strict=True))


def to_be_told(heard: Heard, info: SecretInfo | None, arrived: Mapping[str, int]) -> bool:
    """Whether a notice is due, and every copy serves the newest version."""
    if info is None or not (heard.waiting and info.served and heard.of(info)):
        return False
    return arrived.get(info.path, heard.version) == heard.version


def ended(workspace: Workspace, path: str, heard: Heard) -> bool:
    """Whether a revocation or a rotation, which notifies itself, has taken over."""
    record = load_record(workspace, path)
    return record.dead(heard.version) or record.open is not None


def news_of(heard: Heard | None, info: SecretInfo) -> bool:
    """Whether the newest version is readable and unrecorded."""
    return info.served and not (heard and heard.of(info))


def judge_version(
    workspace: Workspace, info: SecretInfo, before: Heard | None, looked: datetime | None, arrived: Mapping[str, int]
) -> Verdict:
    """The record for an unrecorded version, with any error."""
    path = info.path
    if before is None and was_there(info, looked):
        return Verdict(Heard(info.version, made_at(info)))
    waits = UNHEARD if before is None else None
    if arrived.get(path, info.version) != info.version:
        return Verdict(waits)
    try:
        judgement = judged(workspace, path, before or UNHEARD)
    except KeyturnError as error:
        return Verdict(waits, error=error)
    except Exception as error:  # noqa: BLE001  its text could hold a value, and it stops no other secret
        return Verdict(waits, error=unexpected(error))
    return replace(judgement, heard=judgement.heard or waits)


def judged(workspace: Workspace, path: str, before: Heard) -> Verdict:
    """Decide whether the newest version is a change for the consumers.

    It isn't if a rotation announces it, or if they know the value. No notice is due for a version that a revocation has
    ended, or that the hub has fallen back to.
    """
    record, info = load_record(workspace, path), workspace.hub.describe(path)
    if info is None or not info.served or record.dead(info.version):
        return Verdict()
    if record.open:
        return Verdict(held=True)
    last = promoted_last(record)
    if last and last.version == info.version and info.custom.get(TOKEN) == last.token:
        return Verdict(of_rotation(last, info))
    current = workspace.hub.read(path)
    if current is None or current.version != info.version:
        return Verdict(held=True)
    if lost_or_doubted(workspace, path, info.version):
        return Verdict()
    digest = workspace.fingerprint(path, current.fields)
    if last and last.version == info.version and is_noted([last.fingerprint], digest):
        return Verdict(of_rotation(last, info))  # for example where a candidate was recovered
    last_heard = latest(before, last, info)
    if same_value(workspace, last_heard, info, current, digest):
        return Verdict(replace(last_heard, version=info.version, made_at=made_at(info), fingerprint=digest))
    waiting = dict.fromkeys(workspace.secret(path).consumers)
    return Verdict(Heard(info.version, made_at(info), digest, waiting=waiting))


def of_rotation(rotation: Rotation, info: SecretInfo) -> Heard:
    """The record of a version that a rotation announces."""
    return Heard(info.version, made_at(info), rotation.fingerprint, rotated=True)


def latest(before: Heard, last: Rotation | None, info: SecretInfo) -> Heard:
    """The version that consumers last heard of, also from a rotation."""
    if last is None or not last.version or info.custom.get(TOKEN) != last.token:
        return before
    made = next((version.created_at.isoformat() for version in info.versions if version.version == last.version), "")
    if not made or not before.version < last.version < info.version:
        return before
    return Heard(last.version, made, last.fingerprint, rotated=True)


def same_value(workspace: Workspace, before: Heard, info: SecretInfo, current: HubSecret, digest: str) -> bool:
    """Whether CURRENT equals the value before, with no other value in between."""
    if not before.version:
        return False
    made = {version.version: version.created_at.isoformat() for version in info.versions}
    old = workspace.hub.read(info.path, before.version) if made.get(before.version) == before.made_at else None
    if not is_noted([before.fingerprint], digest) and not (
        old and carries_on(workspace, info.path, before, old, current)
    ):
        return False
    between = [version for version in info.versions if (before.version if old else 0) < version.version < info.version]
    if len(between) > BETWEEN:
        return False
    values = [workspace.hub.read(info.path, version.version) for version in between if version.readable]
    return all(
        version is None or version.fields in (current.fields, *([old.fields] if old else [])) for version in values
    )


def carries_on(workspace: Workspace, path: str, before: Heard, old: HubSecret, current: HubSecret) -> bool:
    """Whether CURRENT equals ``old``, perhaps without a retired credential's fields."""
    if old.fields == current.fields:
        return True
    adjusts = capability(workspace.open_strategy(path), AdjustsFields) if before.rotated else None
    left = adjusts.cleanup_fields(old.fields) if adjusts else None
    return left is not None and old.fields.merged(left) == current.fields
