"""``keyturn store``: the page of all stores, one of them, and what other commands say of such a store."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.catalogue import find_problems
from keyturn.catalogue.recipes import StoreLibrary
from keyturn.catalogue.recipes.expand import check_recipe
from keyturn.catalogue.recipes.library import SHIPPED
from keyturn.cli.app import app
from keyturn.cli.catalogue.stores import example_of, store_page

ROOT = Path(__file__).parents[2]
LIBRARY = StoreLibrary()
NAMES = list(LIBRARY)
runner = CliRunner()


def test_the_page_is_made_from_the_recipes() -> None:
    shown = runner.invoke(app, ["store", "list", "--markdown"])
    assert (shown.exit_code, shown.stdout) == (0, (ROOT / "docs" / "store-list.md").read_text())


def test_the_list_has_the_built_in_kinds_and_every_recipe() -> None:
    shown = json.loads(runner.invoke(app, ["store", "list", "--json"]).stdout)
    assert "vault" in shown["built_in"]
    assert "http-store" not in shown["built_in"]
    assert [recipe["name"] for recipe in shown["recipes"]] == NAMES
    assert len(shown["built_in"]) + len(NAMES) >= 38


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_store_is_valid_and_the_lines_that_it_shows_load(name: str, tmp_path: Path) -> None:
    recipe = LIBRARY[name]
    check_recipe(name, recipe, SHIPPED / "stores" / f"{name}.yaml")
    shown = example_of(name, recipe)
    (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump(shown))
    found = [str(problem) for problem in find_problems(tmp_path, {})]
    assert [problem for problem in found if "lists no directory under `files`" not in problem] == []
    page = "\n".join(store_page(name, recipe))
    assert page.startswith(f"{name}: {recipe.title}")
    assert recipe.facts.needs in page


def test_an_unknown_store_and_a_file_to_copy() -> None:
    assert "Did you mean etcd?" in runner.invoke(app, ["store", "show", "etdc"]).stderr
    shown = runner.invoke(app, ["store", "show", "etcd", "--yaml"])
    assert shown.stdout.rstrip() == (SHIPPED / "stores" / "etcd.yaml").read_text().rstrip()


def test_setup_store_names_the_right_that_the_login_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, catalogue = tmp_path / "files", tmp_path / "catalogue"
    files.mkdir()
    catalogue.mkdir()
    store = {"recipe": "etcd", "parameters": LIBRARY["etcd"].examples, "token_file": str(files / "etcd")}
    (catalogue / "all.yaml").write_text(yaml.safe_dump({"stores": {"kv": store}}))
    (tmp_path / "policy.yaml").write_text(f"files: [{files}]\n")
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    shown = runner.invoke(app, ["setup", "store", "kv", "--catalogue", str(catalogue)])
    assert shown.exit_code == 0, shown.stderr
    assert "a role that has readwrite on the prefix" in shown.stderr
