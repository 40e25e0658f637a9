"""What a kind of target does not know though the strategy does: longer names, a second password."""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from keyturn.catalogue.plain import at, text
from keyturn.catalogue.problems import Path, Problem
from keyturn.catalogue.source import Entry

MYSQL: Final = "mysql"
LONGEST_MYSQL: Final = 32
"""MySQL 8.0 Reference Manual, "Identifier Length Limits"; MariaDB allows more."""


class Declared(Protocol):
    """All entries, by section and name."""

    @property
    def entries(self) -> Mapping[str, Mapping[str, Entry]]:
        """The targets are among them."""


def short_enough(entry: Entry, world: Declared) -> Iterator[Problem]:
    """MySQL's names of users and roles are shorter than PostgreSQL's."""
    if _kind(entry, world) == MYSQL:
        for path, name in _accounts(entry):
            if len(name) > LONGEST_MYSQL:
                remedy = f"Choose a name of at most {LONGEST_MYSQL} characters."
                yield entry.problem(path, "the name is too long for a MySQL account", remedy)


def old_password_can_be_kept(entry: Entry, world: Declared) -> Iterator[Problem]:
    """Only MySQL keeps two passwords of one account."""
    kind = _kind(entry, world)
    if at(entry.data, ("rotation", "keeps_old_password")) is True and kind and kind != MYSQL:
        path = ("rotation", "keeps_old_password")
        remedy = "Say accepts_gap: true instead, or use alternating-users."
        yield entry.problem(path, f"an account of the kind {kind} has one password", remedy)


def _kind(entry: Entry, world: Declared) -> str | None:
    target = world.entries["targets"].get(text(entry, "rotation", "target") or "")
    return text(target, "kind") if target else None


def _accounts(entry: Entry) -> Iterator[tuple[Path, str]]:
    users = at(entry.data, ("rotation", "users"))
    named: list[tuple[Path, object]] = [
        (("rotation", "users", index), name) for index, name in enumerate(users if isinstance(users, list) else ())
    ]
    named += [(("rotation", key), at(entry.data, ("rotation", key))) for key in ("owner_role", "user")]
    yield from ((path, name) for path, name in named if isinstance(name, str))


CHECKS: Final = (short_enough, old_password_can_be_kept)
