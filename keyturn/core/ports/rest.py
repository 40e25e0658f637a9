"""The port of a REST API whose requests the catalogue describes, and answer parsing."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, Protocol

from keyturn.core.sensitive import MASK, SecretFields, Sensitive
from keyturn.core.text import templates

POINTER: Final = r"^(/([^~/]|~0|~1)*)*$"
"""A JSON pointer (RFC 6901): empty for the whole, else a slash before each part; ~1 is /, ~0 is ~.

In a list, the part ``id=password`` is the first member whose ``id`` is ``password``.
"""

SUCCESS: Final = frozenset(range(200, 300))
"""Default success statuses."""

ERROR_MEMBERS: Final = ("errors", "error")
"""Members that report an error whatever the status (GraphQL, JSON:API), unless empty."""
SUCCESS_MEMBERS: Final = ("ok", "success")
"""Members that are false if a request failed whatever the status (Slack, Cloudflare)."""

Scalar = str | int | float | bool

_NOTHING: Final = object()


@dataclass(frozen=True)
class Condition:
    """The JSON value required at ``pointer``: one of ``values``, or anything but null without any.

    ``absent`` requires nothing or null.
    """

    pointer: str
    values: tuple[Scalar, ...] = ()
    absent: bool = False


@dataclass(frozen=True)
class AnswerPattern:
    """Matches an answer by status and JSON conditions, but never a web page."""

    statuses: frozenset[int]
    conditions: tuple[Condition, ...] = ()

    def matches(self, answer: "Answer") -> bool:
        """Whether the answer matches."""
        readable = answer.is_json if self.conditions else not answer.is_page
        return readable and answer.status in self.statuses and all(map(answer.meets, self.conditions))


@dataclass(frozen=True)
class Request:
    """One request of the catalogue. Every text may contain ``{{name}}``.

    ``path`` follows the API's address and may have a query. ``basic`` is ``user:password``. ``body`` is JSON, ``form``
    a form's fields, ``text`` a body as it is. An empty ``expect`` accepts 200 to 299. ``conditions`` are further
    requirements on a success.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    basic: str | None = None
    body: Any = None
    form: Mapping[str, str] | None = None
    expect: frozenset[int] = frozenset()
    conditions: tuple[Condition, ...] = ()
    text: str | None = None

    @property
    def statuses(self) -> frozenset[int]:
        """The statuses that mean success."""
        return self.expect or SUCCESS

    @property
    def names(self) -> frozenset[str]:
        """Every name in its texts."""
        plain = (self.path, *self.headers.values(), self.basic or "", self.text or "", *(self.form or {}).values())
        return frozenset(name for text in (*plain, *templates.texts(self.body)) for name in templates.names(text))


@dataclass(frozen=True)
class Listing:
    """A request for a list, at ``items`` in the answer.

    ``next`` points to the next page: a link, or a token for ``{{next}}`` in the path ``more``. A Link header with
    rel="next" (RFC 8288) is always followed. ``in_force`` are a live entry's conditions, since some lists keep ended
    ones. Without ``next``, ``more`` has ``{{page}}``, counted from ``first_page``, or ``{{offset}}``; the last page is
    empty, or has fewer entries than ``page_size``. ``members``: the list is a mapping, and each member an entry with
    ``key`` and ``value``. ``total`` points to the number of all entries. ``none`` are the answers for an empty list.
    """

    request: Request
    items: str = ""
    next: str | None = None
    more: str | None = None
    in_force: tuple[Condition, ...] = ()
    page_size: int | None = None
    first_page: int = 1
    members: bool = False
    total: str | None = None
    none: tuple[AnswerPattern, ...] = ()


class Answer:
    """An API answer or a part of it. It may hold values, so it can't be printed or pickled."""

    __slots__ = ("__said", "is_page", "link", "status")

    def __init__(self, status: int, body: Any = _NOTHING, link: str | None = None, *, is_page: bool = False) -> None:
        self.status = status
        self.link = link
        self.is_page = is_page
        self.__said = body

    @property
    def is_json(self) -> bool:
        """Whether it is a JSON object or list."""
        return isinstance(self.__said, dict | list)

    def meets(self, condition: Condition) -> bool:
        """Whether it meets the condition. 1 and true differ; 1 and 1.0 do not."""
        value = _at(self.__said, condition.pointer)
        if condition.absent or not condition.values:
            return (value is None or value is _NOTHING) == condition.absent
        return any(_same(value, wanted) for wanted in condition.values)

    def reported_errors(self) -> Iterator[str]:
        """Yield pointers to the top-level members that report an error."""
        for name in ERROR_MEMBERS:
            if _member(self.__said, name) not in (None, _NOTHING, False, "", [], {}):
                yield f"/{name}"
        yield from (f"/{name}" for name in SUCCESS_MEMBERS if _member(self.__said, name) is False)

    def text(self, pointer: str = "") -> Sensitive | None:
        """The text or whole number at ``pointer``; None for other types or an empty text."""
        value = _at(self.__said, pointer)
        if isinstance(value, str):
            return Sensitive(value) if value else None
        return Sensitive(str(value)) if isinstance(value, int) and not isinstance(value, bool) else None

    def is_null(self, pointer: str) -> bool:
        """Whether the value at ``pointer`` is null or absent."""
        return _at(self.__said, pointer) in (None, _NOTHING)

    def entries(self, pointer: str = "") -> tuple["Answer", ...] | None:
        """The members of the list at ``pointer``; None if it is not a list."""
        value = _at(self.__said, pointer)
        return tuple(Answer(self.status, member) for member in value) if isinstance(value, list) else None

    def members(self, pointer: str = "") -> tuple["Answer", ...] | None:
        """The members of the mapping at ``pointer``, each as ``key`` and ``value``; None if it is not a mapping."""
        value = _at(self.__said, pointer)
        if not isinstance(value, dict):
            return None
        return tuple(Answer(self.status, {"key": key, "value": inner}) for key, inner in value.items())

    def at(self, pointer: str) -> "Answer":
        """The part at ``pointer``."""
        return Answer(self.status, _at(self.__said, pointer), is_page=self.is_page)

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
        at_test_url: bool = False,
        also: Sequence[AnswerPattern] = (),
        before_sending: Callable[[], None] | None = None,
    ) -> Answer:
        """Send ``request`` once, filled from ``fields``; ``doing`` appears in errors.

        As admin the API's own headers and ``{{admin.x}}`` are available. ``at_test_url`` sends it to the address where
        keys are tried. ``before_sending`` is called once everything is filled in, and may raise. Returns an answer that
        matches one of ``also``. Any other unsuccessful one raises Denied, NotFound, Invalid, Unavailable or Throttled.
        """

    def listed(self, listing: Listing, fields: SecretFields, doing: str) -> Sequence[Answer]:
        """Return every entry of all pages, requested as admin. Raises like :meth:`call`."""


def shortfall(request: Request, answer: Answer) -> str:
    """Return why an answer with an expected status is not a success, without values; empty if it is.

    A reported error counts, unless a condition covers that member.
    """
    if answer.is_page:
        return "with a web page"
    if request.conditions and not answer.is_json:
        return "without JSON"
    pointers = [condition.pointer for condition in request.conditions if not answer.meets(condition)]
    if pointers:
        return f"and its answer does not hold at {pointers[0] or 'its top'} what `expect` says"
    described = [f"{condition.pointer}/" for condition in request.conditions]
    reported = (at for at in answer.reported_errors() if not any(place.startswith(f"{at}/") for place in described))
    error = next(reported, None)
    return f"and its answer reports an error at {error}" if error else ""


def read_json(raw: bytes, status: int, link: str | None = None) -> Answer:
    """Parse ``raw`` as an answer; text that is not JSON counts as no body."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = _NOTHING
    return Answer(status, body, link, is_page=raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"))


def parse_moment(text: str) -> datetime | None:
    """An API's time: RFC 3339, or seconds or milliseconds since 1970; None for other texts.

    Without a zone it is UTC; a date means the end of that day.
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
    if isinstance(value, list) and "=" in part:
        name, _, wanted = part.partition("=")
        return next((each for each in value if _member(each, name) == wanted), _NOTHING)
    return _NOTHING


def _same(value: Any, wanted: Scalar) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted
