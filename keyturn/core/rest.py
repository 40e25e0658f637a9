"""The port of a REST API whose requests the catalogue describes, and reading what it answers."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, Protocol

from keyturn.core import templates
from keyturn.core.sensitive import MASK, SecretFields, Sensitive

POINTER: Final = r"^(/([^~/]|~0|~1)*)*$"
"""A JSON pointer (RFC 6901): empty for the whole, else a slash before each part; ~1 stands for /, ~0 for ~."""

_NOTHING: Final = object()


@dataclass(frozen=True)
class Request:
    """One request as the catalogue describes it. Every text may hold ``{{name}}``.

    ``path`` follows the API's address, and may hold a query. ``basic`` is ``user:password`` for HTTP Basic.
    ``body`` is a JSON structure, ``form`` the fields of a form. With an empty ``expect`` every status from
    200 to 299 is success.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    basic: str | None = None
    body: Any = None
    form: Mapping[str, str] | None = None
    expect: frozenset[int] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Every name that its texts hold."""
        plain = (self.path, *self.headers.values(), self.basic or "", *(self.form or {}).values())
        return frozenset(name for text in (*plain, *templates.texts(self.body)) for name in templates.names(text))


@dataclass(frozen=True)
class Listing:
    """A request whose answer lists things: ``items`` points to the list.

    ``next`` points to what leads to the next page: a link, or a token that ``more``, a path, takes as ``{{next}}``.
    A Link header with rel="next" (RFC 8288) is followed without being named.
    """

    request: Request
    items: str = ""
    next: str | None = None
    more: str | None = None


class Answer:
    """What the API said, or a part of it: it may hold values, so nothing prints or pickles it."""

    __slots__ = ("__said", "link", "status")

    def __init__(self, status: int, body: Any = _NOTHING, link: str | None = None) -> None:
        self.status = status
        self.link = link
        self.__said = body

    def text(self, pointer: str = "") -> Sensitive | None:
        """The text or whole number at ``pointer``; None where there is neither, or an empty text."""
        value = _at(self.__said, pointer)
        if isinstance(value, str):
            return Sensitive(value) if value else None
        return Sensitive(str(value)) if isinstance(value, int) and not isinstance(value, bool) else None

    def is_null(self, pointer: str) -> bool:
        """Whether ``pointer`` leads to null, or nowhere."""
        return _at(self.__said, pointer) in (None, _NOTHING)

    def entries(self, pointer: str = "") -> tuple["Answer", ...] | None:
        """The members of the list at ``pointer``; None where there is no list."""
        value = _at(self.__said, pointer)
        return tuple(Answer(self.status, member) for member in value) if isinstance(value, list) else None

    def __repr__(self) -> str:
        return f"Answer({self.status}, '{MASK}')"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Answer can't be pickled or copied: it may hold secret values")


class RestApi(Protocol):
    """An API at one address, with an admin's credential."""

    name: str

    def call(
        self,
        request: Request,
        fields: SecretFields,
        doing: str,
        *,
        as_admin: bool = True,
        also: Collection[int] = (),
    ) -> Answer:
        """Send ``request`` once, its names filled from ``fields``; ``doing`` stands in errors.

        As admin the API's own headers go along, and ``{{admin.x}}`` is known. An answer of a status that is
        neither expected nor in ``also`` raises: Denied, NotFound, Invalid, Unavailable or Throttled.
        """

    def listed(self, listing: Listing, fields: SecretFields, doing: str) -> Sequence[Answer]:
        """Every entry of the list, of all its pages, asked for as admin. Raises like :meth:`call`."""


def read_json(raw: bytes, status: int, link: str | None = None) -> Answer:
    """The answer that ``raw`` holds; text that is not JSON counts as nothing."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = _NOTHING
    return Answer(status, body, link)


def parse_moment(text: str) -> datetime | None:
    """The time that an API tells: RFC 3339, or seconds or milliseconds since 1970; None where it is neither.

    Without a zone it is UTC; a day without a time means its end.
    """
    if re.fullmatch(r"[0-9]{1,13}", text):
        seconds = int(text) / (1000 if len(text) > 11 else 1)
        return datetime.fromtimestamp(seconds, UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if re.fullmatch(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", text):
        at += timedelta(days=1) - timedelta(microseconds=1)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = _member(value, part.replace("~1", "/").replace("~0", "~"))
    return value


def _member(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _NOTHING)
    if isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", part):
        return value[int(part)] if int(part) < len(value) else _NOTHING
    return _NOTHING
