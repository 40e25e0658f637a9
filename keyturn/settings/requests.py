"""HTTP requests as people describe them in the catalogue, with ``{{name}}`` where a value is put in."""

import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.core import templates
from keyturn.core.rest import POINTER, Listing, Request
from keyturn.core.suggest import advice
from keyturn.settings.fields import Line, Model, matching, refused

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_LEGAL_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_HOPS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that belong to the connection, not to the request."""

CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token"}
)
"""Headers whose value is a credential, which never stands in the catalogue."""


def _template(text: str) -> str:
    if templates.is_sound(text):
        return text
    raise refused("holds braces without a name", "Write {{name}}: letters, digits, _ and -, and admin. before a field.")


def _path(path: str) -> str:
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


class RequestSettings(Model):
    """One request to the API; every text may hold {{name}}."""

    method: Method | None = None
    """GET, POST, PUT, PATCH or DELETE; without it, what is usual for this request."""
    path: PathTemplate
    """What follows the target's address, query included. Values are put in URL-quoted."""
    headers: Headers = Field(default_factory=dict)
    """Headers of this request, beside those of the target."""
    basic: Annotated[Template, AfterValidator(_hidden_login)] | None = None
    """What to log in with by HTTP Basic, as user:password."""
    body: Body | None = None
    """The JSON body, as a mapping or a list. Values are put into its texts."""
    form: dict[str, Template] | None = None
    """The fields of a form, instead of a JSON body."""
    expect: tuple[Status, ...] = ()
    """The statuses that mean success; without them, 200 to 299."""

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.form is not None:
            raise refused("body stands beside form", "Remove one of the two.", "form")
        return self

    def request(self, method: str) -> Request:
        """The same in the core's words; ``method`` is the usual one."""
        return Request(
            self.method or method, self.path, self.headers, self.basic, self.body, self.form, frozenset(self.expect)
        )

    def places(self) -> Iterator[tuple[str, str]]:
        """Every text that may hold names, and what it is called in a message."""
        yield "its path", self.path
        yield from ((f"its header {name}", text) for name, text in self.headers.items())
        yield from (("its basic", text) for text in (self.basic,) if text)
        yield from (("its body", text) for text in templates.texts(self.body))
        yield from ((f"its field {name}", text) for name, text in (self.form or {}).items())

    @property
    def names(self) -> set[str]:
        """Every name that the request asks for."""
        return {name for _, text in self.places() for name in templates.names(text)}


class ListSettings(RequestSettings):
    """A request whose answer lists what there is."""

    items: Pointer = ""
    """Where the answer holds the list, as a JSON pointer; by default the answer is the list."""
    next: Pointer | None = None
    """Where the answer holds what leads to the next page: a link, or a token for `more`. Link headers need no word."""
    more: PathTemplate | None = None
    """The path of the next page, with {{next}} for its token."""
    last_used: Pointer | None = None
    """Where an entry of the list tells when it was used last: RFC 3339, or seconds or milliseconds since 1970."""

    @model_validator(mode="after")
    def _token_has_its_place(self) -> Self:
        if self.more is not None and (self.next is None or "next" not in templates.names(self.more)):
            remedy = "Give next: its pointer, and write {{next}} into this path."
            raise refused("more is the path for a token that next points to", remedy, "more")
        return self

    @property
    def listing(self) -> Listing:
        """The same in the core's words."""
        return Listing(self.request("GET"), self.items, self.next, self.more)

    def places(self) -> Iterator[tuple[str, str]]:
        """The path of further pages counts too, without its token."""
        yield from super().places()
        for path in (self.more,) if self.more else ():
            yield "more", templates.fill(path, lambda name: "" if name == "next" else f"{{{{{name}}}}}")


class LastUsedSettings(RequestSettings):
    """A request whose answer tells when a key was used last."""

    at: Pointer
    """Where the answer holds the time: RFC 3339, or seconds or milliseconds since 1970."""


def check_names(request: RequestSettings | None, key: str, names: Collection[str], *prefixes: str) -> None:
    """Refuse a request that asks for a name which is neither among ``names`` nor has one of the ``prefixes``."""
    for place, text in request.places() if request else ():
        for name in templates.names(text):
            if name not in names and not name.startswith(prefixes):
                choice = [*names, *(f"{prefix}FIELD" for prefix in prefixes)]
                raise refused(
                    f"{place} asks for {{{{{name}}}}}, which is not known there", advice(name, choice, ""), key
                )
