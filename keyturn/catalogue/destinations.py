"""Where secrets are pushed to, one by one or by patterns, and what is done with a copy there."""

import re
from collections.abc import Collection
from enum import StrEnum
from functools import cached_property
from string import Formatter
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.choice import About, Choice
from keyturn.catalogue.stores.base import Deletion
from keyturn.core import mapping
from keyturn.core.mapping import Encoding, Escape, Shape
from keyturn.core.mounts import DEFAULT, split
from keyturn.settings.fields import Line, Model, PositiveDuration, refused


class Update(StrEnum):
    """What a newer value does to a copy."""

    REPLACE = "replace"
    CREATE_ONLY = "create-only"


class Drift(StrEnum):
    """What is done with a copy that somebody else has changed."""

    REPAIR = "repair"
    REPORT = "report"


def _template(template: str) -> str:
    if said := mapping.flaw(template):
        raise refused(said, "Write {field} where a field goes, and {{ or }} for a brace.")
    return template


Template = Annotated[str, AfterValidator(_template), WithJsonSchema({"type": "string", "pattern": r"\{.+\}"})]

NAME_PARTS: Final = ("path", "folder", "name", "mount")


def _name_template(template: str) -> str:
    try:
        parts = [part for _, part, spec, conversion in Formatter().parse(template) if part is not None]
    except ValueError:
        parts = []
    if not parts or not set(parts) <= set(NAME_PARTS) or re.search(r"[!:][^{}]*}", template):
        raise refused("is no template of names", "Use {path}, {folder}, {name} and {mount}.")
    return template


NameTemplate = Annotated[str, AfterValidator(_name_template), WithJsonSchema({"type": "string", "pattern": r"\{.+\}"})]


class Copying(Model):
    """What a copy is made of, and what is done with it."""

    adopt: bool = False
    """Take over, and overwrite, a secret of that name that Keyturn has not made."""
    update: Update = Update.REPLACE
    """What a newer value does to the copy: replace, or nothing (create-only)."""
    drift: Drift = Drift.REPAIR
    """What is done when somebody else has changed the copy: repair, or only report."""
    deletion: Deletion | None = None
    """What becomes of the copy when the hub has the secret no more: keep or delete; without it, as the store says."""
    field: Line | None = None
    """The copy is this one field's bare text."""
    fields: dict[Line, Line] | tuple[Line, ...] | None = None
    """The copy holds these fields alone: a list, or a mapping of their names in the copy to the fields."""
    template: Template | None = None
    """The copy is this text, with the fields' values in place of {field}."""
    escape: Escape | None = None
    """How values are written in the template: none, url, libpq, odbc, ado or json; url where it begins like one."""
    encoding: Encoding = Encoding.TEXT
    """What is done with the finished text: text, base64, from-base64 or pem."""
    tags: dict[Line, Line] = Field(default_factory=dict)
    """Tags of the copy (AWS, Azure), labels (GCP, Kubernetes) or custom metadata (Vault), besides the store's own."""
    annotations: dict[Line, Line] = Field(default_factory=dict)
    """Annotations of the copy (GCP, Kubernetes)."""
    description: Line | None = None
    """What the store tells people of the copy."""
    content_type: Line | None = None
    """What the store tells of the copy's format, such as application/json."""
    expires_after: PositiveDuration | None = None
    """How long after the hub's version was made the copy is shown to expire; nothing ends by it."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        said = [key for key in ("field", "fields", "template") if getattr(self, key) is not None]
        if len(said) > 1:
            raise refused(f"{said[0]} and {said[1]} exclude each other", "Keep one of the two.", said[1])
        if self.fields is not None and not self.fields:
            raise refused("names no field", "Name one, or leave it out for all of them.", "fields")
        if self.escape and not self.template:
            raise refused("there is no template to escape values in", "Leave it out.", "escape")
        return self

    @property
    def shape(self) -> Shape:
        """How the copy is made."""
        named = self.fields.items() if isinstance(self.fields, dict) else ((one, one) for one in self.fields or ())
        return Shape(tuple(named), self.field or "", self.template or "", self.escape, self.encoding)


class Destination(Copying):
    """One secret's place in a store."""

    store: Line
    """The store's name in this catalogue."""
    name: Line
    """The secret's name there."""

    @property
    def group(self) -> str:
        """The entry of the catalogue that its store comes from: the store's own, or one that stands for several."""
        return self.store.partition("/")[0]

    @property
    def label(self) -> str:
        """How it is named to people."""
        return f"{self.store}:{self.name}"


class SyncSettings(Copying, Choice):
    """Every secret that it chooses is pushed to these stores, besides the destinations of its own."""

    stores: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The stores' names in this catalogue."""
    name: NameTemplate = "{path}"
    """The name of each copy: {path}, {folder} (all but the last part), {name} (the last part), and {mount}, which is
    default for secrets of the default mount; {path} is the one within the mount."""
    separator: Line | None = None
    """What stands for each / of the path in the name, for stores that take none."""

    def remote(self, path: str, mounts: Collection[str] | None = None) -> str:
        """The name of the copy of the secret at ``path``."""
        mount, within = split(path, mounts)
        folder, _, last = within.rpartition("/")
        made = self.name.format(path=within, folder=folder, name=last, mount=mount or DEFAULT)
        return made if self.separator is None else made.replace("/", self.separator)

    def destinations(
        self, path: str, about: About | None, mounts: Collection[str] | None = None
    ) -> tuple[Destination, ...]:
        """The places that the secret at ``path`` is pushed to, of which the catalogue says this; none if not chosen."""
        if not self.covers(path, about, mounts):
            return ()
        # What is said here was checked when it was read; the store's own limits say which names it takes.
        named = {"name": self.remote(path, mounts)}
        return tuple(place.model_copy(update=named) for place in self._places)

    @cached_property
    def _places(self) -> tuple[Destination, ...]:
        """A place in each store, still without its name."""
        said = {key: getattr(self, key) for key in Copying.model_fields}
        return tuple(Destination(store=store, name="-", **said) for store in self.stores)
