"""Apply a plan to the hub, one resource at a time: the process may end between any two calls.

The record notes a resource before it is made and again afterwards, so that a later run recognises its own work.
"""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

from keyturn.core.errors import Conflict, Invalid, KeyturnError, Missing, TerminalError, Unavailable
from keyturn.core.ports.hub import State
from keyturn.core.rights.hub_setup import (
    CHANGED_BELOW,
    HOLDS_DATA,
    LISTED,
    Difference,
    Fields,
    HubPlan,
    HubResource,
    Item,
    Kind,
    SetupPort,
    SetupVerdict,
    ValueSource,
    body_of,
    differing,
    tuned_after,
)
from keyturn.rights.hub_record import DIGEST, MadeEntry, RecordPort, SetupRecord, entry_of, write_record
from keyturn.rights.hub_state import AT_ONCE, Sight, look_at, seen
from keyturn.rotation.state.context import side_by_side

DOING: Final = (SetupVerdict.CREATE, SetupVerdict.CHANGE, SetupVerdict.DRIFT)
TRIES: Final = 20
APART: Final = frozenset(
    {
        Kind.POLICY,
        Kind.APPROLE,
        Kind.DATABASE_ROLE,
        Kind.JWT_ROLE,
        Kind.OIDC_ROLE,
        Kind.GROUP,
        Kind.GROUP_ALIAS,
        Kind.KUBERNETES_ROLE,
        Kind.AWS_LOGIN_ROLE,
        Kind.AWS_ROLE,
        Kind.AUDIT_HEADER,
    }
)
"""The hub stores each of these separately, so several are made at once."""
PAUSE: Final = 0.1
"""Seconds between tries: a hub needs a moment to prepare a new mount."""

Progress = Callable[[Item], None]


class HubPort(SetupPort, RecordPort, Protocol):
    def begin(self, entry: str, initial: str) -> None:
        """Write the first version of an entry in Keyturn's own mount; an existing entry is kept."""
        ...


def apply_setup(
    hub: HubPort, state_mount: str, plan: HubPlan, record: SetupRecord, progress: Progress = lambda item: None
) -> SetupRecord:
    """Make, change and set back what the plan contains, and return the new record.

    A refusal stops only what depends on it. All refusals are raised together at the end, and another run continues.
    Blocked, unknown and left-over resources are not changed. Raises Conflict where another setup runs at the same time.
    """
    refused: dict[str, KeyturnError] = {}
    doing = [item for item in plan.items if item.verdict in DOING]
    # The record is stored in these, so they can't be noted beforehand.
    state = [each for each in doing if each.resource.kind is Kind.NAMESPACE]
    state += [each for each in doing if each.resource.key == f"{Kind.MOUNT}:{state_mount}"]
    for item in state:
        _carry_out(hub, [item], record, progress, refused)
    _insist_on_nothing_refused(refused)
    if doing:
        intended = {item.resource.key: entry_of(item.resource, item.resource.fields) for item in doing}
        record = _insist(lambda: write_record(hub, record.intending(intended)))
    others = [item for item in doing if item not in state]
    for _, items in groupby(others, key=lambda item: item.resource.kind):
        ready = [item for item in items if item.resource.within not in refused]
        _carry_out(hub, ready, record, progress, refused)
    done = [item.resource for item in plan.items if _is_own(item, record) and not _stopped(item.resource, refused)]
    made = _made(hub, done)
    record = write_record(hub, record.after(made)) if made else record
    _insist_on_nothing_refused(refused)
    return record


def _stopped(resource: HubResource, refused: Collection[str]) -> bool:
    return resource.key in refused or resource.within in refused


def _insist_on_nothing_refused(refused: Mapping[str, KeyturnError]) -> None:
    errors = list(refused.values())
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problem = "; ".join(f"{key}: {error.problem}" for key, error in refused.items())
        hint = " ".join(dict.fromkeys(f"{error.hint}." for error in errors if error.hint)).rstrip(".")
        raise Invalid("set up", "the hub", f"it refuses {len(errors)}: {problem}", hint)


def _is_own(item: Item, record: SetupRecord) -> bool:
    return item.verdict in DOING or (item.verdict is SetupVerdict.IN_PLACE and item.resource.key in record.intended)


def _made(hub: SetupPort, resources: Sequence[HubResource]) -> Mapping[str, MadeEntry]:
    # A policy has one field, which the hub keeps as it is sent.
    sights: Mapping[str, Sight] = {each.key: each.fields for each in resources if each.kind is Kind.POLICY}
    sights = {**sights, **look_at(hub, [each for each in resources if each.key not in sights])}
    return {each.key: entry_of(each, _as_made(each, sights[each.key])) for each in resources}


def _as_made(resource: HubResource, sight: Sight) -> Fields:
    present = seen(sight)
    if present is None or (flaws := differing(present, resource.fields)):
        raise changed_meanwhile(resource, [flaw.field for flaw in flaws] if present is not None else [])
    return present


def changed_meanwhile(resource: HubResource, fields: Sequence[str] = ()) -> Conflict:
    """Return the error where another process changes it, or the hub stores something else than it was sent."""
    where = f": {', '.join(fields)}" if fields else ""
    return Conflict("set up", resource.key, f"it has changed meanwhile{where}", "Look at the plan again")


def _carry_out(
    hub: HubPort, items: Sequence[Item], record: SetupRecord, progress: Progress, refused: dict[str, KeyturnError]
) -> None:
    """Look again at the items of one kind, then make them, several at once where the kind allows.

    Adds the final refusals to ``refused``.
    """

    def put(item: Item) -> None:
        try:
            _put(hub, item, present[item.resource.key], record)
        except Conflict:
            raise
        except TerminalError as error:
            refused[item.resource.key] = error

    unmade = {item.resource.key for item in items if item.verdict is SetupVerdict.CREATE}
    sights = look_at(hub, [item.resource for item in items], unmade)
    present = {item.resource.key: _as_planned(item, seen(sights[item.resource.key])) for item in items}
    for batch in [items] if items and items[0].resource.kind in APART else [[item] for item in items]:
        side_by_side(put, batch, AT_ONCE)
        for item in batch:
            if item.resource.key not in refused:
                progress(item)


def _put(hub: HubPort, item: Item, present: Fields | None, record: SetupRecord) -> None:
    resource, fields = item.resource, _fields(item, record)
    if resource.kind is Kind.ENTRY:
        _insist(lambda: hub.begin(resource.name, resource.initial))
        return
    address = resource.address + (CHANGED_BELOW.get(resource.kind, "") if present is not None else "")
    values = values_of(hub, resource)
    body = body_of(resource, fields, anew=present is None) | values | _links(hub, resource)
    _insist(lambda: hub.put(address, body, tuple(values.values())))
    if present is None and (rest := tuned_after(fields)):
        _insist(lambda: hub.put(resource.address + CHANGED_BELOW[resource.kind], rest))


def _links(hub: HubPort, resource: HubResource) -> dict[str, str]:
    if resource.kind is not Kind.GROUP_ALIAS:
        return {}
    group, methods = hub.look(resource.told_at) or {}, hub.look(LISTED[Kind.AUTH_METHOD]) or {}
    ids = {"canonical_id": group.get("id"), "mount_accessor": (methods.get(f"{resource.mount}/") or {}).get("accessor")}
    if not all(ids.values()):
        raise changed_meanwhile(resource, [name for name, value in ids.items() if not value])
    return {name: str(value) for name, value in ids.items()}


def _as_planned(item: Item, present: Fields | None) -> Fields | None:
    """Return the present fields, so that nothing unseen is overwritten. Raises Conflict."""
    gone = item.verdict is SetupVerdict.DRIFT and not item.differences
    expected_absent = item.verdict is SetupVerdict.CREATE or gone
    if (present is None) != expected_absent:
        raise changed_meanwhile(item.resource)
    before = {each.field: each.present for each in item.differences}
    if present is not None and (moved := differing(present, before)):
        raise changed_meanwhile(item.resource, [each.field for each in moved])
    return present


def _fields(item: Item, record: SetupRecord) -> Fields:
    """Return the wanted fields, and the former values of changed fields that are not declared."""
    made = record.made.get(item.resource.key)
    if made is None or item.verdict is not SetupVerdict.DRIFT:
        return item.resource.fields
    beside = (each for each in item.differences if each.field not in item.resource.fields)
    return {**item.resource.fields, **{each.field: _former(item.resource, each) for each in beside}}


def _former(resource: HubResource, difference: Difference) -> Any:
    if not str(difference.wanted).startswith(DIGEST):
        return difference.wanted
    problem = f"{difference.field} was changed, and its former value is too long to have been kept"
    raise Invalid("set back", resource.key, problem, "Set it by hand, or declare it")


def values_of(hub: RecordPort, resource: HubResource) -> dict[str, str]:
    """Return the secrets that the resource is made with, read now. Raises Missing."""
    sources = resource.values.values()
    entries = {path: hub.read_state(path) for path in dict.fromkeys(source.entry for source in sources if source.entry)}
    return {name: _value(resource, source, entries) for name, source in resource.values.items()}


def _value(resource: HubResource, source: ValueSource, entries: Mapping[str, State | None]) -> str:
    if source.entry:
        state = entries[source.entry]
        value = state.data.get(source.field) if state else None
        problem = f"the hub's entry {source.entry} has no {source.field}"
        hint = f"Put it there: vault kv put <state mount>/{source.entry} {source.field}=-"
    elif source.file:
        value, problem, hint = _content(source.file), f"nothing can be read from {source.file}", "Put its secret there"
    else:
        value, problem = os.environ.get(source.variable), f"{source.variable} is not set"
        hint = "Set it for this one command, from where the secret is kept"
    if not isinstance(value, str) or not value:
        raise Missing("make", resource.key, problem, hint)
    return value


def _content(file: str) -> str | None:
    with suppress(OSError, ValueError):
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    return None


def remove_left_over(
    hub: HubPort, plan: HubPlan, record: SetupRecord, keys: Collection[str], progress: Progress = lambda item: None
) -> SetupRecord:
    """Remove the named left-over resources. Raises Invalid for any other, and for one that holds data."""
    left = {item.resource.key: item for item in plan.of(SetupVerdict.LEFT_OVER)}
    for key in keys:
        if key not in left:
            hint = f"Name one of: {', '.join(left)}" if left else "There is nothing to remove"
            raise Invalid("remove", key, "it is nothing that Keyturn made and nothing declares any more", hint)
        if left[key].resource.kind in HOLDS_DATA:
            raise Invalid("remove", key, "it holds data", "Remove it by hand, where you are sure")
    for key in keys:
        if address := _removed_at(hub, left[key].resource):
            hub.remove(address)
        progress(replace(left[key], why="removed"))
    return write_record(hub, record.after({}, frozenset(keys))) if keys else record


def _removed_at(hub: HubPort, resource: HubResource) -> str:
    if resource.kind is not Kind.GROUP_ALIAS:
        return resource.address
    alias = (hub.look(resource.told_at) or {}).get("alias") or {}
    return f"{resource.address}/id/{alias['id']}" if alias.get("id") else ""


def _insist(act: Callable[[], Any]) -> Any:
    for attempt in range(TRIES):
        try:
            return act()
        except Unavailable:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE)
    raise AssertionError
