"""Checks that the names in the section `hub:` are declared and of the right kind."""

from collections.abc import Iterator, Mapping
from typing import Final

from keyturn.catalogue.checks.plain_data import text_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.text.suggest import advice

NEEDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "jwt-role": ("method", ("jwt",)),
    "kubernetes-role": ("method", ("kubernetes",)),
    "aws-login-role": ("method", ("aws-login",)),
    "oidc": ("default_role", ("oidc-role",)),
    "oidc-role": ("method", ("oidc",)),
    "group": ("method", ("oidc", "ldap", "jwt")),
    "database-role": ("connection", ("database",)),
}
"""The kinds that name another entry of `hub:`: the key with the name, and the allowed kinds."""
CONSUMER: Final = "consumer:"
TARGET_KINDS: Final = ("postgresql", "mysql")


def find_hub_problems(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    key, kinds = NEEDS.get(text_at(entry, "kind") or "", ("", ()))
    if key and (name := text_at(entry, key)) is not None:
        fitting = [other.name for other in world.entries["hub"].values() if text_at(other, "kind") in kinds]
        if name not in fitting and world.complete:
            message = f"no {' or '.join(kinds)} of hub is called {name}"
            yield entry.problem((key,), message, advice(name, fitting, "Declare it."))
    consumer = text_at(entry, "login") or ""
    if consumer.startswith(CONSUMER):
        yield from _declared(entry, "login", "consumers", consumer.removeprefix(CONSUMER), world)
    if text_at(entry, "kind") == "database" and (target := text_at(entry, "target")) is not None:
        yield from _declared(entry, "target", "targets", target, world)
        declared = world.entries["targets"].get(target)
        if declared and text_at(declared, "kind") not in TARGET_KINDS:
            remedy = "Make this connection by hand, or name another target."
            yield entry.problem(("target",), f"{target} is not of kind {' or '.join(TARGET_KINDS)}", remedy)


def _declared(entry: CatalogueEntry, key: str, section: str, name: str, world: World) -> Iterator[Problem]:
    declared = world.entries[section]
    if name not in declared and world.complete:
        remedy = advice(name, declared, f"Declare it under {section}.")
        yield entry.problem((key,), f"no {section.removesuffix('s')} is called {name}", remedy)
