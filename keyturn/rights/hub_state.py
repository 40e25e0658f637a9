"""The present state of wanted resources: few requests, several at once; what can't be read stays unknown."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.core.rights.hub_setup import LISTED, Fields, HubResource, SetupPort, fields_of, listed_in
from keyturn.rotation.state.context import side_by_side

T = TypeVar("T")

AT_ONCE: Final = 8
"""Maximum number of concurrent requests."""

Sight = Fields | KeyturnError | None
"""The fields of a resource, None where it is missing, or the error that prevents reading it."""


def look_at(hub: SetupPort, resources: Collection[HubResource], unmade: Collection[str] = ()) -> dict[str, Sight]:
    """Return the present state of these resources, by key.

    ``unmade`` are keys of resources that are probably missing, such as everything in an empty hub. Where one listing
    covers several of those, the listing is read instead of each.
    """
    absent = _absent(hub, [each for each in resources if each.key in unmade])
    addresses = dict.fromkeys(each.told_at for each in resources if each.key not in absent)
    answers = side_by_side(lambda address: _attempt(hub.look, address), addresses, AT_ONCE)
    by_address = dict(zip(addresses, answers, strict=True))
    return {each.key: None if each.key in absent else _sight(each, by_address[each.told_at]) for each in resources}


def seen(sight: Sight) -> Fields | None:
    """Return the fields, where they could be read. Raises the error otherwise."""
    if isinstance(sight, KeyturnError):
        raise sight
    return sight


def _absent(hub: SetupPort, resources: Collection[HubResource]) -> set[str]:
    """Return the keys that a listing lacks. A listing that can't be read, or is for one resource alone, shows none."""
    counts = Counter(each.listing for each in resources if each.listing)
    listings = [address for address, count in counts.items() if count > 1]
    answers = side_by_side(lambda address: _attempt(hub.names, address), listings, AT_ONCE)
    names = {
        address: answer
        for address, answer in zip(listings, answers, strict=True)
        if not isinstance(answer, KeyturnError)
    }
    return {each.key for each in resources if each.listing in names and each.name not in names[each.listing]}


def _attempt(ask: Callable[[str], T], address: str) -> T | KeyturnError:
    try:
        return ask(address)
    except KeyturnError as error:
        return error


def _sight(resource: HubResource, answer: Sight) -> Sight:
    if isinstance(answer, KeyturnError):
        return answer
    try:
        if resource.kind in LISTED:
            answer = listed_in(answer or {}, resource)
        return None if answer is None else fields_of(resource.kind, answer)
    except (AttributeError, TypeError, ValueError, KeyError):
        problem = "the answer is not what the hub's API says"
        return Unavailable("look at", resource.key, problem, "Check that VAULT_ADDR reaches the hub itself")
