"""The editors' schema: fresh, legal, complete, and of one mind with the loader."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from keyturn.catalogue import schema
from keyturn.catalogue.files.parse import ID, SECTIONS

EXAMPLE = Path(__file__).parents[2] / "deployments" / "catalogue"
BROKEN = Path(__file__).parent / "broken"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def test_the_stored_schema_is_fresh() -> None:
    stored = (EXAMPLE / "schema.json").read_text(encoding="utf-8")
    made = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    assert stored == made, "write it anew: keyturn catalogue schema > deployments/catalogue/schema.json"


def test_the_schema_is_legal_in_its_draft() -> None:
    assert schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema())


def test_the_schema_has_the_sections_that_the_loader_reads() -> None:
    assert tuple(schema()["properties"]) == (ID, *SECTIONS)


def properties(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        yield from part.get("properties", {}).items()
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for child in children:
        yield from properties(child)


def test_every_key_is_described() -> None:
    found = list(properties(schema()))
    assert len(found) > 60
    assert [key for key, value in found if not value.get("description")] == []


@pytest.mark.parametrize("file", sorted(EXAMPLE.glob("*.yaml")), ids=lambda file: file.name)
def test_the_example_keeps_the_schema_and_names_it(file: Path, validator: Draft202012Validator) -> None:
    assert list(validator.iter_errors(yaml.safe_load(file.read_text()))) == []
    assert file.read_text().startswith("# yaml-language-server: $schema=./schema.json\n")


@pytest.mark.parametrize("name", ["unknown-keys", "wrong-types", "strategies", "windows", "hub-paths", "connections"])
def test_an_editor_shows_mistakes_of_shape_too(name: str, validator: Draft202012Validator) -> None:
    said = [yaml.safe_load(file.read_text()) for file in (BROKEN / name).glob("*.yaml")]
    assert any(list(validator.iter_errors(data)) for data in said)


@pytest.mark.parametrize("port", [5432, "${PORT}", "${PORT:-5432}"])
def test_a_reference_may_stand_for_a_number(port: object, validator: Draft202012Validator) -> None:
    target = {"kind": "postgresql", "host": "db", "port": port, "database": "app", "admin": "targets/db"}
    assert validator.is_valid({"targets": {"db": target}})
    assert not validator.is_valid({"targets": {"db": {**target, "port": "many"}}})


def test_defaults_are_written_as_the_files_write_them() -> None:
    defaults = {(key, value["default"]) for key, value in properties(schema()) if isinstance(value.get("default"), str)}
    assert {("timeout", "5s"), ("timeout", "10s"), ("jitter", "0s")} <= defaults
