"""Which secrets an entry means: by their paths, and by what the catalogue says of each."""

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
    """How bad it is when somebody else reads the secret."""

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
    """What the catalogue says of a secret that it declares; what could not be read is empty."""

    owner: str = ""
    classification: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


CHOOSING: Final = ("paths", "owners", "classifications", "labels")
"""The keys of which an entry says one at least."""


_SOME: Final = Field(json_schema_extra={"minItems": 1})


def _one_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [key]} for key in CHOOSING]


class Choice(Model):
    """Some secrets: those for which all holds that is given. Only declared ones have more than a path."""

    model_config = ConfigDict(json_schema_extra=_one_of)

    paths: Annotated[tuple[PathPattern, ...], _SOME] = ()
    """Secrets by their path: * is any text within one part of it, ** any number of parts; what is in another mount than
    the default one begins with its name and a colon, and *: is any mount. Of secrets that this catalogue does not
    declare, a sync means those that a path without * names, and those that the operator's file lists."""
    without: tuple[PathPattern, ...] = ()
    """Those of them that are not meant."""
    owners: Annotated[tuple[Line, ...], _SOME] = ()
    """Declared secrets of one of these owners."""
    classifications: Annotated[tuple[Classification, ...], _SOME] = ()
    """Declared secrets of one of these classifications."""
    labels: Annotated[Labels, Field(json_schema_extra={"minProperties": 1})] = Field(default_factory=dict)
    """Declared secrets that carry all of these labels."""

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
        """Whether it asks for what only declared secrets have."""
        return bool(self.owners or self.classifications or self.labels)

    def covers(self, path: str, about: About | None, mounts: Collection[str] | None = None) -> bool:
        """Whether it means the secret at ``path``, of which the catalogue says this; None where it says nothing.

        ``mounts`` are the names of the mounts that there are; without them, whatever stands before a colon is one.
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
