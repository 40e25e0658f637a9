"""Validating a catalogue without its environment variables."""

from pathlib import Path

import pytest
import yaml

from keyturn.catalogue import examine_unresolved, find_problems
from keyturn.catalogue.files.environment import REFERENCE
from tests.catalogue.test_broken import BROKEN, CATALOGUES, ENV

EXAMPLE = Path(__file__).parents[2] / "deployments" / "catalogue"

STORE = {"kind": "aws-secrets-manager", "region": "${KEYTURN_REGION}"}


def written(directory: Path, **sections: object) -> Path:
    """A catalogue of these sections."""
    (directory / "all.yaml").write_text(yaml.safe_dump(sections))
    return directory


def test_the_example_has_no_problem_and_each_of_its_references_is_told_as_not_checked() -> None:
    found = examine_unresolved(EXAMPLE, {})
    lines = [
        (str(file), number)
        for file in EXAMPLE.glob("*.yaml")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if REFERENCE.search(line.partition("#")[0])
    ]
    assert found.problems == ()
    assert sorted((value.file, value.line) for value in found.unchecked) == sorted(lines)
    assert "stores.aws" in found.entries


@pytest.mark.parametrize("name", CATALOGUES)
def test_nothing_is_a_problem_without_the_environment_that_is_none_with_it(name: str) -> None:
    everything = set(find_problems(BROKEN / name, ENV))
    found = examine_unresolved(BROKEN / name, ENV)
    assert set(found.problems) <= everything
    if not found.unchecked:
        assert set(found.problems) == everything


def test_a_mistake_beside_an_open_value_and_a_broken_reference_are_problems_all_the_same(tmp_path: Path) -> None:
    directory = written(tmp_path, stores={"aws": {**STORE, "regoin": "x", "role_arn": "${1BAD}"}})
    found = examine_unresolved(directory, {"KEYTURN_REGION": "eu-central-1"})
    assert sorted(problem.where for problem in found.problems) == ["stores.aws.regoin", "stores.aws.role_arn"]
    assert [(value.where, "KEYTURN_REGION" in value.message) for value in found.unchecked] == [
        ("stores.aws.region", True)
    ]


@pytest.mark.attack
def test_a_variables_default_is_not_used_and_two_stores_stay_distinct(tmp_path: Path) -> None:
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    places = [{"store": store, "name": "same"} for store in ("one", "two")]
    secret = {"owner": "me@example.com", "classification": "internal", "rotation": rotation, "destinations": places}
    stores = {name: {**STORE, "region": f"${{KEYTURN_{name.upper()}:-eu-central-1}}"} for name in ("one", "two")}
    directory = written(tmp_path, stores=stores, secrets={"a/b": secret})
    assert find_problems(directory, {})
    found = examine_unresolved(directory, {})
    assert (found.problems, found.entries) == ((), ("stores.one", "stores.two"))


@pytest.mark.attack
def test_a_forbidden_variable_is_reported_before_it_is_read(tmp_path: Path) -> None:
    directory = written(tmp_path, stores={"aws": {**STORE, "region": "${HOME}"}})
    (problem,) = examine_unresolved(directory, {}).problems
    assert "HOME may not be named" in problem.message


def test_what_depends_on_nothing_is_checked_whole(tmp_path: Path) -> None:
    found = examine_unresolved(written(tmp_path, stores={"aws": {**STORE, "region": "eu-central-1"}}), {})
    assert (found.problems, found.unchecked, found.entries, found.counts["stores"]) == ((), (), (), 1)
