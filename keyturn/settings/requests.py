"""HTTP requests as people describe them in the catalogue, with ``{{name}}`` for a value."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from keyturn.core.ports.rest import POINTER, AnswerPattern, Condition, Listing, Request, Scalar
from keyturn.core.text import statements, templates
from keyturn.core.text.suggest import advice
from keyturn.settings.choices import Either
from keyturn.settings.fields import Line, Model, matching, refused

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_LEGAL_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_HOPS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that belong to the connection, not to the request."""

CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token"}
)
"""Headers whose value is a credential, which the catalogue must not hold."""


def _template(text: str) -> str:
    if templates.is_sound(text):
        return text
    raise refused("holds braces without a name", "Write {{name}}: letters, digits, _ and -, and admin. before a field.")


def _path(path: str) -> str:
    if any(name.startswith("admin.") for name in templates.names(path)):
        problem = "a field of the admin's in a path is in the logs of every server on the way"
        raise refused(problem, "Put it into a header or the body; write what is not secret under constants.")
    plain = templates.fill(_template(path), lambda _: "x")
    if not _LEGAL_PATH.fullmatch(plain):
        raise refused("is not a path that can be asked for", "Begin with /, and write no space, # or brackets.")
    segments = plain.partition("?")[0].split("/")[1:]
    if {".", ".."} & set(segments) or "" in segments[:-1]:
        raise refused("a path has no empty part, and none that is . or ..", "Write the path out.")
    return path


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise refused("is not the name of a header", "Use letters, digits and hyphens.")
    if name.lower() in _HOPS:
        raise refused(f"the header {name.lower()} belongs to the connection", "Leave it out.")
    return name


def _body(data: Any) -> Any:
    if not isinstance(data, dict | list):
        raise refused("a JSON body is a mapping or a list", "Write indented `key: value` lines below it, or use form.")
    for text in templates.texts(data):
        _template(text)
    return data


def _no_credential(headers: dict[str, str]) -> dict[str, str]:
    for name, text in headers.items():
        if name.lower() in CREDENTIAL_HEADERS and not templates.names(text):
            remedy = "Write the value into the hub, and {{admin.FIELD}} here."
            raise refused(f"the header {name} is written out, and may hold a credential", remedy)
    return headers


def _hidden_login(text: str) -> str:
    user, colon, password = text.partition(":")
    if not colon or not templates.names(password or user):
        raise refused(
            "must be user:password, with a name for what is secret", "Write {{admin.username}}:{{admin.password}}."
        )
    return text


Template = Annotated[Line, AfterValidator(_template)]
PathTemplate = Annotated[str, AfterValidator(_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
HeaderName = Annotated[str, AfterValidator(_header), WithJsonSchema({"type": "string", "minLength": 1})]
Headers = Annotated[dict[HeaderName, Template], AfterValidator(_no_credential)]
Body = Annotated[Any, AfterValidator(_body), WithJsonSchema({"type": ["object", "array"]})]
Status = Annotated[int, Field(ge=200, le=599)]
Pointer = Annotated[
    str,
    matching(
        POINTER, "is not a JSON pointer", "Begin with / and write / between its parts: /data/id. Empty is the whole."
    ),
    WithJsonSchema({"type": "string", "pattern": POINTER}),
]
"""RFC 6901."""
ShortName = Annotated[
    str,
    matching(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", "is not a legal name", "Use letters, digits, _ and -."),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"}),
]


# --- conditions on an answer -------------------------------------------------------------------------------

REFUSING: Final = frozenset({*range(200, 300), *range(400, 500)} - {407, 408, 429})
"""The statuses that may refuse a key: others are from redirects, proxies, and busy or broken servers."""


def _values(value: Any) -> tuple[Scalar, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if values and all(isinstance(scalar, str | int | float | bool) for scalar in values):
        return values
    raise refused("is no value to compare with", "Write a text, a number, true or false, or a list of these.")


def _true(value: Any) -> bool:
    if value is True:
        return value
    raise refused("is not true", "Write true, or remove the key.")


class AnswerConditionSettings(Model):
    """What the JSON of an answer holds at one place."""

    pointer: Pointer
    """Where, as a JSON pointer."""
    equals: Annotated[tuple[Scalar, ...], Either(_values, (Scalar, tuple[Scalar, ...]))] | None = None
    """The value there, or a list of which it is one."""
    exists: Annotated[Literal[True] | None, BeforeValidator(_true)] = None
    """Anything is there but null."""
    absent: Annotated[Literal[True] | None, BeforeValidator(_true)] = None
    """Nothing is there, or null."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.equals, self.exists, self.absent).count(None) != 2:
            raise refused(
                "must say in one way what is there", "Write equals:, exists: true or absent: true.", "pointer"
            )
        return self

    @property
    def condition(self) -> Condition:
        return Condition(self.pointer, self.equals or (), absent=bool(self.absent))


class AnswerSettings(Model):
    """A kind of answer: one of the statuses, and every condition."""

    status: Annotated[tuple[Status, ...], Field(min_length=1)] | None = None
    """Its statuses; without them, 200 to 299 and 400 to 499."""
    when: Annotated[tuple[AnswerConditionSettings, ...], Field(min_length=1)] | None = None
    """What its JSON holds; each of these conditions."""

    @model_validator(mode="after")
    def _tells_something(self) -> Self:
        if other := sorted(set(self.status or ()) - REFUSING):
            raise refused(
                f"{other[0]} says nothing about a key", "Name statuses of 200 to 299 or 400 to 499.", "status"
            )
        if self.when is None and (self.status is None or min(self.status) < 300):
            remedy = "Add when: and what the answer holds, such as {pointer: /ok, equals: false}."
            raise refused("a success without a condition proves nothing", remedy, "status" if self.status else "when")
        return self

    @property
    def pattern(self) -> AnswerPattern:
        statuses = frozenset(self.status) if self.status else REFUSING
        return AnswerPattern(statuses, tuple(settings.condition for settings in self.when or ()))


_STATUS: Final = TypeAdapter[int](Status)


def _expected(value: Any) -> int | AnswerConditionSettings:
    if isinstance(value, dict | AnswerConditionSettings):
        return AnswerConditionSettings.model_validate(value)
    return _STATUS.validate_python(value)


def _several(value: Any) -> tuple[AnswerSettings, ...]:
    if isinstance(value, list | tuple):
        return _ANSWERS.validate_python(value)
    return (AnswerSettings.model_validate(value),)


_ANSWERS: Final = TypeAdapter(Annotated[tuple[AnswerSettings, ...], Field(min_length=1)])
Expected = Annotated[int | AnswerConditionSettings, Either(_expected, (Status, AnswerConditionSettings))]
Answers = Annotated[tuple[AnswerSettings, ...], Either(_several, (AnswerSettings, tuple[AnswerSettings, ...]))]
"""Kinds of answer, any of which counts."""


class MessageSettings(Model):
    """What a request sends, apart from its address; every text may hold {{name}}."""

    method: Method | None = None
    """GET, POST, PUT, PATCH or DELETE; without it, what is usual for this request."""
    headers: Headers = Field(default_factory=dict)
    """Headers of this request, in addition to those of the target."""
    basic: Annotated[Template, AfterValidator(_hidden_login)] | None = None
    """What to log in with by HTTP Basic, as user:password."""
    body: Body | None = None
    """The JSON body, as a mapping or a list. Values are put into its texts."""
    form: dict[str, Template] | None = None
    """The fields of a form, instead of a JSON body."""
    text: Template | None = None
    """A body as it is, such as "{{value}}", instead of a JSON body. Give its content-type under headers."""
    expect: tuple[Expected, ...] = ()
    """What means success: one of these statuses (without any, 200 to 299), and each of these conditions."""

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if (self.body, self.form, self.text).count(None) < 2:
            key = "form" if self.form is not None else "text"
            raise refused("body, form and text exclude each other", "Keep one of them.", key)
        return self

    @model_validator(mode="after")
    def _no_foreign_text_in_sql(self) -> Self:
        for place, name, quoted in self.statement_places():
            if name.startswith(("admin.", "current.")):
                problem = f"{place} puts {{{{{name}}}}} into an SQL statement, which such a value may change"
                raise refused(problem, "Use a constant, {{path}} or {{unique}}.", "body" if self.body else "form")
            if name == "path" and not quoted:
                problem, remedy = f"{place} has {{{{path}}}} in an SQL statement without quotes", "Write '{{path}}'."
                raise refused(problem, remedy, "body" if self.body else "form")
        return self

    def statement_places(self) -> Iterator[tuple[str, str, bool]]:
        """Yield every name in an SQL statement, with its place in messages and whether it is in quotes."""
        for place, text in self.places():
            if statements.is_statement(text):
                yield from ((place, name, quoted) for name, quoted in statements.placeholders(text))

    def message(self, method: str, path: str) -> Request:
        return Request(
            self.method or method,
            path,
            self.headers,
            self.basic,
            self.body,
            self.form,
            self.statuses,
            tuple(item.condition for item in self.expect if isinstance(item, AnswerConditionSettings)),
            self.text,
        )

    @property
    def statuses(self) -> frozenset[int]:
        return frozenset(item for item in self.expect if isinstance(item, int))

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield every text that may hold names, with its name in messages."""
        yield from ((f"its header {name}", text) for name, text in self.headers.items())
        yield from (("its basic", text) for text in (self.basic,) if text)
        yield from (("its body", text) for text in templates.texts(self.body))
        yield from ((f"its field {name}", text) for name, text in (self.form or {}).items())
        yield from (("its text", text) for text in (self.text,) if text)

    @property
    def names(self) -> set[str]:
        return {name for _, text in self.places() for name in templates.names(text)}


class RequestSettings(MessageSettings):
    """One request to the API; every text may hold {{name}}."""

    path: PathTemplate
    """What follows the target's address, query included. Values are put in URL-quoted."""

    def request(self, method: str) -> Request:
        return self.message(method, self.path)

    def places(self) -> Iterator[tuple[str, str]]:
        yield "its path", self.path
        yield from super().places()


COUNTERS: Final = frozenset({"page", "offset"})
"""The names for numbered pages: the page's number, and the number of entries before it."""


class ListSettings(RequestSettings):
    """A request whose answer lists what there is."""

    items: Pointer = ""
    """Where the answer holds the list, as a JSON pointer; by default the answer is the list."""
    next: Pointer | None = None
    """Where the answer holds the link to the next page, or a token for `more`. Link headers need no setting."""
    more: PathTemplate | None = None
    """The path of the next page, with {{next}} for its token; or with {{page}} for its number, or {{offset}} for the
    number of entries before it."""
    page_size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """With {{page}} or {{offset}}: a page with fewer entries is the last. Without it, only an empty page is."""
    first_page: Annotated[int, Field(ge=0, le=1)] = 1
    """With {{page}}: the number of the first page, which `path` answers."""
    last_used: Pointer | None = None
    """Where an entry of the list holds the time of its last use: RFC 3339, or seconds or milliseconds since 1970."""
    in_force: tuple[AnswerConditionSettings, ...] = ()
    """What an entry holds whose key is in force, where the list keeps ended ones; others are passed over."""

    @model_validator(mode="after")
    def _leads_to_other_pages(self) -> Self:
        names = set(templates.names(self.more or ""))
        if self.more is not None and not names & ({"next"} if self.next is not None else COUNTERS):
            remedy = "Write {{page}} or {{offset}} into this path; or {{next}}, and next: the pointer to its token."
            raise refused("more is the same path for every page", remedy, "more")
        if self.page_size and (self.next is not None or not names & COUNTERS):
            raise refused("pages are not numbered", "Write {{page}} or {{offset}} into `more`.", "page_size")
        return self

    @property
    def listing(self) -> Listing:
        in_force = tuple(settings.condition for settings in self.in_force)
        return Listing(self.request("GET"), self.items, self.next, self.more, in_force, self.page_size, self.first_page)

    def places(self) -> Iterator[tuple[str, str]]:
        """The path of further pages counts too, without its token or number."""
        yield from super().places()
        own = {"next"} if self.next is not None else COUNTERS
        for path in (self.more,) if self.more else ():
            yield "more", templates.fill(path, lambda name: "" if name in own else f"{{{{{name}}}}}")


class DeleteSettings(RequestSettings):
    """A request that deletes a key."""

    gone: Answers = ()
    """Kinds of answer that mean that the key is not there; without them, 404 and 410."""


def _deletes(value: Any) -> tuple[DeleteSettings, ...]:
    if not isinstance(value, list | tuple):
        return (DeleteSettings.model_validate(value),)
    if not value:
        raise refused("is empty", "Write at least one.")
    return _DELETES.validate_python(value)


_DELETES: Final = TypeAdapter(tuple[DeleteSettings, ...])
Deletes = Annotated[tuple[DeleteSettings, ...], Either(_deletes, (DeleteSettings, tuple[DeleteSettings, ...]))]
"""The requests that delete a key, sent in order."""


class LastUsedSettings(RequestSettings):
    """A request whose answer holds the time of a key's last use."""

    at: Pointer
    """Where the answer holds the time: RFC 3339, or seconds or milliseconds since 1970."""


def check_names(
    request: RequestSettings | Sequence[RequestSettings] | None, key: str, names: Collection[str], *prefixes: str
) -> None:
    """Refuse a request with a name that is neither among ``names`` nor begins with one of the ``prefixes``."""
    several = request if isinstance(request, Sequence) else [request] if request else []
    for place, text in (pair for described in several for pair in described.places()):
        for name in templates.names(text):
            if name not in names and not name.startswith(prefixes):
                choice = [*names, *(f"{prefix}FIELD" for prefix in prefixes)]
                raise refused(
                    f"{place} asks for {{{{{name}}}}}, which is not known there", advice(name, choice, ""), key
                )
