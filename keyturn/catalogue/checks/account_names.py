"""Limits of account names and passwords that depend on the kind of target, not on the strategy."""

from collections.abc import Iterator
from typing import Final

from keyturn.catalogue.checks.plain_data import at, list_at, text_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem

MYSQL: Final = "mysql"
LDAP: Final = "ldap"
OWNERLESS: Final = {LDAP: "a directory", "credential-file": "a credential file"}
LONGEST_MYSQL: Final = 32
"""MySQL 8.0 Reference Manual, "Identifier Length Limits"; MariaDB allows more."""


def short_enough(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    if _kind(entry, world) == MYSQL:
        for path, name in _accounts(entry):
            if len(name) > LONGEST_MYSQL:
                remedy = f"Choose a name of at most {LONGEST_MYSQL} characters."
                yield entry.problem(path, "the name is too long for a MySQL account", remedy)


def old_password_can_be_kept(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    kind = _kind(entry, world)
    if at(entry.data, ("rotation", "keeps_old_password")) is True and kind and kind not in (MYSQL, LDAP):
        path = ("rotation", "keeps_old_password")
        remedy = "Say accepts_gap: true instead, or use alternating-users."
        yield entry.problem(path, f"an account of the kind {kind} has one password", remedy)


def owned_by_a_role(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    if text_at(entry, "rotation", "strategy") != "alternating-users":
        return
    kind, owner = _kind(entry, world), text_at(entry, "rotation", "owner_role")
    if kind in ("postgresql", MYSQL) and at(entry.data, ("rotation", "owner_role")) is None:
        remedy = "Name the role without login that both users are members of."
        yield entry.problem(("rotation",), f"owner_role is missing, which an account of the kind {kind} needs", remedy)
    elif kind and kind in OWNERLESS and owner:
        remedy = "Remove it, and give both users the same rights."
        yield entry.problem(
            ("rotation", "owner_role"), f"{OWNERLESS[kind]} has no role that owns what users make", remedy
        )


def _kind(entry: CatalogueEntry, world: World) -> str | None:
    target = world.entries["targets"].get(text_at(entry, "rotation", "target") or "")
    return text_at(target, "kind") if target else None


def _accounts(entry: CatalogueEntry) -> Iterator[tuple[KeyPath, str]]:
    named: list[tuple[KeyPath, object]] = [
        (("rotation", "users", index), name) for index, name in enumerate(list_at(entry, "rotation", "users"))
    ]
    named += [(("rotation", key), at(entry.data, ("rotation", key))) for key in ("owner_role", "user")]
    yield from ((path, name) for path, name in named if isinstance(name, str))


CHECKS: Final = (short_enough, old_password_can_be_kept, owned_by_a_role)
