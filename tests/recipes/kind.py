"""A row of the crash matrix that is made from a recipe and its emulator."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyturn.catalogue.recipes import Library
from keyturn.core.sensitive import SecretFields
from local.emulators.recipes.accounts import Accounts
from local.emulators.recipes.exchanges import Exchanges
from local.emulators.recipes.play import PLAYERS, play, served
from local.emulators.recipes.server import RecipeServer, redirected
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.lab import Declared, fresh

IN_PLACE: Final = " in place"
"""Follows the name of a recipe whose two accounts are one in this row."""

LIBRARY: Final = Library()


def rows() -> list[str]:
    """Every row: a recipe's name, and once more for one that may change a single account in place."""
    played = [name for name, recipe in LIBRARY.items() if recipe.strategy in PLAYERS]
    single = [f"{name}{IN_PLACE}" for name in played if LIBRARY[name].defaults.get("accepts_gap") is False]
    order = list(PLAYERS)
    return sorted(played + single, key=lambda name: (order.index(mechanism_of(name)), name))


def mechanism_of(row: str) -> str:
    return LIBRARY[row.removesuffix(IN_PLACE)].strategy


class RecipeKind(Kind):
    """One server has every secret's credentials; where it can't tell the secrets apart, one is ``alone``."""

    modules = ("http.api_target", "keys.key_maker")

    def __init__(self, name: str) -> None:
        self.name = name
        self.recipe = LIBRARY[name.removesuffix(IN_PLACE)]
        rotation = self.recipe.rotation
        of_one_account = self.recipe.strategy in ("http-two-slots", "http-exchange")
        where = str(rotation.get("list", {}).get("where", {}))
        self.alone = of_one_account or ("list" in rotation and "answer" in rotation and "{{path}}" not in where)
        self.orphans: list[str] = []
        self.replaced: dict[str, dict[str, str]] = {}

    def prepare(self, site: Site) -> None:
        self.service = play(self.recipe)
        server = site.server(f"recipe {self.name}", lambda: RecipeServer(served(self.service)), lambda made: made.url)
        rotation = self.service.rotation
        self.rotation = redirected(rotation, server.url) | {"grace": "0s", "interval": "30d", "target": "api"}
        if self.name.endswith(IN_PLACE):
            self.rotation |= {"accepts_gap": True}
        self.gap = bool(self.rotation.get("accepts_gap"))
        target = redirected(self.service.target, server.url)
        self.target = {**target, "admin": admin(site, SecretFields(self.service.admin or {"unused": "unused"}))}

    def make(self, site: Site) -> Declared:
        if self.alone:
            self.service.reset()
        rotation: dict[str, Any] = {**self.rotation}
        if isinstance(self.service, Accounts):
            letters = "a" if self.gap else "ab"
            name = f"u{fresh().replace('-', '_')}"
            rotation["accounts"] = [f"{name}_{letter}" for letter in letters]
            first = self.service.open_accounts(rotation["accounts"])
        else:
            first = self.service.issue()
        self.changes = frozenset(first)
        return declared(site, first, rotation, api=self.target)

    def replace_by_hand(self, path: str) -> dict[str, str]:
        """A credential that a person makes in place of a lost one."""
        self.replaced[path] = self.service.issue()
        return self.replaced[path]

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.service.works(plain(fields))

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        if not self.works(site, current):
            yield "CURRENT does not work"
        held = plain(current)
        living = list(self.service.living(secret.path))
        living += [each for each in (self.service.living("") if self.alone else ()) if each not in living]
        others = [each for each in living if not each.items() <= held.items()]
        if isinstance(self.service, Accounts):
            # An account that can't be disabled has a value that no one knows.
            others = []
        earlier = [secret.first, *([self.replaced[secret.path]] if secret.path in self.replaced else [])]
        if any(self.service.works(old) and not self._expires(old) for old in earlier):
            yield "the old credential still works"
        if others := [each for each in others if not any(each.items() <= old.items() for old in earlier)]:
            yield from self._orphans(secret.path, others)

    def _orphans(self, path: str, orphans: list[Mapping[str, str]]) -> Iterator[str]:
        """What lives that no version holds: at most one, and no longer than the recipe says."""
        stated = self.recipe.facts.orphan
        if stated is None or len(orphans) > 1:
            yield f"{len(orphans)} credentials that no version holds"
        elif self._outlive(orphans):
            yield f"a credential that no version holds lives longer than {stated.lives}, which the recipe states"
        else:
            self.orphans.append(path)

    def _expires(self, fields: dict[str, Any]) -> bool:
        """Whether the recipe states that it works on for a time next to the exchanged one, and it does no longer."""
        proves = isinstance(self.service, Exchanges) and self.service.dies_at_once
        stated = self.recipe.facts.orphan
        return not proves and stated is not None and stated.lives is not None and not self._outlive([fields])

    def _outlive(self, orphans: list[Mapping[str, str]]) -> bool:
        stated = self.recipe.facts.orphan
        if stated is None or stated.lives is None:
            return stated is None
        return any(self.service.lives_after(stated.lives, each) for each in orphans)


def plain(fields: SecretFields) -> dict[str, str]:
    return {name: fields[name].reveal() for name in fields}
