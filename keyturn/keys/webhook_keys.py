"""Replace the signing keys of notices, one consumer at a time, without a rejected notice.

The next key is added, and both sign. After the grace period, the consumer has to acknowledge a repeated notice signed
by the next key alone, which then replaces the old one. All state is in one entry, written by compare-and-set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, KeyturnError, NotFound
from keyturn.core.notifications.notice_state import Heard
from keyturn.core.own_keys import KeyState, KeyTurn, OwnKey
from keyturn.core.ports.hub import Right
from keyturn.core.webhook_keys import WebhookKeys, generate_webhook_key, with_next, with_next_alone
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.notice_store import load_heard
from keyturn.rotation.state.record_store import load_record, promoted_last

LEAST_GRACE: Final = timedelta(minutes=5)
"""Minimum time for both keys to sign, longer than all attempts of a notice."""
TRIED_WITHIN: Final = timedelta(hours=2)
"""Two runs of `rotate-own-keys`, within which a next key was tried."""
ACTION: Final = "turn webhook key"


@dataclass(frozen=True)
class HeldKeys:
    """A consumer's entry: its keys, all fields, version, and age."""

    keys: WebhookKeys
    data: Mapping[str, Any]
    version: int
    since: datetime


def load_keys(workspace: Workspace, consumer: str) -> HeldKeys:
    """The keys that sign a consumer's notices. Raises NotFound, Invalid."""
    path = workspace.catalogue.consumer(consumer).signing_key
    state = workspace.hub.read_state(path)
    if state is None:
        hint = f"Write its webhook key to the field `key` at {path} in Keyturn's own mount of the hub"
        raise NotFound("read", path, f"the signing key of consumer {consumer} is not there", hint)
    since = workspace.hub.now() - timedelta(seconds=state.age)
    return HeldKeys(WebhookKeys.from_data(path, state.data), state.data, state.version, since)


def webhook_key(workspace: Workspace, consumer: str) -> OwnKey:
    """The status of a consumer's key, with any error."""
    name = workspace.catalogue.consumer(consumer).signing_key
    what = f"signs notices to {consumer}"
    try:
        held = load_keys(workspace, consumer)
        blocked = _denied(workspace, name)
    except KeyturnError as error:
        return OwnKey(name, what, KeyState.UNKNOWN, blocked=str(error))
    settings = workspace.own_keys
    if held.keys.next is None:
        return OwnKey(name, what, KeyState.IN_USE, held.since, held.since + settings.webhook_keys, blocked)
    due_at = held.since + max(LEAST_GRACE, settings.webhook_grace)
    if not blocked and due_at + TRIED_WITHIN <= workspace.hub_now():
        blocked = _not_accepted(workspace, consumer)
    return OwnKey(name, what, KeyState.TURNING, held.since, due_at, blocked)


def turn_webhook_key(workspace: Workspace, consumer: str, *, forced: bool = False) -> KeyTurn:
    """Continue replacing a consumer's key, or begin if due or ``forced``. Safe to run again.

    Raises Unrecorded before any change.
    """
    name, held = workspace.catalogue.consumer(consumer).signing_key, load_keys(workspace, consumer)
    if not (due := _due(workspace, held, forced=forced)):
        return KeyTurn(name, due.why)
    if denied := _denied(workspace, name):
        return KeyTurn(name, denied, blocked=True)
    if held.keys.next and (unproven := _unproven(workspace, consumer, held, forced=forced)):
        return KeyTurn(name, unproven, blocked=True)
    if held.keys.next:
        written, did = with_next_alone(held.data), f"{consumer} accepts the new key, which alone signs from now on"
    else:
        written = with_next(held.data, generate_webhook_key())
        did = f"a new key was added next to the old one: notices to {consumer} are signed with both"
    try:
        with record_action(workspace, ACTION, place=name, note=did):
            workspace.hub.write_state(name, written, cas=held.version)
    except Conflict:
        return KeyTurn(name, "it was written by someone else in the meantime: the next run checks it again")
    return KeyTurn(name, did, changed=True)


@dataclass(frozen=True)
class _Due:
    """Whether the next step is due, or why not."""

    why: str = ""

    def __bool__(self) -> bool:
        return not self.why


def _due(workspace: Workspace, held: HeldKeys, *, forced: bool) -> _Due:
    settings, age = workspace.own_keys, workspace.hub_now() - held.since
    if held.keys.next is None:
        return _Due() if forced or age >= settings.webhook_keys else _Due("in use")
    grace = LEAST_GRACE if forced else max(LEAST_GRACE, settings.webhook_grace)
    return _Due() if age >= grace else _Due(f"both keys sign until {held.since + grace:%Y-%m-%d %H:%M} UTC at least")


def _denied(workspace: Workspace, name: str) -> str:
    """Why this login may not replace the key, or empty."""
    path = f"{workspace.hub.state_mount}/data/{name}"
    if not workspace.hub.missing_capabilities([Right("update", path)]):
        return ""
    return f"this login may not write {path}: `keyturn setup hub --apply` writes the worker's policy anew"


def _unproven(workspace: Workspace, consumer: str, held: HeldKeys, *, forced: bool) -> str:
    """Why the new key may not sign alone yet, or empty.

    The test repeats an acknowledged notice, which the consumer drops after checking the signature. If it never answers,
    a person confirms with ``forced``.
    """
    if not workspace.catalogue.consumer(consumer).answers:
        return "" if forced and _due(workspace, held, forced=False) else _not_accepted(workspace, consumer)
    notice = next(_heard_before(workspace, consumer), None)
    if notice is None:
        has_secrets = any(consumer in secret.consumers for secret in workspace.catalogue.secrets.values())
        return f"{consumer} has acknowledged nothing yet by which its new key could be tried" if has_secrets else ""
    path, version, at, made = notice
    try:
        accepted = workspace.sender.accepts_next_key(consumer, path, version, at, made=made)
    except KeyturnError as error:
        return f"{consumer} could not be asked whether it accepts the new key: {error}"
    return "" if accepted else _not_accepted(workspace, consumer)


def _not_accepted(workspace: Workspace, consumer: str) -> str:
    settings, name = workspace.catalogue.consumer(consumer), workspace.catalogue.consumer(consumer).signing_key
    if not settings.answers:
        by_hand = f"see to it that it does, then `keyturn keys rotate-own {name} --now` once the grace is over"
        return f"{consumer} has no health endpoint, so the new key can't be tested there: {by_hand}"
    remedy = f"let it read the field `next` of {name} in the hub's mount {workspace.hub.state_mount}, or give it to it"
    return f"{consumer} has not acknowledged a notice by the new key yet: {remedy}"


def _heard_before(workspace: Workspace, consumer: str) -> Iterator[tuple[str, int, datetime, bool]]:
    """The acknowledged notices of versions that are still CURRENT.

    Each has the path, version, time, and whether that is the creation time.
    """
    paths = [path for path, secret in sorted(workspace.catalogue.secrets.items()) if consumer in secret.consumers]
    heard = load_heard(workspace, paths)
    for path in paths:
        info, record = workspace.hub.describe(path), load_record(workspace, path)
        if info is None or not info.served or record.open or record.dead(info.version):
            continue
        last, written = promoted_last(record), heard.get(path)
        if last and last.version == info.version and last.promoted_at and consumer in last.acknowledged:
            yield path, last.version, last.promoted_at, False
        elif isinstance(written, Heard) and written.of(info) and consumer in written.told:
            yield path, written.version, datetime.fromisoformat(written.made_at), True
