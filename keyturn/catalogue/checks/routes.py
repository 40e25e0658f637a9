"""Checks that a route's secrets are declared: its credential, and its decoy."""

from collections.abc import Iterator

from keyturn.catalogue.checks.decoys import is_decoy
from keyturn.catalogue.checks.plain_data import text_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.text.suggest import advice


def find_route_problems(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    secrets = world.entries["secrets"]
    for key, decoy in (("secret", False), ("decoy", True)):
        path = text_at(entry, key)
        if path is None:
            continue
        if path not in secrets and world.complete:
            yield entry.problem((key,), "there is no secret of this path", advice(path, secrets, "Declare it."))
        elif path in secrets and is_decoy(secrets[path]) is not decoy:
            message = "this secret is no decoy" if decoy else "this secret is a decoy, which no one uses"
            yield entry.problem((key,), message, "Name another one, or change `decoy` there.")
