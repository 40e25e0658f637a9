"""Plan the setup of a hub without writing: what to make, change or set back, and what is unknown."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from keyturn.core.errors import Denied, KeyturnError
from keyturn.core.rights.hub_setup import (
    FIXED,
    HOLDS_DATA,
    LISTED,
    MAX_LEASE_TTL,
    NAMESPACES,
    NO_LOCKOUT,
    SYSTEM_LIMIT,
    Difference,
    Fields,
    HubPlan,
    HubResource,
    Item,
    Kind,
    SetupPort,
    SetupVerdict,
    differing,
)
from keyturn.rights.hub_record import MadeEntry, SetupRecord, kept_value
from keyturn.rights.hub_state import Sight, look_at
from keyturn.rights.policy_documents import was_made

GONE: Final = "it was removed since Keyturn made it"
GONE_FOR_GOOD: Final = "it is gone, with all that it held: see what became of it, or name it in --overwrite"
FOREIGN: Final = "it is there, and Keyturn has not made it: name it in --overwrite, or declare it as it is"
UNCHANGEABLE: Final = "the hub does not allow changing this: correct the catalogue, or make another next to it"
CHANGED: Final = "it was changed since Keyturn made it"
UNDECLARED: Final = "nothing declares it any more: --remove takes it away"
UNSEEN: Final = "nothing declares it any more; whether it is still there, this login may not see"
AGAIN: Final = "its secrets are written again"
MAKING: Final = (SetupVerdict.CREATE, SetupVerdict.DRIFT)
NAMESAKE: Final = (
    "the namespace {} has this name, and the hub lets no mount have it: give the mount another one, in the catalogue or"
    " by KEYTURN_HUB_MOUNT, KEYTURN_HUB_STATE_MOUNT or KEYTURN_HUB_TRANSIT_MOUNT, or the namespace"
)
NOBODYS: Final = (
    "there is none, and Keyturn makes none: those who run the hub declare it, under `audit` in its configuration"
    " (OpenBao), or with `vault audit enable`"
)
KEEPS: Final = "nothing declares it any more; it holds data, and Keyturn removes none"


def plan_setup(
    hub: SetupPort,
    wanted: Sequence[HubResource],
    record: SetupRecord,
    overwrite: Collection[str] = (),
    *,
    whole: bool = True,
    rewrite: Collection[str] = (),
) -> HubPlan:
    """Return the plan for the wanted resources, and for those left over from earlier.

    ``overwrite`` are keys of resources that may be changed although Keyturn did not make them, or made again although
    they held data. ``*`` means all. ``rewrite`` are keys of resources to write again for their secrets, which can't be
    compared. Unless ``wanted`` is the ``whole``, nothing counts as left over.
    """
    unmade = {resource.key for resource in wanted} - record.made.keys() - record.intended.keys()
    containers = [resource for resource in wanted if resource.kind in LISTED]
    sights = look_at(hub, containers)
    items = {each.key: _item(each, sights[each.key], record, overwrite, rewrite) for each in containers}
    items |= _beside_namespaces(hub, items)
    rest = [resource for resource in wanted if resource.kind not in LISTED]
    # The content of a missing mount is missing too.
    sights = look_at(hub, [each for each in rest if _is_open(items.get(each.within))], unmade)
    for resource in rest:
        container = items.get(resource.within)
        if container and container.verdict is SetupVerdict.UNKNOWN:
            why = f"could not check whether there is {container.resource.key}"
            items[resource.key] = Item(resource, SetupVerdict.UNKNOWN, why)
        else:
            items[resource.key] = _item(resource, sights.get(resource.key), record, overwrite, rewrite)
    ordered = (items[resource.key] for resource in wanted)
    return HubPlan((*ordered, *(_left_over(hub, record, items) if whole else ())))


def _is_open(container: Item | None) -> bool:
    return container is None or container.verdict not in (SetupVerdict.UNKNOWN, SetupVerdict.CREATE)


def _beside_namespaces(hub: SetupPort, items: Mapping[str, Item]) -> dict[str, Item]:
    """Return the mounts that the hub would refuse, because a namespace has their name.

    Without the right to list namespaces it returns none, and the hub decides. Source: "Namespaces" in the documentation
    of OpenBao.
    """
    lacking = [each for each in items.values() if each.verdict in MAKING and each.resource.kind is Kind.MOUNT]
    try:
        names = hub.names(NAMESPACES.rstrip("/")) if lacking else ()
    except KeyturnError:
        return {}
    taken = {each.resource.key: f"{each.resource.name.partition('/')[0]}/" for each in lacking}
    return {
        each.resource.key: replace(each, verdict=SetupVerdict.BLOCKED, why=NAMESAKE.format(taken[each.resource.key]))
        for each in lacking
        if taken[each.resource.key] in names
    }


def _item(
    resource: HubResource, sight: Sight, record: SetupRecord, overwrite: Collection[str], rewrite: Collection[str]
) -> Item:
    if isinstance(sight, KeyturnError):
        return Item(resource, SetupVerdict.UNKNOWN, sight.text)
    may = resource.key in overwrite or "*" in overwrite
    made, intended = record.made.get(resource.key), record.intended.get(resource.key)
    if sight is None:
        return _absent(resource, made, may)
    item = compare_resource(resource, sight, _owned(sight, made, intended), may)
    return _with_secrets(item, sight, resource.key in rewrite)


def _with_secrets(item: Item, present: Fields, rewrite: bool) -> Item:
    hidden = tuple(sorted(name for name in item.resource.values if name not in present))
    if rewrite and hidden and item.verdict is SetupVerdict.IN_PLACE:
        return replace(item, verdict=SetupVerdict.CHANGE, why=AGAIN)
    # What is changed is written with its secrets.
    stays = item.verdict in (SetupVerdict.IN_PLACE, SetupVerdict.BLOCKED)
    return replace(item, uncompared=hidden) if stays else item


def _absent(resource: HubResource, made: MadeEntry | None, may: bool) -> Item:
    if resource.kind is Kind.AUDIT_DEVICE:
        return Item(resource, SetupVerdict.BLOCKED, NOBODYS)
    if made is None or may:
        return Item(resource, SetupVerdict.CREATE, f"it will say {resource.initial}" if resource.initial else "")
    if resource.kind in HOLDS_DATA:
        return Item(resource, SetupVerdict.BLOCKED, GONE_FOR_GOOD)
    return Item(resource, SetupVerdict.DRIFT, GONE)


def _owned(present: Fields, made: MadeEntry | None, intended: MadeEntry | None) -> Fields | None:
    """Return the fields that Keyturn gave the resource; None where Keyturn did not make it.

    An intended resource counts as Keyturn's where it has exactly the intended fields: a process may have ended before
    it noted that.
    """
    if intended is not None and not _changed(present, intended.fields):
        return intended.fields
    return None if made is None else made.fields


def compare_resource(resource: HubResource, present: Fields, made: Fields | None, may: bool) -> Item:
    # Others' AppRole method keeps its lockout, unless its name is given.
    left = {NO_LOCKOUT} if made is None and not may else set()
    unequal = differing(present, resource.fields)
    differences = tuple(each for each in unequal if each.field not in left and not _is_longer(resource, each))
    changed = tuple(_changed(present, made)) if made is not None else ()
    beside = tuple(each for each in changed if each.field not in resource.fields)
    if any(each.field in FIXED.get(resource.kind, ()) for each in (*differences, *beside)):
        return Item(resource, SetupVerdict.BLOCKED, UNCHANGEABLE, (*differences, *beside))
    if changed and (differences or beside):
        return Item(resource, SetupVerdict.DRIFT, CHANGED, (*differences, *beside))
    if not differences:
        return Item(resource, SetupVerdict.IN_PLACE)
    rendered = resource.kind is Kind.POLICY and was_made(str(present.get("policy", "")))
    if made is None and not may and not rendered:
        return Item(resource, SetupVerdict.BLOCKED, FOREIGN, differences)
    return Item(resource, SetupVerdict.CHANGE, "", differences)


def _is_longer(resource: HubResource, difference: Difference) -> bool:
    limit = resource.kind is Kind.MOUNT and difference.field == MAX_LEASE_TTL
    return limit and int(difference.present or SYSTEM_LIMIT) >= int(difference.wanted)


def _changed(present: Fields, made: Fields) -> Iterator[Difference]:
    """Yield the differences from the record; fields that a newer hub no longer shows do not count."""
    for name, value in made.items():
        if name in present and kept_value(name, present[name]) != value:
            yield Difference(name, present[name], value)


def _left_over(hub: SetupPort, record: SetupRecord, items: Mapping[str, Item]) -> Iterator[Item]:
    former = (entry.resource for key, entry in record.made.items() if key not in items)
    # Keyturn's own entries stay, even where the caller does not name them.
    others = [resource for resource in former if resource.kind is not Kind.ENTRY]
    sights = look_at(hub, others)
    for resource in others:
        sight = sights[resource.key]
        if isinstance(sight, Denied):
            # The rights to look at it have gone with what declared it.
            yield Item(resource, SetupVerdict.LEFT_OVER, UNSEEN)
        elif isinstance(sight, KeyturnError):
            yield Item(resource, SetupVerdict.UNKNOWN, sight.text)
        elif sight is not None:
            yield Item(resource, SetupVerdict.LEFT_OVER, KEEPS if resource.kind in HOLDS_DATA else UNDECLARED)
