"""What a hub has of what is to be set up: few requests, side by side; what nobody could look at stays unknown."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.core.rights.hub_setup import LISTED, Fields, HubResource, SetupPort, fields_of, listed_in
from keyturn.rotation.state.context import side_by_side

T = TypeVar("T")

AT_ONCE: Final = 8
"""Requests that are under way at once."""

Sight = Fields | KeyturnError | None
"""The fields of a thing, None where it is not there, or what keeps anybody from looking."""


def look_at(hub: SetupPort, resources: Collection[HubResource], unmade: Collection[str] = ()) -> dict[str, Sight]:
    """Each of these as it is there now, by its key.

    ``unmade`` are the keys of what is hardly there, such as everything in an empty hub: where several of those would
    stand in one listing, that is asked instead of each.
    """
    absent = _absent(hub, [each for each in resources if each.key in unmade])
    addresses = dict.fromkeys(each.told_at for each in resources if each.key not in absent)
    answers = side_by_side(lambda address: _attempt(hub.look, address), addresses, AT_ONCE)
    by_address = dict(zip(addresses, answers, strict=True))
    return {each.key: None if each.key in absent else _sight(each, by_address[each.told_at]) for each in resources}


def seen(sight: Sight) -> Fields | None:
    """The same, where somebody could look. Raises what kept anybody from it."""
    if isinstance(sight, KeyturnError):
        raise sight
    return sight


def _absent(hub: SetupPort, resources: Collection[HubResource]) -> set[str]:
    """The keys of those that a listing lacks. One that can't be had, or is of one thing alone, tells of none."""
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
        return Unavailable("look at", resource.key, problem, "See that VAULT_ADDR leads to the hub itself")
