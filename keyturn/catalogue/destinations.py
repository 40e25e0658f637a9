"""Destinations of secrets, one by one or by patterns, and how copies are made and maintained."""

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
    """The effect of a newer value on a copy."""

    REPLACE = "replace"
    CREATE_ONLY = "create-only"
    ADD_FIELDS = "add-fields"
    """The copy keeps its fields; missing ones are added."""


class Drift(StrEnum):
    """The response when others have changed a copy."""

    REPAIR = "repair"
    REPORT = "report"


def _template(template: str) -> str:
    if (flaw := mapping.template_flaw(template)) == ONLY_PREVIOUS:
        raise refused(flaw, "Add the field itself next to it, such as {key,previous.key}.")
    if flaw:
        raise refused(flaw, "Write {field} where a field goes, and {{ or }} for a brace.")
    return template


def _template_beside(template: str) -> str:
    return template if mapping.template_flaw(template) == NO_FIELD else _template(template)


Template = Annotated[str, AfterValidator(_template), WithJsonSchema({"type": "string", "pattern": r"\{.+\}"})]


class TemplatePart(Model):
    """A template among others in one copy."""

    template: Annotated[str, AfterValidator(_template_beside)]
    """The text, with {field} for each value; it may have none if the copy has a field elsewhere."""
    escape: Escape | None = None
    """The escaping of values; by default, the copy's escape."""


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
"""The name of a field, of a property in one, or of either in the previous version; or several of them."""

NAME_PARTS: Final = ("path", "folder", "name", "mount")

KEYS_BESIDE: Final = ("tags", "annotations", "description", "content_type", "expires_after")

EVERY_FIELD: Final = "*"

EACH: Final = "{field}"
"""The placeholder for the field in the names of copies when each field has its own copy."""


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
else:  # one type at run time, so that errors in a list read like those in other lists
    EachField = Annotated[
        tuple[Line, ...], Field(min_length=1), WrapValidator(_each_field), WithJsonSchema(_EACH_SCHEMA)
    ]


class Copying(Model):
    """The content of a copy, and how it is maintained."""

    adopt: bool = False
    """Whether to take over and overwrite a secret of that name that Keyturn has not made."""
    update: Update = Update.REPLACE
    """The effect of a newer value: replace the copy, nothing (create-only), or add only missing fields (add-fields)."""
    drift: Drift = Drift.REPAIR
    """The response when others have changed the copy: repair, or only report."""
    deletion: Deletion | None = None
    """The treatment of the copy once the hub no longer has the secret: keep or delete; by default, the store's
    setting."""
    field: FieldNames | None = None
    """The copy is the bare text of this field; for several, such as [key, previous.key], a JSON list of their
    values."""
    fields: dict[Line, FieldNames] | tuple[Line, ...] | None = None
    """The copy has only these fields: a list, or a mapping from names in the copy to fields. JSON fields have
    properties: config.db.host. During its grace, the previous version has fields too: previous.key."""
    each_field: EachField | None = None
    """Each of these fields has its own copy with its bare text; {field} in the name is the field's name. Either a list,
    or a pattern of names in which * is any text, such as API_*."""
    template: Template | None = None
    """The copy is this text, with {field} for each value."""
    templates: (
        dict[Line, Annotated[TemplatePart, BeforeValidator(_part, json_schema_input_type=str | TemplatePart)]] | None
    ) = None
    """The copy has these texts by name, in addition to fields: templates, or each template with its escape."""
    escape: Escape | None = None
    """The escaping of values in templates: none, url, libpq, odbc, ado or json; by default, url in a template that
    begins like one."""
    join: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """The separator of several values in one text, instead of a JSON list; in templates, a comma by default."""
    case: Case | None = None
    """The spelling of field names in the copy: upper-snake, snake, kebab, camel, pascal, upper or lower."""
    encoding: Encoding = Encoding.TEXT
    """The encoding of the finished text: text, base64, from-base64 or pem."""
    tags: dict[Line, Line] = Field(default_factory=dict)
    """Tags of the copy (AWS, Azure), labels (GCP, Kubernetes) or custom metadata (Vault), in addition to the store's
    own."""
    annotations: dict[Line, Line] = Field(default_factory=dict)
    """Annotations of the copy (GCP, Kubernetes)."""
    description: Line | None = None
    """The description that the store shows."""
    content_type: Line | None = None
    """The copy's format in the store, such as application/json."""
    expires_after: PositiveDuration | None = None
    """The age of the hub's version at which the copy shows as expired; it has no other effect."""
    merge: bool = False
    """Whether to merge the fields as single keys into a secret of others and leave its other keys unchanged."""

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
            raise refused(ONLY_PREVIOUS, "Say field: [key, previous.key] in its own destination.", "each_field")
        return self

    @property
    def each(self) -> list[tuple[str, str]]:
        """The value for {field} in each copy's name, and the field; empty if there is one copy."""
        return self._spelled(self.each_field, "each_field") if isinstance(self.each_field, tuple) else []

    @property
    def by_pattern(self) -> bool:
        """Whether the fields with a copy are chosen by a pattern, so that only the secret's value has their names."""
        return isinstance(self.each_field, str)

    @model_validator(mode="after")
    def _keys_alone(self) -> Self:
        if not self.merge:
            return self
        if (self.fields is None and self.templates is None) or self.encoding is not Encoding.TEXT:
            raise refused("what is merged is keys of an object", "Name them with fields, without encoding.", "merge")
        for key in KEYS_BESIDE:
            if getattr(self, key):
                raise refused("nothing is added to what others own", "Leave it out, or leave merge out.", key)
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
            remedy = "Add the field itself next to it, such as [key, previous.key]."
            raise refused(ONLY_PREVIOUS, remedy, "field" if self.field else self._list)
        if shape.tells_previous and self.update is not Update.REPLACE:
            message = "what is never written again would give the version before for ever"
            raise refused(message, "Leave update out, or previous.", "update")
        if self.join is not None and not _holds_several(shape):
            raise refused("there is only one value, so a separator has no effect", "Leave it out.", "join")
        return self

    @property
    def _mapped(self) -> bool:
        return any(value is not None for value in (self.field, self.fields, self.template, self.templates))

    @property
    def _list(self) -> str:
        return "fields" if self.fields is not None else "templates"

    def _named(self) -> list[tuple[str, ValueNames]]:
        if isinstance(self.fields, dict):
            return list(self.fields.items())
        return [(new, field) for new, field in self._spelled(self.fields or (), "fields")]

    def _spelled(self, names: Iterable[str], key: str) -> list[tuple[str, str]]:
        try:
            return [(spelled(name, self.case), name) for name in names]
        except Unfit as error:
            raise refused(str(error), "Name it by a mapping, such as fields: {NAME: field}.", key) from None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the copy merges into a secret of others; empty for a whole copy."""
        return (*(name for name, _ in self._named()), *(self.templates or ())) if self.merge else ()

    @cached_property
    def shape(self) -> Shape:
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
        """Whether a pattern made this destination, so that the secret's fields decide whether it exists."""
        return self._by_pattern

    @model_validator(mode="after")
    def _name_of_each(self) -> Self:
        if self.each_field and EACH not in self.name:
            raise refused("copies of several fields need several names", "Put {field} into it.", "name")
        return self

    def spread(self, names: Mapping[str, str] | None = None) -> "tuple[Destination, ...]":
        """The place of each field's copy; only this place if it has no list of fields.

        ``names`` maps values of {field} to names of copies, if this place's name does not determine them.
        """
        if not self.each:
            return (self,)
        named = names or {new: self.name.replace(EACH, new) for new, _ in self.each}
        return tuple(self.alone(named[new], field) for new, field in self.each)

    def alone(self, name: str, field: str) -> "Destination":
        made = self.model_copy(update={"name": name, "field": field, "each_field": None, "case": None})
        made.__dict__.pop("shape", None)  # the cached shape is copied too
        return made

    def renamed(self, name: str) -> "Destination":
        """The same shape under another name. Fast, because a sync of 10,000 secrets makes one for each copy."""
        made = Destination.__new__(Destination)
        made.__setstate__({**self.__getstate__(), "__dict__": {**self.__dict__, "name": name, "shape": self.shape}})
        return made

    @property
    def group(self) -> str:
        """The catalogue's entry of its store: the store's own, or a group's."""
        return self.store.partition("/")[0]

    @property
    def label(self) -> str:
        return f"{self.store}:{self.name}"


@dataclass(frozen=True)
class FieldPattern:
    """Places for the fields that match a pattern, which only the secret's value determines.

    :meth:`keyturn.rotation.state.context.Keyturn.places` spreads it.
    """

    place: Destination
    """Their common settings; the name contains {field}."""

    @property
    def store(self) -> str:
        return self.place.store

    @property
    def group(self) -> str:
        return self.place.group

    @property
    def label(self) -> str:
        return self.place.label

    def chosen(self, fields: Iterable[str]) -> list[str]:
        return sorted(field for field in fields if _fitting(str(self.place.each_field)).fullmatch(field))

    def spread(self, fields: Iterable[str]) -> tuple[Destination, ...]:
        """The place of each matching field. Raises Unfit for a name that can't be spelled or reads as previous."""
        return tuple(self.of(field) for field in self.chosen(fields))

    def of(self, field: str) -> Destination:
        """The place of one field's copy. Raises Unfit."""
        if names_previous(field):
            raise Unfit(f"the name of the field {field} is taken for one of the version before")
        made = self.place.alone(self.place.name.replace(EACH, spelled(field, self.place.case)), field)
        made._by_pattern = True
        return made

    def owns(self, name: str) -> bool:
        before, _, after = self.place.name.partition(EACH)
        parts = [re.escape(part) for part in (before, *after.split(EACH))]
        return re.fullmatch(".+".join(parts), name, re.DOTALL) is not None


DeclaredPlace = Destination | FieldPattern


def place_of(destination: Destination) -> DeclaredPlace:
    return FieldPattern(destination) if destination.by_pattern else destination


@cache
def _fitting(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split(EVERY_FIELD))), re.DOTALL)


class SyncSettings(Copying, Choice):
    """A sync: pushes every chosen secret to these stores, in addition to its own destinations."""

    stores: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The stores' names in this catalogue."""
    name: NameTemplate = "{path}"
    """The name of each copy, from {path} (within the mount), {folder} (all but the last part), {name} (the last part),
    {mount} (default for the default mount) and, with each_field, {field}."""
    separator: Line | None = None
    """The replacement for each / in the name, for stores that allow none."""

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
        mount, within = split(path, mounts)
        folder, _, last = within.rpartition("/")
        made = self.name.format(path=within, folder=folder, name=last, mount=mount or DEFAULT, field=field)
        return made if self.separator is None else made.replace("/", self.separator)

    def destinations(
        self, path: str, about: About | None, mounts: Collection[str] | None = None
    ) -> tuple[DeclaredPlace, ...]:
        """The places of the secret at ``path``; empty if it is not chosen. ``about`` is None if undeclared."""
        if not self.covers(path, about, mounts):
            return ()
        if self.by_pattern:
            name = self.remote(path, mounts, EACH)
            return tuple(FieldPattern(place.renamed(name)) for place in self._places)
        # The settings are validated already; the store's limits decide about names.
        if self.each_field:
            names = {new: self.remote(path, mounts, new) for new, _ in self.each}
            return tuple(destination for place in self._places for destination in place.spread(names))
        name = self.remote(path, mounts)
        # All copies share one shape, which is computed once.
        return tuple(place.renamed(name) for place in self._places)

    @cached_property
    def _places(self) -> tuple[Destination, ...]:
        settings = {key: getattr(self, key) for key in Copying.model_fields}
        return tuple(
            Destination(store=store, name=EACH if self.each_field else "-", **settings) for store in self.stores
        )
