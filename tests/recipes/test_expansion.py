"""``recipe: NAME`` in a catalogue: what it becomes, and what is wrong with it."""

from pathlib import Path

import pytest

from keyturn.catalogue import CatalogueInvalid, find_problems, load_catalogue
from keyturn.catalogue.files.parse import RECIPE_ENDING
from keyturn.catalogue.recipes.library import SHIPPED

TARGET = "  openai: { recipe: openai-project-key, admin: targets/openai }"
ROTATION = "      recipe: openai-project-key"
PARAMETERS = "      parameters: { project: proj_1, account: svc_1 }"
CATALOGUE = f"""\
targets:
{TARGET}
secrets:
  ai/openai:
    owner: ml@example.com
    classification: restricted
    rotation:
{ROTATION}
      target: openai
{PARAMETERS}
      interval: 20d
"""


def written(directory: Path, *changes: tuple[str, str]) -> Path:
    text = CATALOGUE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (directory / "catalogue.yaml").write_text(text)
    return directory


def test_a_recipe_fills_in_the_strategy_its_constants_and_the_target(tmp_path: Path) -> None:
    catalogue = load_catalogue(written(tmp_path), {})
    rotation = catalogue.secrets["ai/openai"].rotation
    assert (rotation.strategy, rotation.recipe) == ("http-api-key", "openai-project-key")
    assert rotation.constants == {"project": "proj_1", "account": "svc_1"}  # type: ignore[attr-defined]
    assert (rotation.interval.days, rotation.grace.days) == (20, 1)  # type: ignore[union-attr]
    assert catalogue.targets["openai"].url == "https://api.openai.com/v1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (ROTATION, "      recipe: openai-projct-key", "8: secrets.ai/openai.rotation.recipe: no recipe has this name"),
        (
            PARAMETERS,
            "      parameters: { project: p, acount: a }",
            "acount: the recipe openai-project-key has no",
        ),
        (PARAMETERS, "      parameters: { project: p }", "needs the parameter account. Add account: The id of the"),
        (PARAMETERS, "      parameters: [p]", "must be a mapping"),
        (PARAMETERS, f"{PARAMETERS}\n      create: {{ path: /x }}", "create: the recipe openai-project-key sets this"),
        (PARAMETERS, f"{PARAMETERS}\n      strategy: manual", "the recipe selects the strategy"),
        (TARGET, "  openai: { recipe: openai, admin: targets/openai }", "2: targets.openai.recipe: no recipe has this"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_a_remedy(old: str, new: str, problem: str, tmp_path: Path) -> None:
    problems = [str(each) for each in find_problems(written(tmp_path, (old, new)), {})]
    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_a_parameter_whose_example_is_a_number_stays_a_number_in_the_body(tmp_path: Path) -> None:
    changes = (
        (TARGET, TARGET.replace("openai-project-key", "metabase-api-key, parameters: { url: https://m.example }")),
        (ROTATION, "      recipe: metabase-api-key"),
        (PARAMETERS, "      parameters: { group: 7 }"),
    )
    rotation = load_catalogue(written(tmp_path, *changes), {}).secrets["ai/openai"].rotation
    assert rotation.create.body["group_id"] == 7  # type: ignore[attr-defined]
    written(tmp_path, *changes[:2], (PARAMETERS, '      parameters: { group: "7" }'))
    assert "it must be a number" in str(find_problems(tmp_path, {})[0])


def test_a_parameter_of_a_target_is_not_needed_where_the_catalogue_replaces_what_it_is_for(tmp_path: Path) -> None:
    changes = (
        (TARGET, TARGET.replace("openai-project-key", 'metabase-api-key, url: "https://m.example.com"')),
        (ROTATION, "      recipe: metabase-api-key"),
        (PARAMETERS, "      parameters: { group: 7 }"),
    )
    assert load_catalogue(written(tmp_path, *changes), {}).targets["openai"].url == "https://m.example.com"  # type: ignore[union-attr]
    written(tmp_path, (TARGET, TARGET.replace("openai-project-key", "metabase-api-key")), *changes[1:])
    assert "metabase-api-key needs the parameter url" in str(find_problems(tmp_path, {})[0])


def test_a_recipe_of_the_catalogues_own_folder_is_used_and_checked(tmp_path: Path) -> None:
    own = (SHIPPED / "openai-project-key.yaml").read_text()
    (tmp_path / f"acme-key{RECIPE_ENDING}").write_text(
        own.replace("https://api.openai.com", "https://api.acme.example")
    )
    written(tmp_path, ("openai-project-key", "acme-key"))
    assert load_catalogue(tmp_path, {}).targets["openai"].url == "https://api.acme.example/v1"  # type: ignore[union-attr]
    (tmp_path / f"acme-key{RECIPE_ENDING}").write_text(own.replace("id: /id", "id: id"))
    with pytest.raises(CatalogueInvalid) as invalid:
        load_catalogue(tmp_path, {})
    assert any("is not a JSON pointer" in str(problem) for problem in invalid.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("category: ai", "category: ml", ":2: category: must be one of"),
        ("strategy: http-api-key", "strategy: http-api-kay", ":3: strategy: no strategy has this name"),
        ("sources:", "source:", "source: unknown key"),
        ("  project:\n", "  projekt:\n", "parameters: no text uses {{projekt}}"),
    ],
)
def test_an_incomplete_recipe_names_its_line(old: str, new: str, problem: str, tmp_path: Path) -> None:
    own = (SHIPPED / "openai-project-key.yaml").read_text()
    assert old in own
    (tmp_path / f"acme-key{RECIPE_ENDING}").write_text(own.replace(old, new))
    written(tmp_path, ("openai-project-key", "acme-key"))
    assert any(problem in str(each) for each in find_problems(tmp_path, {}))


def test_a_recipe_cannot_take_a_shipped_ones_name(tmp_path: Path) -> None:
    own = (SHIPPED / "openai-project-key.yaml").read_text()
    (tmp_path / f"openai-project-key{RECIPE_ENDING}").write_text(own)
    problems = find_problems(written(tmp_path), {})
    assert ["a recipe of this name is shipped" in str(each) for each in problems] == [True]
