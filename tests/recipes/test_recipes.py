"""Every shipped recipe is complete, and its lines in a catalogue load."""

from pathlib import Path

import pytest
import yaml

from keyturn.catalogue import find_problems
from keyturn.catalogue.recipes import Library
from keyturn.catalogue.recipes.expand import check_recipe
from keyturn.catalogue.recipes.library import SHIPPED
from keyturn.cli.catalogue.recipes import example_of, recipe_page

LIBRARY = Library()
NAMES = list(LIBRARY)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_valid_with_its_examples(name: str) -> None:
    check_recipe(name, LIBRARY[name], SHIPPED / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_that_it_shows_load_in_a_catalogue(name: str, tmp_path: Path) -> None:
    recipe = LIBRARY[name]
    shown = example_of(name, recipe)
    target = shown.get("targets", {})
    kinds = {(recipe.target or {}).get("kind", "http-api")}
    assert kinds == {"http-api"} or not target or all("recipe" in each for each in target.values())
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "catalogue.yaml").write_text(yaml.safe_dump(shown))
    files = [each["parameters"]["file"] for each in target.values() if kinds == {"credential-file"}]
    place = {"path": "/etc/accounts", "format": "htpasswd", "accounts": ["*"]}
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump({"credential_files": dict.fromkeys(files, place)}))
    assert [str(problem) for problem in find_problems(catalogue, {"KEYTURN_POLICY": str(policy)})] == []
    assert "\n".join(recipe_page(name, recipe)).startswith(f"{name}: ")


def test_the_page_names_the_fields_of_the_admin_also_those_of_its_login() -> None:
    for name, fields in (
        ("pinecone-api-key", "client_id, client_secret"),
        ("github-app-deploy-key", "app_id, private_key"),
    ):
        assert any(f"its fields are {fields}." in line for line in recipe_page(name, LIBRARY[name]))


def test_names_begin_with_the_service_and_titles_differ() -> None:
    titles = [recipe.title for recipe in LIBRARY.values()]
    assert len(set(titles)) == len(titles)
    assert all("-" in name for name in NAMES)
