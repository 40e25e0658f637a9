"""One of several models, selected by one key of the mapping: only the selected one is built, once it is selected.

Pydantic's own tagged union builds all of them before the first is used: fifteen strategies for a secret of one.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from keyturn.settings.fields import Model, refused

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

M = TypeVar("M", bound=Model)
FIX_PACKAGE: Final = "Uninstall the package, or install a version without this flaw."


class Registered(Mapping[str, type[M]], Generic[M]):
    """Models by their tag, each of them imported when it is first used.

    ``names`` are their full names, such as ``keyturn.strategies.manual.ManualSettings``. Entry points of the ``group``
    in installed distributions add others, and replace none: a tag that two of them bring is neither's. Each is a
    ``base``. ``__getitem__`` raises KeyError for a tag that is not there, or whose package can't be used.
    """

    def __init__(self, names: Mapping[str, str], group: str, base: type[M]) -> None:
        self._shipped = names
        self._group = group
        self._base = base
        self._opened: dict[str, type[M] | str] = {}

    @cached_property
    def _added(self) -> Mapping[str, "Sequence[EntryPoint]"]:
        """Entry points by their tag. Reading them searches the installed distributions."""
        from importlib.metadata import entry_points

        entries: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self._group):
            if entry.name not in self._shipped:
                entries.setdefault(entry.name, []).append(entry)
        return entries

    def __getitem__(self, tag: str) -> type[M]:
        if place := self._shipped.get(tag):
            module, _, name = place.rpartition(".")
            model: type[M] = getattr(importlib.import_module(module), name)
            return model
        if isinstance(added := self._open(tag), str):
            raise KeyError(tag)
        return added

    def __contains__(self, tag: object) -> bool:
        return tag in self._shipped or (tag in self._added and not self.flaw(str(tag)))

    def __iter__(self) -> Iterator[str]:
        return iter((*self._shipped, *(tag for tag in self._added if not self.flaw(tag))))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def flaw(self, tag: str) -> str:
        """Return why an installed package's model of this tag is not used; empty where there is nothing to say."""
        model = self._open(tag) if tag not in self._shipped and tag in self._added else ""
        return model if isinstance(model, str) else ""

    def _open(self, tag: str) -> type[M] | str:
        if tag not in self._opened:
            self._opened[tag] = _load(self._added[tag], self._base)
        return self._opened[tag]


def _load(entries: "Sequence[EntryPoint]", base: type[M]) -> type[M] | str:
    entry, *others = entries
    packages = sorted({each.dist.name if each.dist else each.value for each in entries})
    if others:
        return f"more than one installed package brings it ({', '.join(packages)}), so it is used from none"
    try:
        model = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an import may raise anything
        return f"the installed package {packages[0]} can't load it: {entry.value} raises {type(error).__name__}"
    if isinstance(model, type) and issubclass(model, base):
        return model
    return f"the installed package {packages[0]} names {entry.value} for it, which is no {base.__name__}"


@dataclass(frozen=True)
class ByTag:
    """Annotates a union of models whose field ``key`` is a literal: a name of the kind.

    ``default`` is the kind of data that names none. Models of a registry need no union: they are ``registered``, and
    their base is annotated.
    """

    key: str
    default: str = ""
    registered: Registered[Any] | None = field(default=None, repr=False)

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
            if isinstance(self.models, Registered) and isinstance(tag, str) and (flaw := self.models.flaw(tag)):
                raise refused(flaw, FIX_PACKAGE, self.key)
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
