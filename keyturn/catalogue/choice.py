"""The choice of secrets by path and by properties that the catalogue declares."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from keyturn.catalogue.freezes import EVERYTHING, PathPattern
from keyturn.core.text.path_patterns import covers
from keyturn.settings.fields import Line, Model, matching, refused


class Classification(StrEnum):
    """The damage if others read the secret."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?"

LabelName = Annotated[
    str,
    matching(
        LABEL, "is not a label's name", "Use 1 to 63 letters, digits and _ . / -, a letter or digit at both ends."
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$"}),
]

Labels = dict[LabelName, Line]


@dataclass(frozen=True)
class About:
    """The declared properties of a secret; unreadable ones are empty."""

    owner: str = ""
    classification: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


CHOOSING: Final = ("paths", "owners", "classifications", "labels")


_SOME: Final = Field(json_schema_extra={"minItems": 1})


def _one_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [key]} for key in CHOOSING]


class Choice(Model):
    """A choice of secrets: all given conditions must hold. Only declared secrets match more than paths."""

    model_config = ConfigDict(json_schema_extra=_one_of)

    paths: Annotated[tuple[PathPattern, ...], _SOME] = ()
    """Secrets by path: * is any text within one part, ** any number of parts. The name of a mount and a colon come
    before the paths of other mounts; *: is any mount. Of undeclared secrets, a sync copies those that a path without *
    names and those that the operator's file lists."""
    without: tuple[PathPattern, ...] = ()
    """Exceptions from the chosen secrets."""
    owners: Annotated[tuple[Line, ...], _SOME] = ()
    """Declared secrets with one of these owners."""
    classifications: Annotated[tuple[Classification, ...], _SOME] = ()
    """Declared secrets with one of these classifications."""
    labels: Annotated[Labels, Field(json_schema_extra={"minProperties": 1})] = Field(default_factory=dict)
    """Declared secrets that have all these labels."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        for key in CHOOSING:
            if key in self.model_fields_set and not getattr(self, key):
                raise refused("is empty", "Write at least one.", key)
        if not self.model_fields_set & set(CHOOSING):
            raise refused("says no secrets", f"Add {', '.join(CHOOSING[:-1])} or {CHOOSING[-1]}.", "paths")
        return self

    @cached_property
    def of_declared(self) -> bool:
        return bool(self.owners or self.classifications or self.labels)

    def covers(self, path: str, about: About | None, mounts: Collection[str] | None = None) -> bool:
        """Whether the choice covers the secret at ``path``; ``about`` is None if it is undeclared.

        ``mounts`` are the known mount names; without them, any text before a colon is one.
        """
        return (
            self._fits(about)
            and any(covers(pattern, path, mounts) for pattern in self.paths or (EVERYTHING,))
            and not any(covers(pattern, path, mounts) for pattern in self.without)
        )

    def _fits(self, about: About | None) -> bool:
        if not self.of_declared:
            return True
        return (
            about is not None
            and (not self.owners or about.owner in self.owners)
            and (not self.classifications or about.classification in self.classifications)
            and self.labels.items() <= about.labels.items()
        )
