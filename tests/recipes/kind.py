"""A row of the crash matrix that is made from a recipe and its emulator."""

import secrets
from collections.abc import Iterator
from typing import Any, Final

from keyturn.catalogue.recipes import Library
from keyturn.catalogue.recipes.expand import rotation_settings, target_settings
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from local.emulators.recipes.created_keys import CreatedKeys
from local.emulators.recipes.logins import SignedIn
from local.emulators.recipes.server import RecipeServer, Service, redirected
from tests.crash.kinds.base import Kind, admin, declared
from tests.crash.site import Site
from tests.support.lab import Declared

PLAYED: Final = frozenset({"http-api-key"})
"""The mechanisms that the emulator plays."""


class RecipeKind(Kind):
    """A new account at the emulator for each secret would need a server each, so one server has every secret's keys.

    Where a list can't tell the keys of secrets apart, one secret at a time has the account.
    """

    modules = ("http.api_target",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.recipe = Library()[name]
        self.alone = "list" in self.recipe.rotation and "where" not in self.recipe.rotation["list"]

    def prepare(self, site: Site) -> None:
        rotation = rotation_settings(self.recipe, self.recipe.examples) | self.recipe.defaults
        target = target_settings(self.recipe, self.recipe.examples)
        fields = {
            name.removeprefix("admin."): secrets.token_urlsafe(24)
            for text in templates.texts([target, rotation])
            for name in templates.names(text)
            if name.startswith("admin.")
        }
        self.service = CreatedKeys(rotation, target, fields, self.recipe.emulator)
        server = site.server(
            f"recipe {self.name}", lambda: RecipeServer(self._served(target, fields)), lambda made: made.url
        )
        self.rotation = redirected(rotation, server.url) | {"interval": "30d", "grace": "0s", "target": "api"}
        self.target = redirected(target, server.url) | {"admin": admin(site, SecretFields(fields))}
        self.changes = frozenset(rotation["answer"])

    def _served(self, target: dict[str, Any], fields: dict[str, str]) -> Service:
        login = self.service.login
        return SignedIn(self.service, target, fields, login["login.token"]) if login else self.service

    def make(self, site: Site) -> Declared:
        if self.alone:
            self.service.keys.clear()
        first = self.service.make_by_hand()
        self.before = set(self.service.live)
        rotation: dict[str, Any] = {**self.rotation}
        return declared(site, first, rotation, api=self.target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        return self.service.works({name: fields[name].reveal() for name in fields})

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        expected = {secret.path: current[self.rotation.get("id_field", "id")].reveal()}
        owned = self.service.live if self.alone else [name for name, _ in self.service.owners(secret.path)]
        keys = [name for name in owned if name not in expected.values()]
        if keys:
            yield f"keys that no version holds: {keys}"
