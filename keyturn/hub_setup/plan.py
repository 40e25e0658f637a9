"""What would be made in the hub, changed or set back; nothing is written, and what was not seen is unknown."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.core.hub_setup import (
    FIXED,
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
    differing,
    fields_of,
)
from keyturn.hub_setup.record import MadeEntry, SetupRecord, kept_value
from keyturn.policies.documents import was_made

GONE: Final = "somebody has removed it since Keyturn made it"
GONE_FOR_GOOD: Final = "it is gone, with all that it held: see what became of it, or name it in --overwrite"
FOREIGN: Final = "it is there, and Keyturn has not made it: name it in --overwrite, or declare it as it is"
UNCHANGEABLE: Final = "the hub lets nobody change this: correct the catalogue, or make another beside it"
CHANGED: Final = "somebody has changed it since Keyturn made it"
UNDECLARED: Final = "nothing declares it any more: --remove takes it away"
KEEPS: Final = "nothing declares it any more; it holds data, and Keyturn removes none"


@dataclass
class Eyes:
    """What the hub tells, each listing once."""

    hub: SetupPort
    _listings: dict[str, Fields] = field(default_factory=dict)

    def look(self, resource: HubResource) -> Fields | None:
        """The fields that a thing has; None where it is not there. Raises what keeps anybody from looking."""
        if listing := LISTED.get(resource.kind):
            answer = self._listed(listing).get(f"{resource.name}/")
        else:
            answer = self.hub.look(resource.address)
        try:
            return None if answer is None else fields_of(resource.kind, answer)
        except (AttributeError, TypeError, ValueError, KeyError):
            problem = "the answer is not what the hub's API says"
            hint = "See that VAULT_ADDR leads to the hub itself"
            raise Unavailable("look at", resource.key, problem, hint) from None

    def _listed(self, address: str) -> Fields:
        if address not in self._listings:
            self._listings[address] = self.hub.look(address) or {}
        return self._listings[address]


def plan_setup(
    hub: SetupPort,
    wanted: Sequence[HubResource],
    record: SetupRecord,
    overwrite: Collection[str] = (),
    *,
    whole: bool = True,
) -> HubPlan:
    """What would become of everything that is wanted, and of what is left of an earlier time.

    ``overwrite`` are keys of what may be changed though somebody else has made it, or made anew though it held data;
    ``*`` is all of them. Unless ``wanted`` is the ``whole``, nothing is left over.
    """
    eyes, items = Eyes(hub), dict[str, Item]()
    for resource in wanted:
        items[resource.key] = _item(eyes, resource, record, overwrite, items)
    return HubPlan((*items.values(), *(_left_over(eyes, record, items) if whole else ())))


def _item(
    eyes: Eyes, resource: HubResource, record: SetupRecord, overwrite: Collection[str], before: Mapping[str, Item]
) -> Item:
    container = before.get(resource.within)
    if container and container.verdict is SetupVerdict.UNKNOWN:
        return Item(resource, SetupVerdict.UNKNOWN, f"nobody could look whether there is {container.resource.key}")
    try:
        present = None if container and container.verdict is SetupVerdict.CREATE else eyes.look(resource)
    except KeyturnError as error:
        return Item(resource, SetupVerdict.UNKNOWN, error.text)
    may = resource.key in overwrite or "*" in overwrite
    made, intended = record.made.get(resource.key), record.intended.get(resource.key)
    if present is None:
        return _absent(resource, made, may)
    return compare_resource(resource, present, _owned(present, made, intended), may)


def _absent(resource: HubResource, made: MadeEntry | None, may: bool) -> Item:
    if made is None or may:
        return Item(resource, SetupVerdict.CREATE)
    if resource.kind in HOLDS_DATA:
        return Item(resource, SetupVerdict.BLOCKED, GONE_FOR_GOOD)
    return Item(resource, SetupVerdict.DRIFT, GONE)


def _owned(present: Fields, made: MadeEntry | None, intended: MadeEntry | None) -> Fields | None:
    """The fields that it had when Keyturn made it; None where somebody else did.

    What was about to be made is Keyturn's where it is exactly that: a process may have ended before it said so.
    """
    if intended is not None and not _changed(present, intended.fields):
        return intended.fields
    return None if made is None else made.fields


def compare_resource(resource: HubResource, present: Fields, made: Fields | None, may: bool) -> Item:
    """What becomes of a thing that is there with these fields; ``made`` are those that Keyturn has given it."""
    differences = tuple(differing(present, resource.fields))
    changed = tuple(_changed(present, made)) if made is not None else ()
    beside = tuple(each for each in changed if each.field not in resource.fields)
    if any(each.field in FIXED.get(resource.kind, ()) for each in (*differences, *beside)):
        return Item(resource, SetupVerdict.BLOCKED, UNCHANGEABLE, (*differences, *beside))
    if changed and (differences or beside):
        return Item(resource, SetupVerdict.DRIFT, CHANGED, (*differences, *beside))
    if not differences:
        return Item(resource, SetupVerdict.IN_PLACE)
    if made is None and not may and not _rendered(resource, present):
        return Item(resource, SetupVerdict.BLOCKED, FOREIGN, differences)
    return Item(resource, SetupVerdict.CHANGE, "", differences)


def _rendered(resource: HubResource, present: Fields) -> bool:
    """Whether it is a policy that `keyturn policy render` has written, and a person has put there."""
    return resource.kind is Kind.POLICY and was_made(str(present.get("policy", "")))


def _changed(present: Fields, made: Fields) -> Iterator[Difference]:
    """What is not as the record has it; what a newer hub no longer tells says nothing."""
    for name, value in made.items():
        if name in present and kept_value(name, present[name]) != value:
            yield Difference(name, present[name], value)


def _left_over(eyes: Eyes, record: SetupRecord, items: Mapping[str, Item]) -> Iterator[Item]:
    for key, entry in record.made.items():
        if key in items:
            continue
        holds = entry.resource.kind in HOLDS_DATA
        try:
            if eyes.look(entry.resource) is not None:
                yield Item(entry.resource, SetupVerdict.LEFT_OVER, KEEPS if holds else UNDECLARED)
        except KeyturnError as error:
            yield Item(entry.resource, SetupVerdict.UNKNOWN, error.text)
