"""A recipe moves no credential, replaces no other recipe, and stops no revocation."""

import time
from pathlib import Path

import pytest

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.catalogue.files.parse import RECIPE_ENDING
from keyturn.catalogue.recipes import library
from keyturn.catalogue.recipes.library import SHIPPED, Library
from keyturn.catalogue.recipes.model import LARGEST_VALUE, MOST_PLACES
from tests.wall.test_signed_catalogue import Signed

RECIPE = """\
title: Acme key
category: business
strategy: http-api-key
parameters:
  account: { about: The account., example: acc1 }
  scopes: { about: Its scopes., example: [read] }
target: { kind: http-api, url: "https://api.acme.example", headers: { authorization: "Bearer {{admin.token}}" } }
rotation:
  create: { path: "/accounts/{{account}}/keys", body: { name: "{{path}} {{unique}}", scopes: "{{scopes}}" } }
  answer: { id: /id, key: /key }
  test: { path: /me, headers: { authorization: "Bearer {{key}}" } }
  delete: { path: "/keys/{{id}}" }
defaults: { interval: 30d, grace: 1d }
facts: { side_by_side: many, shown_once: true, ends: at once, admin: manage keys }
sources: [{ document: Acme API, checked: 2026-01-01, seen: memory }]
"""
CATALOGUE = """\
targets:
  acme: { recipe: acme, admin: targets/acme }
secrets:
  acme/key:
    owner: ml@example.com
    classification: restricted
    rotation: { recipe: acme, target: acme, parameters: { account: acc1, scopes: [read] } }
  acme/other:
    owner: ml@example.com
    classification: internal
    rotation: { strategy: manual, maximum_age: 90d }
"""


def written(directory: Path, recipe: tuple[str, str] = ("", ""), catalogue: tuple[str, str] = ("", "")) -> Path:
    """A catalogue with a recipe of its own, each with one change."""
    for text, (old, new), name in ((RECIPE, recipe, f"acme{RECIPE_ENDING}"), (CATALOGUE, catalogue, "all.yaml")):
        assert old in text
        (directory / name).write_text(text.replace(old, new) if old else text)
    return directory


def flaws(directory: Path, *, lines: int = 1) -> str:
    """What is wrong with it, and that nothing of it is loaded."""
    found = [str(problem) for problem in find_problems(directory, {})]
    assert len(found) >= lines
    return "\n".join(found)


def test_the_catalogue_that_is_changed_here_loads(tmp_path: Path) -> None:
    catalogue = load_catalogue(written(tmp_path), {})
    assert catalogue.secrets["acme/key"].rotation.recipe == "acme"


# --- where a credential goes

SCOPES, ACCOUNT = "scopes: [read] } }", "account: acc1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (SCOPES, 'scopes: ["{{admin.token}}"] } }'),
        (SCOPES, 'scopes: [{ a: ["x{{current.key}}"] }] } }'),
        (ACCOUNT, 'account: "{{admin.token}}"'),
        (ACCOUNT, 'account: "a{{"'),
    ],
)
def test_a_parameter_can_not_refer_to_a_field_of_the_admin_or_secret(old: str, new: str, tmp_path: Path) -> None:
    assert "it holds {{ or }}, and only the recipe's own texts" in flaws(written(tmp_path, catalogue=(old, new)))


@pytest.mark.parametrize("text", ["a\\r\\nx-more: y", "a\\nb", "a\\0b", "${AWS_SECRET_ACCESS_KEY}"])
def test_a_parameter_can_not_contain_a_line_break_or_variable(text: str, tmp_path: Path) -> None:
    found = flaws(written(tmp_path, catalogue=(ACCOUNT, f'account: "{text}"')))
    assert any(reason in found for reason in ("one line of text", "environment references", "control character"))


@pytest.mark.parametrize("name", ["token", "password", "key"])
def test_no_request_has_a_field_of_the_admins_in_its_path(name: str, tmp_path: Path) -> None:
    change = ('"/accounts/{{account}}/keys"', f'"/accounts/{{{{account}}}}/keys?x={{{{admin.{name}}}}}"')
    assert "is in the logs of every server on the way" in flaws(written(tmp_path, change))


@pytest.mark.parametrize("request_", ["create", "test"])
def test_no_request_has_the_serving_key_in_its_path(request_: str, tmp_path: Path) -> None:
    paths = {"create": '"/accounts/{{account}}/keys', "test": "/me,"}
    added = {"create": '"/accounts/{{account}}/keys?x={{current.key}}', "test": '"/me?x={{current.key}}",'}
    assert "a key in a path is in the logs" in flaws(written(tmp_path, (paths[request_], added[request_])))


def test_the_id_that_records_show_is_not_the_key(tmp_path: Path) -> None:
    assert "and records show it" in flaws(written(tmp_path, ("{ id: /id, key: /key }", "{ id: /key, key: /key }")))


def test_a_recipe_has_a_credential_of_its_own_target_alone(tmp_path: Path) -> None:
    recipe = ("{ kind: http-api,", "{ kind: http-api, admin: targets/main,")
    found = flaws(written(tmp_path, recipe, (", admin: targets/acme }", " }")))
    assert "it may only be read from the hub at targets/acme or below" in found


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "evil.example\\\\.acme.example"])
def test_a_recipe_reaches_no_host_that_the_catalogue_may_not(host: str, tmp_path: Path) -> None:
    assert "no catalogue may use this host" in flaws(written(tmp_path, ("api.acme.example", host)))


def test_a_line_of_the_catalogue_replaces_nothing_that_a_parameter_has_set(tmp_path: Path) -> None:
    change = ("target: acme,", "target: acme, constants: { account: another },")
    assert "constants.account: the recipe acme sets this" in flaws(written(tmp_path, catalogue=change))


# --- another recipe's name


def test_a_recipe_that_takes_a_shipped_ones_name_is_used_nowhere(tmp_path: Path) -> None:
    written(tmp_path, catalogue=("acme: { recipe: acme, ", "acme: { recipe: openai-project-key, "))
    (tmp_path / f"openai-project-key{RECIPE_ENDING}").write_text(RECIPE)
    assert "a recipe of this name is shipped" in flaws(tmp_path)
    # A revocation goes on despite the file: with the shipped recipe.
    lenient = load_catalogue(tmp_path, {}, lenient=True)
    assert lenient.targets["acme"].url == "https://api.openai.com/v1"  # type: ignore[union-attr]
    own = Library({tmp_path / f"openai-project-key{RECIPE_ENDING}": RECIPE.encode()})
    assert own.text("openai-project-key") == (SHIPPED / "openai-project-key.yaml").read_text()


def test_a_recipe_that_takes_an_installed_ones_name_is_used_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "acme.yaml").write_text(RECIPE.replace("api.acme.example", "installed.example"))
    monkeypatch.setattr(library.Library, "_found", ({"acme": installed / "acme.yaml"}, ()))
    (tmp_path / "catalogue").mkdir()
    assert "a recipe of this name is installed" in flaws(written(tmp_path / "catalogue"))
    lenient = load_catalogue(tmp_path / "catalogue", {}, lenient=True)
    assert lenient.targets["acme"].url == "https://installed.example"  # type: ignore[union-attr]


def packages(place: Path, monkeypatch: pytest.MonkeyPatch, **texts: str | None) -> None:
    """Install packages that bring one recipe ``acme`` each; None is a package whose recipes are not there."""
    for name, text in texts.items():
        about = place / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[keyturn.recipes]\n{name} = {name}.recipes\n")
        code = place / name
        (code / "recipes").mkdir(parents=True)
        (code / "__init__.py").write_text("raise SystemError('no')" if text is None else "")
        (code / "recipes" / "acme.yaml").write_text(text or "")
    monkeypatch.syspath_prepend(str(place))


def used_from_packages(catalogue: Path) -> Path:
    """A catalogue that uses the recipe acme, and brings none."""
    catalogue.mkdir()
    written(catalogue)
    (catalogue / f"acme{RECIPE_ENDING}").unlink()
    return catalogue


def test_a_recipe_that_two_installed_packages_bring_is_used_from_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = RECIPE.replace("api.acme.example", "evil.example")
    packages(tmp_path / "site", monkeypatch, acme_one=RECIPE, acme_two=evil)
    catalogue = used_from_packages(tmp_path / "catalogue")
    assert "another installed package has a recipe acme too" in flaws(catalogue)
    assert "acme" not in load_catalogue(catalogue, {}, lenient=True).targets
    assert "acme" not in Library()


def test_an_unimportable_package_is_reported_and_stops_no_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(tmp_path / "site", monkeypatch, acme_one=RECIPE, acme_broken=None)
    catalogue = used_from_packages(tmp_path / "catalogue")
    found = flaws(catalogue)
    assert "the installed package acme_broken" in found
    assert "it names acme_broken.recipes as its recipes, which can't be imported" in found
    assert load_catalogue(catalogue, {}, lenient=True).targets["acme"].url  # type: ignore[union-attr]
    assert "acme" in Library()


def test_a_catalogues_signature_covers_its_recipes(tmp_path: Path) -> None:
    signed = Signed(tmp_path)
    written(signed.catalogue)
    assert f"acme{RECIPE_ENDING}: this file is not among those that were signed" in signed.problems()
    signed.sign()
    assert signed.problems() == []
    written(signed.catalogue, ("api.acme.example", "evil.example"))
    assert signed.problems() == [f"acme{RECIPE_ENDING}: this file is not what was signed"]


# --- a recipe that should stop everything

BROKEN = {
    "a recipe's name that is a list": (("", ""), ("{ recipe: acme, admin", "{ recipe: [acme], admin")),
    "a recipe's name that is a mapping": (("", ""), ("{ recipe: acme, admin", "{ recipe: { a: b }, admin")),
    "a pattern that is none": (("example: acc1", "example: acc1, pattern: '('"), ("", "")),
    "a pattern that takes for ever": (("example: acc1", f"example: {'a' * 60}, pattern: '(a+)+!'"), ("", "")),
    "a pattern of many stars": (("example: acc1", f"example: {'a' * 60}, pattern: '{'a*' * 30}!'"), ("", "")),
    "constants that are a text": (("  answer:", "  constants: none\n  answer:"), ("", "")),
    "a strategy that is a list": (("strategy: http-api-key", "strategy: [http-api-key]"), ("", "")),
    "a kind that is a list": (("kind: http-api,", "kind: [http-api],"), ("", "")),
    "a large parameter": (("", ""), (ACCOUNT, f"account: {'a' * (LARGEST_VALUE + 1)}")),
    "very many places": (("name: ", f"note: '{'{{account}}' * MOST_PLACES}', name: "), ("", "")),
}
"""For each mistake, a change of the recipe and one of the catalogue."""


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_recipe_is_reported_and_stops_no_revocation_of_another_secret(mistake: str, tmp_path: Path) -> None:
    began = time.process_time()
    assert flaws(written(tmp_path, *BROKEN[mistake]))
    lenient = load_catalogue(tmp_path, {}, lenient=True)
    assert "acme/other" in lenient.secrets
    assert lenient.left_out
    assert time.process_time() - began < 20, "hours without a bound"
