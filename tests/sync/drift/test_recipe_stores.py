"""Drift in stores of recipes, each at its emulator: others' hands, histories, and pushes killed at any request."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keyturn.core.plan import Action
from tests.support.recipe_stores import LIBRARY, Emulated, emulated
from tests.sync.drift.suite import (
    CHANGED,
    ERASED,
    OLD,
    OURS,
    STRIPPED,
    TAKEN,
    THEIRS,
    Act,
    DriftContract,
    RealSite,
    assert_in_step,
)

NAMES = list(LIBRARY)
WRITTEN_ONLY = [name for name in NAMES if LIBRARY[name].store.get("write_only")]
READABLE = [name for name in NAMES if name not in WRITTEN_ONLY]
UNSEALED = [name for name in WRITTEN_ONLY if LIBRARY[name].store["marks"]["sealed_by"] == "nothing"]

pytestmark = pytest.mark.sampled(240, of="file", kinds="nothing")


@dataclass
class Page:
    """Somebody with the service's page in the browser."""

    emulated: Emulated

    def put(self, name: str, fields: dict[str, str]) -> None:
        self.emulated.service.put_by_hand(name, json.dumps(fields))

    def strip(self, name: str) -> None:
        self.emulated.service.strip(name)

    def erase(self, name: str) -> None:
        self.emulated.service.erase(name)

    def clear(self, name: str) -> None:
        self.strip(name)
        self.erase(name)

    def served(self, name: str) -> Any:
        shown = self.emulated.service.served(name)
        return None if shown is None else json.loads(shown)


class RecipeDrift(DriftContract):
    acts: ClassVar[tuple[Act, ...]] = (
        CHANGED,
        STRIPPED,
        TAKEN,
        ERASED,
        Act("removed-with-its-marks", Page.clear, Action.CREATE),
    )
    histories = (1, 8)
    stores: tuple[str, ...] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        super().pytest_generate_tests(metafunc)
        metafunc.parametrize("recipe", self.stores)

    @pytest.fixture
    def hands(self, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
        with emulated(recipe, tmp_path) as made:
            monkeypatch.setattr(type(self), "sync", {"separator": made.joint})
            yield Page(made)

    @pytest.fixture
    def settings(self, hands: Page) -> dict[str, Any]:
        data = hands.emulated.data
        # The suite's names are in small letters; which names a service allows is the contract's matter.
        small = data["names"]["pattern"].replace("[A-Z_]", "[A-Za-z_]").replace("[A-Z0-9_]", "[A-Za-z0-9_]")
        return {**data, "names": {**data["names"], "pattern": small}}


class TestReadableStores(RecipeDrift):
    stores = tuple(READABLE)


class TestStoresThatAreWrittenOnly(RecipeDrift):
    stores = tuple(name for name in WRITTEN_ONLY if name not in UNSEALED)
    acts = (
        CHANGED,
        replace(STRIPPED, found=Action.CONFLICT),
        TAKEN,
        ERASED,
        Act("removed-with-its-marks", Page.clear, Action.CREATE),
    )


class TestStoresThatShowNoChange(RecipeDrift):
    stores = tuple(UNSEALED)
    acts = TestStoresThatAreWrittenOnly.acts[1:]

    def test_a_newer_version_mends_a_changed_copy_too_unless_that_is_only_reported(  # type: ignore[override]
        self, site: RealSite, hands: Page
    ) -> None:
        """Where no change shows, the newer version is an update like any other, also if drift is only reported."""
        path = site.write("a", **OLD)
        site.run()
        hands.put(site.remote(path), THEIRS)
        site.write("a", **OURS)
        site.sync["drift"] = "report"
        item = site.item(path)
        assert (item.action, item.version, item.holds, item.hands_off) == (Action.UPDATE, 2, 1, False)
        assert site.run(path)
        assert_in_step(site, hands, path)
