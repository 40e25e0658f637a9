"""The emulator of a recipe: which one plays its mechanism, and the admin credential that it expects."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.catalogue.recipes import Recipe, StoreRecipe
from keyturn.catalogue.recipes.expand import rotation_settings, store_settings, target_settings
from keyturn.catalogue.targets import HttpApiSettings
from keyturn.core.ports.hub import Hub
from keyturn.core.ports.keys import KeyKind
from keyturn.core.ports.strategies import Strategy
from keyturn.core.schedule.renewal_info import RenewalAdviser
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.registry import STRATEGIES
from local.emulators.recipes.accounts import Accounts
from local.emulators.recipes.created_keys import CreatedKeys
from local.emulators.recipes.exchanges import Exchanges
from local.emulators.recipes.logins import SignedIn
from local.emulators.recipes.public_keys import PublicKeys
from local.emulators.recipes.server import RecipeServer, Service, redirected
from local.emulators.recipes.service import ADMIN, RecipeService
from local.emulators.recipes.slots import Slots
from local.emulators.recipes.stores import StoreService

PLAYERS: Final[Mapping[str, type[RecipeService]]] = {
    "http-api-key": CreatedKeys,
    "http-password": Accounts,
    "http-two-slots": Slots,
    "http-exchange": Exchanges,
    "ssh-key": PublicKeys,
}
"""The emulator of each mechanism."""


def play(recipe: Recipe, values: Mapping[str, Any] | None = None) -> RecipeService:
    """The service of a recipe of one of these mechanisms, with its examples or these parameters."""
    values = values or recipe.examples
    rotation = rotation_settings(recipe, values) | recipe.defaults
    target = target_settings(recipe, values)
    admin = admin_of(target, rotation)
    if (target.get("login") or {}).get("kind") == "signed-jwt":
        admin["private_key"] = CryptographyKeys().private_key(KeyKind.RSA_2048).reveal()
    return PLAYERS[recipe.strategy](rotation, target, admin, recipe.emulator)


def play_store(recipe: StoreRecipe, values: Mapping[str, Any] | None = None) -> StoreService:
    """The service of a store's recipe, with its examples or these parameters."""
    settings = store_settings(recipe, values or recipe.examples)
    return StoreService(settings, settings, admin_of(settings), recipe.emulator)


def admin_of(*settings: Any) -> dict[str, str]:
    """A value for each field of the admin credential that the settings name."""
    names = [name for text in templates.texts([*settings]) for name in templates.names(text)]
    return {name.removeprefix(ADMIN): secrets.token_urlsafe(24) for name in names if name.startswith(ADMIN)}


def served(service: RecipeService) -> Service:
    """What a server serves: the service, behind its authorization server if its target has a login."""
    token = service.login.get("login.token")
    return SignedIn(service, service.target, service.admin, token) if token else service


@dataclass(frozen=True)
class Tools:
    """What a strategy is opened with: the emulator as its target, and no hub."""

    api: HttpApi
    keys: CryptographyKeys
    adviser: RenewalAdviser | None = None

    @property
    def hub(self) -> Hub:
        raise NotImplementedError("no strategy over a REST API asks the hub")

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def target(self, name: str) -> HttpApi:
        return self.api


@contextmanager
def opened(recipe: Recipe, path: str) -> Iterator[tuple[Strategy, dict[str, str]]]:
    """The recipe's strategy for the secret at ``path``, at an emulator of its own, and a credential that serves."""
    service = play(recipe)
    with RecipeServer(served(service)) as server:
        rotation = redirected(service.rotation, server.url) | {"target": recipe.strategy}
        target = redirected(service.target, server.url)
        settings = HttpApiSettings.model_validate({**target, "admin": "emulator"})
        api = HttpApi(
            "the emulator",
            url=settings.url,
            headers=settings.headers,
            login=settings.login,
            test_url=settings.test_url,
            admin=lambda: SecretFields(service.admin),
        )
        try:
            strategy = STRATEGIES[recipe.strategy].model_validate(rotation)
            yield strategy.open(path, Tools(api, CryptographyKeys())), service.issue()
        finally:
            api.close()
