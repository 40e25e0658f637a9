"""The pages of the strategies: their examples load, and nothing is missing."""

import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.strategies.registry import STRATEGIES

PAGES = Path(__file__).parents[1] / "docs" / "strategies"
DESCRIBED = ["http-api-key", "http-exchange", "http-key-pair", "http-password", "http-two-slots", "ssh-key"]
WITH_EXAMPLES = sorted(path for path in PAGES.glob("*.md") if path.name != "README.md")


def write_examples(page: Path, directory: Path) -> None:
    """Every YAML block of the page as a file of one catalogue."""
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.M | re.S)):
        (directory / f"{number}.yaml").write_text(block)


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_examples_load_and_use_their_strategy(name: str, tmp_path: Path) -> None:
    write_examples(PAGES / f"{name}.md", tmp_path)
    assert find_problems(tmp_path, os.environ) == []
    used = {secret.rotation.strategy for secret in load_catalogue(tmp_path, os.environ).secrets.values()}
    assert used == {name}


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_setting_is_explained(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    model: Any = STRATEGIES[name]
    own = {info.alias or field for field, info in model.model_fields.items()} - {"strategy"}
    shared = set(STRATEGIES["generated"].model_fields)
    assert {field for field in own - shared if f"`{field}`" not in text} == set()
    for part in {"listing", "test", "read", "regenerate", "recover", "revoke"} & model.model_fields.keys():
        inner: Any = get_args(model.model_fields[part].annotation) or (model.model_fields[part].annotation,)
        told = set(inner[0].model_fields) - {"method", "path", "headers", "basic", "body", "form", "text", "expect"}
        assert {field for field in told if f"`{field}`" not in text and f".{field}`" not in text} == set()


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_every_page_says_what_an_emergency_ends_and_what_outlives_it(page: Path) -> None:
    _, heading, section = page.read_text().partition("\n## In an emergency\n")
    assert heading, "it has no such section"
    assert len(section.partition("\n## ")[0].split()) > 30


def test_every_strategy_stands_in_the_table() -> None:
    table = (PAGES / "README.md").read_text()
    assert {name for name in STRATEGIES if f"[{name}]" not in table} == set()
