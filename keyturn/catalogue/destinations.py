"""Where secrets are pushed to, one by one or by patterns, and what is done with a copy there."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from keyturn.catalogue.choice import About, Choice
from keyturn.core.mounts import DEFAULT, split
from keyturn.core.text import mapping
from keyturn.core.text.formatting import Case, spelled
from keyturn.core.text.mapping import NO_FIELD, ONLY_PREVIOUS, Encoding, Escape, Shape, ValueNames
from keyturn.core.text.references import Unfit, names_previous
from keyturn.settings.fields import Line, Model, PositiveDuration, refused
from keyturn.settings.stores import Deletion


class Update(StrEnum):
    """What a newer value does to a copy."""

    REPLACE = "replace"
    CREATE_ONLY = "create-only"
    ADD_FIELDS = "add-fields"
    """What the copy holds stays; a field that it lacks is added."""


class Drift(StrEnum):
    """What is done with a copy that somebody else has changed."""

    REPAIR = "repair"
    REPORT = "report"


def _template(template: str) -> str:
    if (flaw := mapping.template_flaw(template)) == ONLY_PREVIOUS:
        raise refused(flaw, "Put the field itself beside it, such as {key,previous.key}.")
    if flaw:
        raise refused(flaw, "Write {field} where a field goes, and {{ or }} for a brace.")
    return template


def _template_beside(template: str) -> str:
    return template if mapping.template_flaw(template) == NO_FIELD else _template(template)


Template = Annotated[str, AfterValidator(_template), WithJsonSchema({"type": "string", "pattern": r"\{.+\}"})]


class TemplatePart(Model):
    """A template that stands beside others in one copy."""

    template: Annotated[str, AfterValidator(_template_beside)]
    """The text, with the fields' values in place of {field}; it may hold none where the copy has a field elsewhere."""
    escape: Escape | None = None
    """How values are written in it; without it, as the copy's escape says."""


def _part(data: Any) -> Any:
    return {"template": data} if isinstance(data, str) else data


def _names(data: Any) -> Any:
    listed = data if isinstance(data, list | tuple) else [data]
    if not listed or not all(isinstance(name, str) and name.strip() and name.isprintable() for name in listed):
        raise refused("must be a field's name, or a list of them", "Write name, or [name, previous.name].")
    return data if isinstance(data, str) else tuple(listed)


_NAMES_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}

FieldNames = Annotated[str | tuple[str, ...], BeforeValidator(_names), WithJsonSchema(_NAMES_SCHEMA)]
"""The name of a field, of a property inside of one, or of either in the version before; or several of them."""

NAME_PARTS: Final = ("path", "folder", "name", "mount")

KEYS_BESIDE: Final = ("tags", "annotations", "description", "content_type", "expires_after")
"""The keys of destinations and syncs that ask for something beside a copy."""

EVERY_FIELD: Final = "*"
"""What stands for any text in a pattern of fields' names."""

EACH: Final = "{field}"
"""Where the field's name goes in the names of copies of which there is one for each field."""


def _name_template(template: str) -> str:
    try:
        parts = [part for _, part, spec, conversion in Formatter().parse(template) if part is not None]
    except ValueError:
        parts = []
    if not parts or not set(parts) <= {*NAME_PARTS, EACH[1:-1]} or re.search(r"[!:][^{}]*}", template):
        raise refused("is no template of names", "Use {path}, {folder}, {name} and {mount}.")
    return template


NameTemplate = Annotated[str, AfterValidator(_name_template), WithJsonSchema({"type": "string", "pattern": r"\{.+\}"})]


def _each_field(value: Any, listed: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, str):
        return listed(value)
    if EVERY_FIELD not in value or not value.isprintable() or value != value.strip():
        raise refused("is no pattern of fields' names", "Write a list, such as [name], or a pattern with *: API_*.")
    return value


_EACH_SCHEMA: Final = {
    "anyOf": [
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        {"type": "string", "pattern": r"\*"},
    ]
}

if TYPE_CHECKING:
    EachField = str | tuple[str, ...]
else:  # one type at run time, so that what is wrong with a list is told as of any other
    EachField = Annotated[
        tuple[Line, ...], Field(min_length=1), WrapValidator(_each_field), WithJsonSchema(_EACH_SCHEMA)
    ]


class Copying(Model):
    """What a copy is made of, and what is done with it."""

    adopt: bool = False
    """Take over, and overwrite, a secret of that name that Keyturn has not made."""
    update: Update = Update.REPLACE
    """What a newer value does to the copy: replace it, nothing (create-only), or add-fields: what it has stays, and
    fields that it lacks are added."""
    drift: Drift = Drift.REPAIR
    """What is done when somebody else has changed the copy: repair, or only report."""
    deletion: Deletion | None = None
    """What becomes of the copy when the hub has the secret no more: keep or delete; without it, as the store says."""
    field: FieldNames | None = None
    """The copy is this one field's bare text; of several, such as [key, previous.key], a JSON list of their values."""
    fields: dict[Line, FieldNames] | tuple[Line, ...] | None = None
    """The copy holds these fields alone: a list, or a mapping of their names in the copy to the fields. A field that is
    JSON has properties: config.db.host. Of the version before, as long as its grace lasts: previous.key."""
    each_field: EachField | None = None
    """There is one copy for each of these fields, the field's bare text; the name holds {field} for the field's own.
    A list of fields, or a pattern of their names: * is any text, such as API_*."""
    template: Template | None = None
    """The copy is this text, with the fields' values in place of {field}."""
    templates: (
        dict[Line, Annotated[TemplatePart, BeforeValidator(_part, json_schema_input_type=str | TemplatePart)]] | None
    ) = None
    """The copy holds these texts by name, beside fields where they are given: templates, or each with its escape."""
    escape: Escape | None = None
    """How values are written in templates: none, url, libpq, odbc, ado or json; url where one begins like that."""
    join: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """What stands between several values that become one text, instead of a JSON list; in a template a comma."""
    case: Case | None = None
    """How the names of fields are spelled in the copy: upper-snake, snake, kebab, camel, pascal, upper or lower."""
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
    merge: bool = False
    """Lay the fields as single keys into a secret that others own, and leave all its other keys as they are."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        keys = ("field", "fields", "each_field", "template", "templates")
        present = [key for key in keys if getattr(self, key) is not None]
        if len(present) > 1 and present != ["fields", "templates"]:
            raise refused(f"{present[0]} and {present[1]} exclude each other", "Keep one of the two.", present[1])
        for key in ("fields", "templates"):
            if getattr(self, key) is not None and not getattr(self, key):
                raise refused("names no field", "Name one, or leave it out for all of them.", key)
        if self.escape and not (self.template or self.templates):
            raise refused("there is no template to escape values in", "Leave it out.", "escape")
        if self.case and (self.field is not None or self.template):
            raise refused("there are no names of fields in this copy", "Leave it out.", "case")
        new = [name for name, _ in self.each]
        if twice := next((name for name in new if new.count(name) > 1), None):
            raise refused(f"two of its fields would be called {twice}", "Leave one of them out.", "each_field")
        if any(names_previous(field) for _, field in self.each):
            raise refused(ONLY_PREVIOUS, "Say field: [key, previous.key] in a destination of its own.", "each_field")
        return self

    @property
    def each(self) -> list[tuple[str, str]]:
        """What stands for {field} in the name of each field's copy, and the field; none where there is one copy."""
        return self._spelled(self.each_field, "each_field") if isinstance(self.each_field, tuple) else []

    @property
    def by_pattern(self) -> bool:
        """Whether there is a copy for each field that fits a pattern, so that only the secret tells which there are."""
        return isinstance(self.each_field, str)

    @model_validator(mode="after")
    def _keys_alone(self) -> Self:
        if not self.merge:
            return self
        if (self.fields is None and self.templates is None) or self.encoding is not Encoding.TEXT:
            raise refused("what is merged is keys of an object", "Name them with fields, without encoding.", "merge")
        for key in KEYS_BESIDE:
            if getattr(self, key):
                raise refused("nothing is laid beside what others own", "Leave it out, or leave merge out.", key)
        return self

    @model_validator(mode="after")
    def _fields_to_add(self) -> Self:
        if self.update is not Update.ADD_FIELDS:
            return self
        one_text = self.field is not None or self.each_field or self.template or self.encoding is not Encoding.TEXT
        if one_text:
            message = "this copy is one text, and no field can be added to it"
            raise refused(message, "Say create-only, or let the copy hold fields.", "update")
        if self.merge:
            raise refused("what is merged is replaced key by key", "Leave update out, or merge.", "update")
        if self.expires_after:
            message = "what the copy keeps is older than what it gets, so no one end is true of it"
            raise refused(message, "Leave it out, or say create-only.", "expires_after")
        return self

    @model_validator(mode="after")
    def _sound_names(self) -> Self:
        if not self._mapped and self.join is None:
            return self
        shape, names = self.shape, [new for new, _ in self._named()] + list(self.templates or ())
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise refused(f"two of its fields would be called {twice}", "Give one of them another name.", self._list)
        if self._mapped and not shape.references:
            raise refused("holds no field of the secret", "Write {field} into one of them.", self._list)
        if shape.references and all(map(names_previous, shape.references)):
            remedy = "Put the field itself beside it, such as [key, previous.key]."
            raise refused(ONLY_PREVIOUS, remedy, "field" if self.field else self._list)
        if shape.tells_previous and self.update is not Update.REPLACE:
            message = "what is never written again would give the version before for ever"
            raise refused(message, "Leave update out, or previous.", "update")
        if self.join is not None and not _holds_several(shape):
            raise refused("there are no several values to stand between", "Leave it out.", "join")
        return self

    @property
    def _mapped(self) -> bool:
        """Whether the copy is anything else than all fields of the secret."""
        return any(value is not None for value in (self.field, self.fields, self.template, self.templates))

    @property
    def _list(self) -> str:
        """The key that names the copy's fields."""
        return "fields" if self.fields is not None else "templates"

    def _named(self) -> list[tuple[str, ValueNames]]:
        """The names in the copy, and what stands under them."""
        if isinstance(self.fields, dict):
            return list(self.fields.items())
        return [(new, field) for new, field in self._spelled(self.fields or (), "fields")]

    def _spelled(self, names: Iterable[str], key: str) -> list[tuple[str, str]]:
        """Each name as it is spelled in the copies, and as it is."""
        try:
            return [(spelled(name, self.case), name) for name in names]
        except Unfit as error:
            raise refused(str(error), "Name it by a mapping, such as fields: {NAME: field}.", key) from None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of others' secret that are this copy; empty where the copy is a whole one."""
        return (*(name for name, _ in self._named()), *(self.templates or ())) if self.merge else ()

    @cached_property
    def shape(self) -> Shape:
        """How the copy is made."""
        parts = (self.templates or {}).items()
        return Shape(
            tuple(self._named()),
            self.field or "",
            self.template or "",
            self.escape if self.template else None,
            self.encoding,
            tuple((name, part.template, part.escape or self.escape) for name, part in parts),
            self.join,
            None if self._mapped else self.case,
        )


def _holds_several(shape: Shape) -> bool:
    """Whether there is a place for several values in it."""
    texts = [shape.template, *(template for _, template, _ in shape.templates)]
    places = [place for text in texts for _, place, _, _ in Formatter().parse(text) if place]
    listed = [shape.field, *(source for _, source in shape.fields)]
    return any("," in place for place in places) or any(isinstance(source, tuple) for source in listed)


class Destination(Copying):
    """One secret's place in a store."""

    store: Line
    """The store's name in this catalogue."""
    name: Line
    """The secret's name there."""
    _by_pattern: bool = False

    @property
    def of_pattern(self) -> bool:
        """Whether it is one of those that a pattern makes, so that the secret's fields decide whether it is there."""
        return self._by_pattern

    @model_validator(mode="after")
    def _name_of_each(self) -> Self:
        if self.each_field and EACH not in self.name:
            raise refused("copies of several fields need several names", "Put {field} into it.", "name")
        return self

    def spread(self, names: Mapping[str, str] | None = None) -> "tuple[Destination, ...]":
        """The place of each field's copy, where there is one for each that is named, else this one.

        ``names`` are the copies' names by what stands for {field}, where they are not told by this one's.
        """
        if not self.each:
            return (self,)
        named = names or {new: self.name.replace(EACH, new) for new, _ in self.each}
        return tuple(self.alone(named[new], field) for new, field in self.each)

    def alone(self, name: str, field: str) -> "Destination":
        """The place of one field's copy."""
        made = self.model_copy(update={"name": name, "field": field, "each_field": None, "case": None})
        made.__dict__.pop("shape", None)  # what was told of all of them is copied too
        return made

    def renamed(self, name: str) -> "Destination":
        """The same under another name, of the same shape; a sync of ten thousand secrets makes one for each copy."""
        made = Destination.__new__(Destination)
        made.__setstate__({**self.__getstate__(), "__dict__": {**self.__dict__, "name": name, "shape": self.shape}})
        return made

    @property
    def group(self) -> str:
        """The entry of the catalogue that its store comes from: the store's own, or one that stands for several."""
        return self.store.partition("/")[0]

    @property
    def label(self) -> str:
        """How it is named to people."""
        return f"{self.store}:{self.name}"


@dataclass(frozen=True)
class FieldPattern:
    """A place for each field that fits a pattern, not spread yet: which ones there are, only the secret's fields tell.

    :meth:`keyturn.rotation.state.context.Keyturn.places` spreads it.
    """

    place: Destination
    """What is said of all of them; its name holds {field}."""

    @property
    def store(self) -> str:
        """The store's name in this catalogue."""
        return self.place.store

    @property
    def group(self) -> str:
        """The entry of the catalogue that its store comes from."""
        return self.place.group

    @property
    def label(self) -> str:
        """How all of them are named to people."""
        return self.place.label

    def chosen(self, fields: Iterable[str]) -> list[str]:
        """Those of the names that fit, in order."""
        return sorted(field for field in fields if _fitting(str(self.place.each_field)).fullmatch(field))

    def spread(self, fields: Iterable[str]) -> tuple[Destination, ...]:
        """The place of each field that fits. Raises Unfit for a name that can't be spelled, or read as a field's."""
        return tuple(self.of(field) for field in self.chosen(fields))

    def of(self, field: str) -> Destination:
        """The place of one field's copy. Raises Unfit."""
        if names_previous(field):
            raise Unfit(f"the name of the field {field} is taken for one of the version before")
        made = self.place.alone(self.place.name.replace(EACH, spelled(field, self.place.case)), field)
        made._by_pattern = True
        return made

    def owns(self, name: str) -> bool:
        """Whether a copy of that name may be one of these."""
        before, _, after = self.place.name.partition(EACH)
        parts = [re.escape(part) for part in (before, *after.split(EACH))]
        return re.fullmatch(".+".join(parts), name, re.DOTALL) is not None


DeclaredPlace = Destination | FieldPattern
"""Where a secret is pushed to, as the catalogue says it: one copy, or one for each field that fits a pattern."""


def place_of(destination: Destination) -> DeclaredPlace:
    """The same, as what it is."""
    return FieldPattern(destination) if destination.by_pattern else destination


@cache
def _fitting(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split(EVERY_FIELD))), re.DOTALL)


class SyncSettings(Copying, Choice):
    """Every secret that it chooses is pushed to these stores, besides the destinations of its own."""

    stores: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The stores' names in this catalogue."""
    name: NameTemplate = "{path}"
    """The name of each copy: {path}, {folder} (all but the last part), {name} (the last part), and {mount}, which is
    default for secrets of the default mount; {path} is the one within the mount. With each_field, {field} too."""
    separator: Line | None = None
    """What stands for each / of the path in the name, for stores that take none."""

    @model_validator(mode="after")
    def _name_of_each(self) -> Self:
        if bool(self.each_field) != (EACH in self.name):
            message = (
                "copies of several fields need several names"
                if self.each_field
                else "there are no copies of each field"
            )
            raise refused(message, "Put {field} into name, and the fields into each_field.", "name")
        return self

    def remote(self, path: str, mounts: Collection[str] | None = None, field: str = "") -> str:
        """The name of the copy of the secret at ``path``, or of that of one ``field`` of it."""
        mount, within = split(path, mounts)
        folder, _, last = within.rpartition("/")
        made = self.name.format(path=within, folder=folder, name=last, mount=mount or DEFAULT, field=field)
        return made if self.separator is None else made.replace("/", self.separator)

    def destinations(
        self, path: str, about: About | None, mounts: Collection[str] | None = None
    ) -> tuple[DeclaredPlace, ...]:
        """The places that the secret at ``path`` is pushed to, of which the catalogue says this; none if not chosen."""
        if not self.covers(path, about, mounts):
            return ()
        if self.by_pattern:
            name = self.remote(path, mounts, EACH)
            return tuple(FieldPattern(place.renamed(name)) for place in self._places)
        # What is said here was checked when it was read; the store's own limits say which names it takes.
        if self.each_field:
            names = {new: self.remote(path, mounts, new) for new, _ in self.each}
            return tuple(destination for place in self._places for destination in place.spread(names))
        name = self.remote(path, mounts)
        # All copies have one shape, which works out once what it needs.
        return tuple(place.renamed(name) for place in self._places)

    @cached_property
    def _places(self) -> tuple[Destination, ...]:
        """A place in each store, still without its name."""
        settings = {key: getattr(self, key) for key in Copying.model_fields}
        return tuple(
            Destination(store=store, name=EACH if self.each_field else "-", **settings) for store in self.stores
        )
