"""A store whose login is in the hub: a worker with the least rights pushes with it, and other logins don't read it."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, find_problems
from keyturn.core.errors import Denied, NotFound
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import Sensitive
from keyturn.rights.acl import parse_policy, policy_allows
from keyturn.rights.policy_documents import rendered
from keyturn.rights.scope import scope_of
from keyturn.wiring.registry import open_store, open_workspace
from tests.support.engines import worker_hub
from tests.support.lab import Lab, fresh
from tests.support.recipe_stores import Emulated, emulated

MARKS = OwnershipTags("apps/shop/db", 1, "f" * 32)


def with_login(made: Emulated, path: str) -> dict[str, Any]:
    """The store's entry in a catalogue, with its login at this path of the hub."""
    return {**{key: value for key, value in made.data.items() if key != "token_file"}, "admin": path}


def test_a_worker_reads_the_login_and_pushes(lab: Lab, tmp_path: Path) -> None:
    path = f"stores/{fresh()}"
    with emulated("gitlab-project-variables", tmp_path) as made, worker_hub(lab, tmp_path) as hub:
        catalogue = Catalogue.model_validate({"stores": {"shop": with_login(made, path)}})
        workspace = open_workspace(catalogue, hub)
        with closing(workspace.open_store("shop")) as store:
            with pytest.raises(NotFound, match="the admin credential of store shop is not there"):
                store.describe("A")
            lab.hub.write_state(path, {"token": made.service.login_text}, cas=0)
            store.write("A", Sensitive("value"), MARKS, store.describe("A"))
            assert [copy.marks for copy in store.list_managed()] == [MARKS]
        assert made.service.served("A") == "value"


def test_a_program_without_the_hub_says_so(tmp_path: Path) -> None:
    with emulated("gitlab-project-variables", tmp_path) as made:
        store = open_store("shop", Catalogue.model_validate({"stores": {"s": with_login(made, "stores/s")}}).store("s"))
        with closing(store), pytest.raises(Denied, match="its login is in the hub, at stores/s"):
            store.describe("A")


def test_the_worker_may_read_it_and_no_other_path_and_backups_read_all() -> None:
    data = {"recipe": "gitlab-project-variables", "parameters": {"project": "p"}, "admin": "stores/shop"}
    catalogue = catalogue_of(data)
    texts = {each.name: each.text for each in rendered(scope_of(catalogue, HubPlaces()), catalogue, "0" * 64)}
    readers = {
        name
        for name, text in texts.items()
        if name.endswith(".hcl") and policy_allows(parse_policy(text), "keyturn/data/stores/shop", "read")
    }
    assert readers == {"keyturn-worker.hcl", "keyturn-backup.hcl"}
    assert not policy_allows(parse_policy(texts["keyturn-worker.hcl"]), "keyturn/data/stores/other", "read")


def catalogue_of(store: dict[str, Any]) -> Catalogue:
    from keyturn.catalogue.recipes.expand import store_settings
    from keyturn.catalogue.recipes.library import StoreLibrary

    recipe = StoreLibrary()[store["recipe"]]
    values = {**recipe.examples, **store["parameters"]}
    return Catalogue.model_validate({"stores": {"shop": {**store_settings(recipe, values), "admin": store["admin"]}}})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("admin: targets/shop", "is not below stores/"),
        ("admin: stores/shop, token_file: /etc/keyturn/files/x", "needs one login"),
        ("timeout: 5s", "needs one login"),
    ],
)
def test_one_login_that_is_a_stores_own(lines: str, words: str, tmp_path: Path) -> None:
    text = f"stores: {{ shop: {{ recipe: gitlab-project-variables, parameters: {{ project: p }}, {lines} }} }}\n"
    (tmp_path / "all.yaml").write_text(text)
    assert words in "".join(map(str, find_problems(tmp_path, {})))
