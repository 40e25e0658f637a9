"""A store's recipe sends logins only to allowed hosts, and puts no value in a URL."""

from pathlib import Path

import pytest
import yaml

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.catalogue.recipes import StoreLibrary
from tests.wall.test_signed_catalogue import Signed

RECIPE = """\
title: Acme variables
category: ci
parameters:
  project: { about: The project., example: p1 }
store:
  url: https://api.acme.example
  headers: { authorization: "Bearer {{admin.token}}" }
  names: { pattern: "[A-Z_]{1,20}", rule: capital letters }
  max_bytes: 1000
  entry: { name: /name, value: /value }
  list: { path: "/projects/{{project}}/variables" }
  create: { path: "/projects/{{project}}/variables/{{key}}", body: { value: "{{value}}", note: "{{marks}}" } }
  delete: { path: "/projects/{{project}}/variables/{{key}}" }
  marks: { kept: description, at: /note, most_bytes: 500 }
facts: { needs: write variables, reads: at the next job }
sources: [{ document: Acme API, checked: 2026-01-01, seen: memory }]
"""
STORE = "  acme: { recipe: acme, parameters: { project: p1 }, token_file: FILES/token }"
POLICY = "files: [FILES]\nhosts: [api.acme.example, gitlab.com]\n"


def flaws(directory: Path, recipe: tuple[str, str] = ("", ""), store: str = STORE, policy: str = POLICY) -> str:
    """What is wrong with a catalogue that has a store of this recipe."""
    files, catalogue = directory / "files", directory / "catalogue"
    for folder in (files, catalogue):
        folder.mkdir(exist_ok=True)
    old, new = recipe
    assert old in RECIPE
    (catalogue / "acme.store.recipe.yaml").write_text(RECIPE.replace(old, new) if old else RECIPE)
    (catalogue / "all.yaml").write_text(f"stores:\n{store}\n".replace("FILES", str(files)))
    (directory / "policy.yaml").write_text(policy.replace("FILES", str(files)))
    found = find_problems(catalogue, {"KEYTURN_POLICY": str(directory / "policy.yaml")})
    return "\n".join(map(str, found))


def test_the_catalogue_that_is_changed_here_loads(tmp_path: Path) -> None:
    assert flaws(tmp_path) == ""


# --- where the login goes


@pytest.mark.parametrize(
    ("recipe", "store", "words"),
    [
        (("api.acme.example", "evil.example"), STORE, "the operator's file does not allow this host"),
        (("", ""), STORE.replace(" }, t", ' }, url: "https://evil.example", t'), "does not allow this host"),
        (("", ""), STORE.replace(" }, t", ' }, url: "http://api.acme.example", t'), "plain http"),
        (("https://api.acme.example", "https://169.254.169.254"), STORE, "no catalogue may use this host"),
        (("", ""), STORE.replace("FILES/token", "/etc/shadow"), "lists no directory under `files`"),
        (("", ""), STORE.replace("FILES/token", "~/.ssh/id_ed25519"), "no catalogue may name files there"),
        (("", ""), STORE.replace(" }, t", ' }, headers: { x: "{{admin.token}}" }, t'), "the recipe acme sets this"),
        (("", ""), STORE.replace(" }, t", " }, kind: http-store, t"), "the recipe selects the kind"),
        (("", ""), STORE.replace("p1", '"{{admin.token}}"'), "it holds {{ or }}"),
        (("", ""), STORE.replace("p1", '"a\\r\\nb"'), "one line of text"),
    ],
)
def test_no_line_of_a_catalogue_sends_the_login_elsewhere(
    recipe: tuple[str, str], store: str, words: str, tmp_path: Path
) -> None:
    assert words in flaws(tmp_path, recipe, store)


def test_the_login_address_must_be_an_allowed_host(tmp_path: Path) -> None:
    login = (
        '  headers: { authorization: "Bearer {{admin.token}}" }',
        '  headers: { authorization: "Bearer {{login.token}}" }\n'
        '  login: { kind: client-credentials, url: "https://evil.example/t", form: { s: "{{admin.s}}" } }',
    )
    assert "stores.acme.login.url: the operator's file does not allow this host" in flaws(tmp_path, login)


@pytest.mark.parametrize("name", [name for name in StoreLibrary() if "url" in StoreLibrary()[name].parameters])
def test_an_address_parameter_must_be_an_allowed_host(name: str, tmp_path: Path) -> None:
    parameters = {**StoreLibrary()[name].examples, "url": "https://evil.example"}
    store = {"acme": {"recipe": name, "parameters": parameters, "token_file": "FILES/token"}}
    found = flaws(tmp_path, store="\n".join(f"  {line}" for line in yaml.safe_dump(store).splitlines()))
    assert "the operator's file does not allow this host" in found


# --- where a value goes


PATHS = (
    'create: { path: "/projects/{{project}}/variables/{{key}}',
    'list: { path: "/projects/{{project}}/variables',
)


@pytest.mark.parametrize("text", ["{{value}}", "{{value.base64}}", "{{admin.token}}", "{{other}}", "{{marks_value}}"])
@pytest.mark.parametrize("place", PATHS)
def test_no_value_and_no_login_is_in_a_path(text: str, place: str, tmp_path: Path) -> None:
    found = flaws(tmp_path, (place, f"{place}?x={text}"))
    assert any(words in found for words in ("in the logs of every server", "which is not known there"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("marks: { kept: description,", "marks: { kept: companion,", "a second entry needs a key"),
        ("value: /value }", "value: /value }\n  write_only: true", "only a version shows a change"),
        ("most_bytes: 500", "most_bytes: 500, sealed_by: version", "no pointer leads to an entry's version"),
        ("[A-Z_]{1,20}", "(a+)+", "is not a pattern that can be used here"),
        ("max_bytes: 1000", "max_bytes: 100000000", "max_bytes"),
        ("name: /name", "name: name", "is not a JSON pointer"),
    ],
)
def test_a_recipe_that_can_not_keep_the_contract_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert words in flaws(tmp_path, (old, new))


# --- another recipe's name


def test_a_recipe_that_takes_a_shipped_ones_name_is_used_nowhere(tmp_path: Path) -> None:
    assert flaws(tmp_path) == ""
    (tmp_path / "catalogue" / "etcd.store.recipe.yaml").write_text(RECIPE)
    env = {"KEYTURN_POLICY": str(tmp_path / "policy.yaml")}
    assert "a recipe of this name is shipped" in str(find_problems(tmp_path / "catalogue", env)[0])
    lenient = load_catalogue(tmp_path / "catalogue", env, lenient=True)
    assert lenient.stores["acme"].readable


def test_store_recipes_and_credential_recipes_are_not_interchangeable(tmp_path: Path) -> None:
    assert "no recipe has this name" in flaws(
        tmp_path, store=STORE.replace("recipe: acme", "recipe: stripe-secret-key")
    )
    (tmp_path / "catalogue" / "all.yaml").write_text("targets: { x: { recipe: acme, admin: targets/x } }\n")
    assert "no recipe has this name" in "".join(map(str, find_problems(tmp_path / "catalogue", {})))


def test_a_catalogues_signature_covers_its_stores(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    (signed.catalogue / "acme.store.recipe.yaml").write_text(RECIPE)
    assert "acme.store.recipe.yaml: this file is not among those that were signed" in signed.problems()
    signed.sign()
    assert signed.problems() == []
    (signed.catalogue / "acme.store.recipe.yaml").write_text(RECIPE.replace("api.acme.example", "evil.example"))
    assert signed.problems() == ["acme.store.recipe.yaml: this file is not what was signed"]
