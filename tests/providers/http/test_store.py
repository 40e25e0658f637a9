"""Stores of recipes do what every store must, each against the emulator that is made from its recipe."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.catalogue.stores.http import HttpStoreSettings
from keyturn.core.ports.stores import Store
from tests.contracts.store import Raw, StoreContract
from tests.support.recipe_stores import LIBRARY, Emulated, emulated

NAMES = list(LIBRARY)

pytestmark = pytest.mark.sampled(12, of="file", kinds="recipe")


class TestStoreOfARecipe(StoreContract):
    kind = "http-store"
    past_versions = 0
    page_size = 12
    ours, theirs = "OURS", "THEIRS"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("recipe", NAMES, scope="class")

    @pytest.fixture(autouse=True)
    def place(self, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
        with emulated(recipe, tmp_path) as made:
            self.emulated = made
            monkeypatch.setattr(type(self), "joint", made.joint)
            if not made.takes_capitals:
                monkeypatch.setattr(type(self), "ours", "ours")
                monkeypatch.setattr(type(self), "theirs", "theirs")
            monkeypatch.setattr(type(self), "hides_past", made.settings.history is not None)
            yield made

    @property
    def settings(self) -> HttpStoreSettings:
        return self.emulated.settings

    @pytest.fixture
    def store(self, place: Emulated) -> Iterator[Store]:
        with closing(place.open()) as store:
            yield store

    @pytest.fixture
    def remote(self, place: Emulated) -> str:
        return place.fresh_name()

    @pytest.fixture
    def foreign(self, place: Emulated) -> Raw:
        return place.service.put_by_hand

    @pytest.fixture
    def tampered(self, place: Emulated) -> Raw:
        return place.service.put_by_hand
