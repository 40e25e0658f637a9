"""One of several models, selected by one key of the mapping: only the selected one is built, once it is selected.

Pydantic's own tagged union builds all of them before the first is used: fifteen strategies for a secret of one.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from keyturn.settings.fields import Model

M = TypeVar("M", bound=Model)


class Registered(Mapping[str, type[M]], Generic[M]):
    """Models by their tag, each of them imported when it is first used.

    ``names`` are their full names, such as ``keyturn.strategies.manual.ManualSettings``. Entry points of the ``group``
    in installed distributions add others, and replace none.
    """

    def __init__(self, names: Mapping[str, str], group: str) -> None:
        self._shipped = names
        self._group = group

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """All names, the shipped ones first. Reading them searches the installed distributions."""
        from importlib.metadata import entry_points

        added = {each.name: each.value.replace(":", ".") for each in entry_points(group=self._group)}
        return {**self._shipped, **{tag: place for tag, place in added.items() if tag not in self._shipped}}

    def __getitem__(self, tag: str) -> type[M]:
        place = self._shipped.get(tag) or self._names[tag]
        module, _, name = place.rpartition(".")
        model: type[M] = getattr(importlib.import_module(module), name)
        return model

    def __contains__(self, tag: object) -> bool:
        return tag in self._shipped or tag in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class ByTag:
    """Annotates a union of models whose field ``key`` is a literal: a name of the kind.

    ``default`` is the kind of data that names none. Models of a registry need no union: they are ``registered``, and
    their base is annotated.
    """

    key: str
    default: str = ""
    registered: Mapping[str, type[Model]] | None = field(default=None, repr=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choice = Choice.of(source, self.key) if self.registered is None else Choice(self.key, self.registered)
        return core_schema.no_info_plain_validator_function(replace(choice, default=self.default).validate)


def models(shape: Any) -> list[type[Model]]:
    """Return every model that ``shape``, one or a union of them, allows."""
    if isinstance(shape, type) and issubclass(shape, Model):
        return [shape]
    arguments = get_args(shape)
    for note in arguments[1:]:
        if isinstance(note, ByTag) and note.registered is not None:
            return list(note.registered.values())
    return [model for inner in arguments for model in models(inner)]


def shape_of(info: FieldInfo) -> Any:
    """Return what a model's field may hold, with the annotations that pydantic keeps apart."""
    return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


@dataclass(frozen=True)
class Choice:
    key: str
    models: Mapping[str, type[Model]] = field(repr=False)
    default: str = ""

    @staticmethod
    def of(shape: Any, key: str) -> "Choice":
        tagged = {tag: model for model in models(shape) for tag in get_args(model.model_fields[key].annotation)}
        return Choice(key, tagged)

    def validate(self, data: Any) -> Model:
        """Return the model that the data asks for.

        Raises what pydantic's tagged union does, without the tag in the way.
        """
        if isinstance(data, Model) and self._made(data):
            return data
        if not isinstance(data, dict):
            raise PydanticKnownError("model_attributes_type")
        if self.key not in data and not self.default:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": f"'{self.key}'"})
        tag = data.get(self.key, self.default)
        if not isinstance(tag, str) or tag not in self.models:
            expected = ", ".join(f"'{name}'" for name in self.models)
            context = {"discriminator": f"'{self.key}'", "tag": str(tag), "expected_tags": expected}
            raise PydanticKnownError("union_tag_invalid", context)
        return self.models[tag].model_validate(data)

    def _made(self, data: Model) -> bool:
        tag = getattr(data, self.key, None)
        return isinstance(tag, str) and tag in self.models and isinstance(data, self.models[tag])

    def to_core_schema(self) -> CoreSchema:
        """Return the tagged union for a JSON Schema, with all of its models built."""
        for model in self.models.values():
            model.model_rebuild()
        choices = {tag: model.__pydantic_core_schema__ for tag, model in self.models.items()}
        return core_schema.tagged_union_schema(choices, self.key)


@dataclass(frozen=True)
class Either:
    """Annotates what ``read`` makes of one of several ``shapes``; an error names the place without a shape's name."""

    read: Callable[[Any], Any]
    shapes: tuple[Any, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(TypeAdapter(shape).core_schema) for shape in self.shapes]}
