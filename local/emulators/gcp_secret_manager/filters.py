"""The filter language of the listings, as far as clients here use it: everything else is refused.

Terms are ``field:text`` (holds the text, in any case), ``field:*`` (is set), ``field=text`` and ``field!=text``,
timestamps also with ``<``, ``<=``, ``>`` and ``>=``; a value may be ``(a OR b)``. They are joined by AND, OR and
NOT (or ``-``) with parentheses; OR binds tighter than AND.
Sources: Secret Manager "Filter lists of secrets and secret versions"; AIP-160 for the grammar.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from local.emulators.gcp_secret_manager.errors import invalid
from local.emulators.gcp_secret_manager.messages import Pb, Timestamp, seconds_of

Predicate = Callable[[Pb], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<punctuation>\(|\)|!=|<=|>=|[:=<>])|"(?P<quoted>(?:[^"\\]|\\.)*)"
    |(?P<word>\d{4}-\d\d-\d\dT[^\s()"]+|[^\s()"=:<>!]+))""",
    re.VERBOSE,
)
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def parse(text: str, kind: Any) -> Predicate:
    """The predicate that a filter stands for, over messages of ``kind``; INVALID_ARGUMENT where it can't be read."""
    return _Parser(text, kind).whole() if text.strip() else lambda _: True


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        matched = _TOKEN.match(text, position)
        if matched is None:
            invalid(f"Invalid filter at character {position}.")
        position = matched.end()
        kind = str(matched.lastgroup)
        value = matched[kind]
        if kind == "word" and len(value) > 1 and value.startswith("-"):
            yield "word", "NOT"
            value = value[1:]
        yield kind, re.sub(r"\\(.)", r"\1", value) if kind == "quoted" else value


class _Parser:
    def __init__(self, text: str, kind: Any) -> None:
        self._tokens = list(_tokens(text))
        self._kind = kind.DESCRIPTOR

    def whole(self) -> Predicate:
        predicate = self._conjunction()
        if self._tokens:
            invalid(f"Invalid filter: [{self._tokens[0][1]}] is not expected there; join terms with AND or OR.")
        return predicate

    def _conjunction(self) -> Predicate:
        parts = [self._disjunction()]
        while self._accept("word", "AND"):
            parts.append(self._disjunction())
        return lambda message: all(part(message) for part in parts)

    def _disjunction(self) -> Predicate:
        parts = [self._factor()]
        while self._accept("word", "OR"):
            parts.append(self._factor())
        return lambda message: any(part(message) for part in parts)

    def _factor(self) -> Predicate:
        if self._accept("word", "NOT"):
            negated = self._factor()
            return lambda message: not negated(message)
        if self._accept("punctuation", "("):
            inner = self._conjunction()
            self._expect(")")
            return inner
        return self._restriction()

    def _restriction(self) -> Predicate:
        field = self._take("word")
        operator = self._take("punctuation")
        if operator in "()":
            invalid(f"Invalid filter: field [{field}] has no operator.")
        if not self._accept("punctuation", "("):
            return self._term(field, operator)
        terms = [self._term(field, operator)]
        while self._accept("word", "OR"):
            terms.append(self._term(field, operator))
        self._expect(")")
        return lambda message: any(term(message) for term in terms)

    def _term(self, field: str, operator: str) -> Predicate:
        kind, value = self._tokens.pop(0) if self._tokens else ("", "")
        if kind not in ("word", "quoted"):
            invalid(f"Invalid filter: field [{field}] has no value.")
        path = [re.sub(r"(?<=[a-z])[A-Z]", lambda m: f"_{m[0]}", part).lower() for part in field.split(".")]
        if path[0] in ("labels", "annotations") and len(path) > 1:
            path = [path[0], field.partition(".")[2]]
        described = self._field_kind(path, field)
        if kind == "word" and "*" in value:
            if value != "*" or operator != ":":
                invalid(f"Invalid filter: [{value}] is no value; only field:* has a wildcard.")
            return lambda message: any(_is_set(actual) for actual in _values(message, path))
        if path == ["name"]:
            value = value.rpartition("/")[2]
        matches = _matcher(described, operator, value, field)
        return lambda message: any(matches(actual) for actual in _values(message, path))

    def _field_kind(self, path: list[str], field: str) -> Any:
        """The descriptor of the field at the path's end; INVALID_ARGUMENT when the message has no such field."""
        message, described = self._kind, None
        for part in path:
            described = message.fields_by_name.get(part) if message is not None else None
            if described is None:
                invalid(f"Invalid filter: there is no field [{field}].")
            if part in ("labels", "annotations"):
                return described
            message = described.message_type
        return described

    def _accept(self, kind: str, value: str) -> bool:
        if self._tokens and self._tokens[0] == (kind, value):
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._accept("punctuation", value):
            invalid(f"Invalid filter: [{value}] is missing.")

    def _take(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            invalid(f"Invalid filter: a {'field' if kind == 'word' else 'comparison'} is missing.")
        return self._tokens.pop(0)[1]


def _values(message: Any, path: list[str]) -> list[Any]:
    """What stands at the path: nothing, one value, or several where a list lies on the way."""
    values = [message]
    for part in path:
        values = [value for holder in values for value in _step(holder, part)]
    return values


def _step(holder: Any, part: str) -> list[Any]:
    if not hasattr(holder, "DESCRIPTOR"):
        return [holder[part]] if part in holder else []
    described = holder.DESCRIPTOR.fields_by_name[part]
    value = getattr(holder, part)
    if _is_map(described):
        return [value]
    if part == "name":
        return [value.rpartition("/")[2]]
    if described.message_type is not None and hasattr(value, "DESCRIPTOR"):
        return [value] if holder.HasField(part) else []
    if described.enum_type is not None:
        return [described.enum_type.values_by_number[value].name]
    return list(value) if not isinstance(value, (str, int, bytes)) else [value]


def _is_map(described: Any) -> bool:
    return described.message_type is not None and described.message_type.GetOptions().map_entry


def _is_set(value: Any) -> bool:
    return hasattr(value, "DESCRIPTOR") or bool(value)


def _matcher(described: Any, operator: str, value: str, field: str) -> Callable[[Any], bool]:
    if described.message_type is not None and described.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return _timestamp_matcher(operator, value, field)
    if operator not in (":", "=", "!=") or (described.message_type is not None and not _is_map(described)):
        invalid(f"Invalid filter: [{operator}] can't be used on field [{field}].")
    if described.enum_type is not None and value not in described.enum_type.values_by_name:
        invalid(f"Invalid filter: [{value}] is no value of field [{field}].")
    if operator == ":":
        return lambda actual: _holds(actual, value)
    return lambda actual: (str(actual) == value) is (operator == "=")


def _holds(actual: Any, value: str) -> bool:
    return value in actual if not isinstance(actual, (str, int)) else value.lower() in str(actual).lower()


def _timestamp_matcher(operator: str, value: str, field: str) -> Callable[[Any], bool]:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or operator not in _COMPARISONS:
        invalid(f"Invalid filter: field [{field}] is compared with an RFC 3339 timestamp.")
    return lambda actual: _COMPARISONS[operator](seconds_of(actual), moment.timestamp())
