"""Label and field selectors. Source: "Labels and Selectors" and "Field Selectors"."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from local.emulators.kubernetes.messages import Refusal

Tree = dict[str, Any]

FIELDS: Final[dict[str, Callable[[Tree], str]]] = {
    "metadata.name": lambda told: str(told["metadata"]["name"]),
    "metadata.namespace": lambda told: str(told["metadata"]["namespace"]),
    "type": lambda told: str(told.get("type", "")),
}
TERM: Final = re.compile(r"\s*([\w./-]+)\s*(==|=|!=)\s*([\w./-]*)\s*")
SET: Final = re.compile(r"\s*([\w./-]+)\s+(in|notin)\s+\(([\w./,\s-]*)\)\s*")
EXISTS: Final = re.compile(r"\s*(!?)\s*([\w./-]+)\s*")
COMMA: Final = re.compile(r",(?![^(]*\))")


def chosen(tree: Tree, labels: str, fields: str, kind: str) -> bool:
    """Whether the selectors choose this object. Raises :class:`Refusal` (400) for one that can't be understood."""
    has = tree["metadata"].get("labels") or {}
    by_labels = all(_label(term, has) for term in COMMA.split(labels) if term)
    return by_labels and all(_field(term, tree, kind) for term in fields.split(",") if term)


def _label(term: str, has: Mapping[str, str]) -> bool:
    if match := TERM.fullmatch(term):
        name, operator, value = match.groups()
        return (has.get(name) == value) is (operator != "!=")
    if match := SET.fullmatch(term):
        name, operator, values = match.groups()
        return (has.get(name) in {value.strip() for value in values.split(",")}) is (operator == "in")
    if match := EXISTS.fullmatch(term):
        return (match[2] in has) is not bool(match[1])
    raise Refusal(400, f"unable to parse requirement: {term}")


def _field(term: str, tree: Tree, kind: str) -> bool:
    match = TERM.fullmatch(term)
    if match is None:
        raise Refusal(400, f"invalid selector: {term!r}")
    name, operator, value = match.groups()
    if name not in FIELDS or (name == "type" and kind != "Secret"):
        raise Refusal(400, f"field label not supported: {name}")
    return (FIELDS[name](tree) == value) is (operator != "!=")
