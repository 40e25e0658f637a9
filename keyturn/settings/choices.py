"""One of several models, told by one key of the mapping: only the one that is chosen is built, once it is chosen.

Pydantic's own tagged union builds all of them before the first is used: fifteen strategies for a secret of one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from keyturn.settings.fields import Model, models


@dataclass(frozen=True)
class ByTag:
    """Annotates a union of models whose field ``key`` is a literal: a name of the kind.

    ``default`` is the kind of what says none, where there is one.
    """

    key: str
    default: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(Choice.of(source, self.key, self.default).validate)


@dataclass(frozen=True)
class Choice:
    """The models by their tag."""

    key: str
    models: Mapping[str, type[Model]] = field(repr=False)
    default: str = ""

    @staticmethod
    def of(shape: Any, key: str, default: str = "") -> "Choice":
        """The models of that union, which has one for each tag."""
        tagged = {tag: model for model in models(shape) for tag in get_args(model.model_fields[key].annotation)}
        return Choice(key, tagged, default)

    def validate(self, data: Any) -> Model:
        """The model that the data asks for. Raises what pydantic's tagged union does, without the tag in the way."""
        if isinstance(data, Model) and isinstance(data, tuple(self.models.values())):
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

    def to_core_schema(self) -> CoreSchema:
        """The tagged union that this stands for, all of it built: what a JSON Schema is made of."""
        for model in self.models.values():
            model.model_rebuild()
        choices = {tag: model.__pydantic_core_schema__ for tag, model in self.models.items()}
        return core_schema.tagged_union_schema(choices, self.key)
