"""How a store of copies is asked over HTTP: its requests, and where its answers hold names, values and marks."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.ports.rest import Condition, Listing, Scalar
from keyturn.core.store_limits import Limits
from keyturn.core.text import templates
from keyturn.settings.api_address import ApiAddress
from keyturn.settings.fields import HubPath, Line, Model, refused
from keyturn.settings.patterns import QuickPattern
from keyturn.settings.requests import (
    Answers,
    DeleteSettings,
    ListSettings,
    Pointer,
    RequestSettings,
    ShortName,
    Template,
    check_names,
)

BASE64: Final = ".base64"
"""Follows a name whose value is wanted in base64."""
JSON: Final = ".json"
"""Follows a name whose value is wanted as a part of a text in JSON, without quotes around it."""
KEY: Final = "key"
MARKS_KEY: Final = "marks_key"
ENTRY_NAMES: Final = frozenset({"name", KEY, MARKS_KEY, "value", "marks", "id", "version", "marks_id", "marks_version"})
"""What a request may name of the copy that it is about."""
LOGINS: Final = "stores/"
"""Where the logins of stores are in the hub's state mount."""
HIDDEN: Final = frozenset({"value", f"value{BASE64}", f"value{JSON}"})
"""What no path may hold."""


def plain_name(name: str) -> str:
    """The name without the form in which its value is wanted."""
    return name.removesuffix(BASE64).removesuffix(JSON)


class NameSettings(Model):
    """The names that the service allows."""

    pattern: QuickPattern
    """What the whole of a name must match: a regular expression without groups."""
    rule: Line
    """The same in words, such as "letters, digits and _"."""
    folds_case: bool = False
    """Whether names that differ in case alone are one name."""


class EntrySettings(Model):
    """Where an entry in the service's answers holds what belongs to a copy."""

    name: Pointer
    """Its key: see `key`."""
    value: Pointer | None = None
    """Its value, where the service shows it."""
    encoding: Literal["text", "base64"] = "text"
    """How the answers hold key, value and marks."""
    encoded_names: bool = False
    """Whether that encoding is also the key's."""
    id: Pointer | None = None
    """The service's own id of the entry, where requests need one."""
    version: tuple[Pointer, ...] = ()
    """What changes with each write: a revision, an ETag, a time. Several are taken together."""


class StoreListSettings(ListSettings):
    """The request that lists the store's entries."""

    members: bool = False
    """Whether the list is a mapping: each of its members is an entry {key: ..., value: ...}."""
    total: Pointer | None = None
    """Where an answer holds the number of all entries: a list with another number is refused."""
    none: Answers = ()
    """Kinds of answer that mean that there are no entries."""
    shows_values: bool = True
    """Whether its entries hold values and marks. Otherwise each entry is read by itself."""

    def filled_listing(self, constants: Mapping[str, str]) -> Listing:
        """The listing, with conditions of entries filled from ``constants``."""

        def filled(value: Scalar) -> Scalar:
            return templates.fill(value, lambda name: constants.get(name, "")) if isinstance(value, str) else value

        conditions = tuple(
            Condition(each.pointer, tuple(map(filled, each.equals or ())), absent=bool(each.absent))
            for each in self.in_force
        )
        page = self.listing
        return Listing(
            page.request,
            page.items,
            page.next,
            page.more,
            conditions,
            page.page_size,
            page.first_page,
            members=self.members,
            total=self.total,
            none=tuple(answer.pattern for answer in self.none),
        )


class EntryReadSettings(RequestSettings):
    """The request that reads one entry."""

    entry: Pointer = ""
    """Where the answer holds the entry."""
    absent: Answers = ()
    """Kinds of answer that mean that there is no such entry; without them, 404 and 410."""


class WriteSettings(RequestSettings):
    """A request that writes an entry."""

    conflict: Answers = ()
    """Kinds of answer that mean that another writer came first; without them, 409 and 412."""
    numbers: tuple[ShortName, ...] = ()
    """Names whose values the body holds as numbers, such as version."""


class StoreDeleteSettings(DeleteSettings):
    """The request that deletes an entry."""

    conflict: Answers = ()
    """Kinds of answer that mean that another writer came first; without them, 409 and 412."""
    numbers: tuple[ShortName, ...] = ()
    """Names whose values the body holds as numbers, such as version."""


class MarksSettings(Model):
    """Where the service keeps Keyturn's marks."""

    kept: Literal["tags", "description", "companion", "name"]
    """In the entry itself (tags, description), in a second entry next to it, or in the name of such an entry."""
    at: Pointer
    """Where an entry holds the text with the marks: this one, or the second one."""
    key: Template | None = None
    """The second entry's key, with {{name}}; with `kept: name`, also {{marks}}."""
    most_bytes: Annotated[int, Field(ge=64)]
    """How long that text may be."""
    sealed_by: Literal["value", "version", "nothing"] = "value"
    """What shows that another writer changed the value: its digest next to the marks, the entry's version, or nothing
    that the service shows."""
    create: WriteSettings | None = None
    """The request that makes the second entry, if it is not like `create`."""
    update: WriteSettings | None = None
    """The request that replaces the second entry, if it is not like `update`."""

    @model_validator(mode="after")
    def _second_entry_has_a_key(self) -> Self:
        if self.apart and (self.key is None or "name" not in templates.names(self.key)):
            raise refused("a second entry needs a key that holds {{name}}", "Write key: KEYTURN_MARKS_{{name}}.", "key")
        if not self.apart and (self.key or self.create or self.update):
            raise refused("only a second entry has a key and requests", "Remove it, or say kept: companion.", "key")
        if self.kept == "name" and "marks" not in templates.names(self.key or ""):
            raise refused("marks in a name need {{marks}} there", "Write key: KEYTURN_{{name}}_{{marks}}.", "key")
        return self

    @property
    def apart(self) -> bool:
        return self.kept in ("companion", "name")


class StoreRequests(ApiAddress):
    """Everything that a recipe of a store says."""

    recipe: Line | None = None
    """The recipe that describes the service."""
    token_file: Line | None = None
    """A file with the login: its text is {{admin.token}}, or it is a JSON object with the fields."""
    admin: HubPath | None = None
    """The path in the hub's state mount with the login's fields, instead of token_file, such as stores/shop."""
    constants: dict[ShortName, Line] = Field(default_factory=dict)
    """Texts for the requests, by name, such as a project's id."""
    texts: dict[ShortName, Template] = Field(default_factory=dict)
    """Further texts for the requests, made of constants and {{name}}."""
    names: NameSettings
    """The names that the service allows."""
    max_bytes: Annotated[int, Field(ge=1, le=1_000_000)]
    """The largest value that the service allows."""
    key: Template = "{{name}}"
    """The service's own name for a copy, such as {{folder}}/{{name}}."""
    write_only: bool = False
    """Whether the service never returns a value."""
    history: Line | None = None
    """What the service keeps of earlier values, and for how long; empty if nothing."""
    entry: EntrySettings
    """Where an entry in its answers holds what belongs to a copy."""
    list: StoreListSettings
    """The request that lists the entries (GET)."""
    read: EntryReadSettings | None = None
    """The request that reads one entry (GET); without it, the list is searched."""
    create: WriteSettings
    """The request that makes an entry (POST)."""
    update: WriteSettings | None = None
    """The request that replaces an entry (PUT); without it, `create` does."""
    delete: StoreDeleteSettings
    """The request that deletes an entry (DELETE)."""
    marks: MarksSettings
    """Where the marks are kept."""

    @model_validator(mode="after")
    def _has_one_login(self) -> Self:
        if (self.token_file is None) == (self.admin is None):
            raise refused("needs one login", "Give token_file: a file, or admin: a path in the hub.", "token_file")
        if self.admin is not None and not self.admin.startswith(LOGINS):
            raise refused(f"is not below {LOGINS}", "So no store sends the credential of a target: move it.", "admin")
        return self

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.write_only and self.entry.value is None:
            raise refused("a store that returns values needs a pointer to them", "Add value.", "entry")
        if self.write_only and self.marks.sealed_by == "value":
            remedy = "Say sealed_by: version; or nothing, if the service shows none."
            raise refused("without values, only a version shows a change", remedy, "marks")
        if self.marks.sealed_by == "nothing" and not (self.write_only and not self.entry.version):
            raise refused("a value or version shows a change", "Say sealed_by: value, or version.", "marks")
        if self.marks.sealed_by == "version" and not self.entry.version:
            raise refused("no pointer leads to an entry's version", "Add version.", "entry")
        if self.marks.sealed_by == "version" and not self.marks.apart:
            raise refused("a version is known after the write", "Keep the marks in a second entry.", "marks")
        if self.marks.sealed_by == "version" and "marks" in self.create.names:
            raise refused("a version is known after the write", "Write the marks in a request of their own.", "marks")
        if not self.list.shows_values and self.read is None:
            raise refused("a list without values needs a request that reads one entry", "Add read.", "list")
        if "name" not in templates.names(self.key):
            raise refused("the key does not hold {{name}}", "Write key: FOLDER/{{name}}.", "key")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = {*self.constants, *self.texts, *ENTRY_NAMES}
        named |= {f"{name}{form}" for name in named for form in (BASE64, JSON)}
        fixed = {*self.constants, *self.texts} - {KEY}
        check_names(self.list, "list", {*fixed, *(f"{name}{BASE64}" for name in fixed)}, "admin.")
        for key, request in self.requests():
            check_names(request, key, named, "admin.")
            if HIDDEN & set(templates.names(request.path)):
                raise refused(
                    "a value in a path is in the logs of every server on the way", "Send it in the body.", key
                )
        for text in (*self.texts.values(), self.key, self.marks.key or ""):
            for name in templates.names(text):
                if name not in self.constants and name not in ("name", "marks"):
                    raise refused(f"{{{{{name}}}}} is no constant", "Declare it under constants.", "texts")
        return self

    def requests(self) -> Iterator[tuple[str, RequestSettings]]:
        """Each request about one entry, by its key."""
        every = {
            "read": self.read,
            "create": self.create,
            "update": self.update,
            "delete": self.delete,
            "marks": self.marks.create,
            "marks.update": self.marks.update,
        }
        yield from ((key, request) for key, request in every.items() if request is not None)

    @property
    def admin_fields(self) -> frozenset[str]:
        sent = {name for _, request in (("list", self.list), *self.requests()) for name in request.names}
        return super().admin_fields | {name.removeprefix("admin.") for name in sent if name.startswith("admin.")}

    @property
    def refuses_overtaken(self) -> bool:
        """Whether the service refuses a write that another one has overtaken."""
        request = self.update or self.create
        return "version" in map(plain_name, request.names)

    @property
    def name_limits(self) -> Limits:
        """What the service allows, in the words of its recipe."""
        return Limits(
            self.recipe or "http-store",
            re.compile(self.names.pattern),
            self.names.rule,
            self.max_bytes,
            self.names.folds_case,
        )

    @property
    def listed_place(self) -> str:
        """Which entries the list shows: two stores with the same one are the same system."""

        def filled(data: Any) -> Any:
            return templates.fill_all(data, lambda name: self.constants.get(name, f"{{{{{name}}}}}"))

        where = [[each.pointer, filled(list(each.equals or ()))] for each in self.list.in_force]
        return repr([filled(self.list.path), filled(self.list.body), filled(self.key), where])
