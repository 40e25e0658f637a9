"""Checks of the catalogue's rules: where copies may be, and how often values are replaced."""

from collections.abc import Iterator

from keyturn.catalogue.checks.plain_data import describe_secret, destinations
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.catalogue.groups import members

Copied = tuple[KeyPath, str, str]
"""The path in the entry, the store, and the sync that made the copy (empty if none)."""


def replaced_as_the_rules_say(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    facts, secret = describe_secret(entry), world.secrets.get(entry.name)
    if secret is None:
        return
    for name, rule in world.rules.items():
        for key, message, remedy in rule.refuses_timing(secret.rotation) if rule.covers(entry.name, facts) else ():
            yield _problem(entry, ("rotation", key) if key else ("rotation",), name, world, message, remedy)


def copied_as_the_rules_say(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    facts = describe_secret(entry)
    ruling = [(name, rule) for name, rule in world.rules.items() if rule.covers(entry.name, facts)]
    if not ruling:
        return
    copies = list(_copies(entry, world))
    for name, rule in ruling:
        for path, store, sync in copies:
            if refusal := rule.refuses(store, world.stores[store]):
                made = f"; the sync {sync} pushes it to {store}" if sync else ""
                yield _problem(entry, path, name, world, f"{refusal[0]}{made}", refusal[1])
        for place in rule.lacks({store: world.stores[store] for _, store, _ in copies}):
            remedy = "Add a destination, or a sync, that pushes it there."
            yield _problem(entry, (), name, world, f"wants a copy in {place}", remedy)


def _copies(entry: CatalogueEntry, world: World) -> Iterator[Copied]:
    for index, named, _ in destinations(entry):
        for store in members(world.groups, named):
            if store in world.stores:
                yield ("destinations", index, "store"), store, ""
    for name, sync in world.syncs.items():
        for place in sync.destinations(entry.name, describe_secret(entry)):
            if place.store in world.stores:
                yield (), place.store, name


def _problem(entry: CatalogueEntry, path: KeyPath, name: str, world: World, message: str, remedy: str) -> Problem:
    rule = world.entries["rules"][name]
    reason = world.rules[name].reason
    why = f" ({reason})" if reason else ""
    return entry.problem(path, f"the rule {name} {message}", f"{remedy} The rule is at {rule.file}:{rule.line}{why}.")
