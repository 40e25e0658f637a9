"""A store of a recipe at its emulator: the adapter, and the hands of others there."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyturn.catalogue.recipes.expand import store_settings
from keyturn.catalogue.recipes.library import StoreLibrary
from keyturn.catalogue.stores.http import HttpStoreSettings
from keyturn.core.ports.stores import Store
from keyturn.wiring.registry import open_store
from local.emulators.recipes.play import play_store, served
from local.emulators.recipes.server import RecipeServer, Service, redirected
from local.emulators.recipes.stores import StoreService

LIBRARY: Final = StoreLibrary()
FORMS: Final = ("keyturn-test-{}", "keyturn_test_{}", "KEYTURN_TEST_{}", "KEYTURNTEST{}")
"""Names of copies, of which the first that the service allows is used."""


@dataclass
class Emulated:
    """``data`` is the store's entry in a catalogue, ``store`` what opens by it."""

    name: str
    service: StoreService
    data: dict[str, Any]

    @property
    def settings(self) -> HttpStoreSettings:
        return HttpStoreSettings.model_validate(self.data)

    def open(self) -> Store:
        return open_store("copies", self.settings)

    def fresh_name(self) -> str:
        made = (form.format(secrets.token_hex(6)) for form in FORMS)
        shaped = [each for name in made for each in (name, name.upper())]
        return next(each for each in shaped if self.settings.limits.refuses_name(each) is None)

    @property
    def joint(self) -> str:
        shaped = ((each, f"{first}{each}b") for each in ("-", "_", "X") for first in ("A", "a"))
        names = ((each, name if name[0] == "a" else name.upper()) for each, name in shaped)
        return next(each for each, name in names if self.settings.limits.refuses_name(name) is None)

    @property
    def takes_capitals(self) -> bool:
        return self.settings.limits.refuses_name("AB") is None


@contextmanager
def emulated(name: str, directory: Path, front: Any = None) -> Iterator[Emulated]:
    """The recipe's emulator, and a login to it in a file; ``front`` wraps what it serves."""
    recipe = LIBRARY[name]
    service = play_store(recipe)
    shown: Service = served(service)
    with RecipeServer(front(shown) if front else shown) as server:
        token_file = directory / f"{name}.token"
        token_file.write_text(service.login_text)
        data = redirected(store_settings(recipe, recipe.examples), server.url)
        yield Emulated(name, service, {**data, "recipe": name, "token_file": str(token_file)})
