"""A union of models of which only the chosen one is built."""

from typing import Annotated, Literal, get_args

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from keyturn.catalogue.stores import STORE_KINDS
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.fields import Model
from keyturn.strategies.registry import STRATEGIES
from tests.cli.command import run_python


class Cat(Model):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Model):
    kind: Literal["dog", "hound"]
    tricks: tuple[str, ...] = ()


BUILT_AS_NEEDED = TypeAdapter(Annotated[Cat | Dog, ByTag("kind")])
PYDANTICS_OWN = TypeAdapter(Annotated[Cat | Dog, Field(discriminator="kind")])


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "cat", "lives": 3},
        {"kind": "hound", "tricks": ["sit"]},
        Cat(kind="cat"),
        {"kind": "cow"},
        {"kind": None},
        {"lives": 3},
        {},
        {"kind": "cat", "lives": "many", "wings": 2},
        {"kind": "dog", "tricks": ["sit", 7]},
    ],
)
def test_it_takes_and_refuses_what_a_tagged_union_does(data: object) -> None:
    def told(adapter: TypeAdapter[Cat | Dog]) -> object:
        try:
            return adapter.validate_python(data)
        except ValidationError as refused:
            # A tagged union puts the tag into the way to the value: the files have no such key.
            return [
                (e["type"], tuple(p for p in e["loc"] if p not in ("cat", "dog", "hound")), e.get("ctx"))
                for e in refused.errors()
            ]

    assert told(BUILT_AS_NEEDED) == told(PYDANTICS_OWN)


@pytest.mark.parametrize(("registry", "key"), [(STRATEGIES, "strategy"), (STORE_KINDS, "kind")])
def test_what_is_registered_has_the_tag_that_it_is_registered_by(registry: Registered[Model], key: str) -> None:
    told = {tag: get_args(model.model_fields[key].annotation) for tag, model in registry.items()}
    assert told == {tag: (tag,) for tag in registry}


def test_opening_a_catalogue_builds_the_strategies_that_it_names_and_no_others() -> None:
    program = """
import pathlib, tempfile
from keyturn.catalogue import load_catalogue
from keyturn.strategies.certificate import CertificateSettings
from keyturn.strategies.generated import GeneratedSettings
with tempfile.TemporaryDirectory() as place:
    rotation = "{strategy: generated, interval: 1d, grace: 1h}"
    secret = "{owner: a@example.com, classification: internal, rotation: " + rotation + "}"
    (pathlib.Path(place) / "all.yaml").write_text("secrets: {a/b: " + secret + "}")
    load_catalogue(pathlib.Path(place), {})
print(GeneratedSettings.__pydantic_complete__, CertificateSettings.__pydantic_complete__)
"""
    done = run_python(program)
    assert done.stdout == "True False\n", done.stderr


BUILT = """
import keyturn.catalogue.files.load, keyturn.wiring.registry
from keyturn.settings.fields import Model
models = [Model]
for model in models:
    models += model.__subclasses__()
print(len(models) > 50, [model.__name__ for model in models[1:] if model.__pydantic_complete__])
"""


def test_a_command_that_reads_a_catalogue_builds_no_model_before_it_is_used() -> None:
    """A default that is a model of its own builds it, and whatever it has, with the import."""
    done = run_python(BUILT)
    assert done.stdout == "True []\n", done.stderr
