"""Explains pydantic's errors in plain words, with the line and never with a value."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from keyturn.catalogue.access_logs import AccessLogSettings
from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.consumers import ConsumerSettings
from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.exceptions import ExceptionSettings
from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.catalogue.freezes import FreezeSettings
from keyturn.catalogue.grant_accounts import GrantAccountSettings
from keyturn.catalogue.hub_entries import HubEntry
from keyturn.catalogue.keys import KeySettings
from keyturn.catalogue.models import SecretDeclaration
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.catalogue.mounts import MountSettings
from keyturn.catalogue.pki import AuthoritySettings
from keyturn.catalogue.routes import RouteSettings
from keyturn.catalogue.rules import RuleSettings
from keyturn.catalogue.stores import StoreSettings
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.text.suggest import advice, likely
from keyturn.settings.choices import models, shape_of
from keyturn.settings.fields import PLAIN, Model
from keyturn.settings.meanings import meanings

SHAPES: Final[dict[str, Any]] = {
    "stores": StoreSettings,
    "targets": TargetSettings,
    "consumers": ConsumerSettings,
    "secrets": SecretDeclaration,
    "freezes": FreezeSettings,
    "syncs": SyncSettings,
    "mounts": MountSettings,
    "rules": RuleSettings,
    "monitors": MonitorSettings,
    "access_logs": AccessLogSettings,
    "exceptions": ExceptionSettings,
    "access_policies": AccessPolicySettings,
    "grants": GrantAccountSettings,
    "pki": AuthoritySettings,
    "hub": HubEntry,
    "keys": KeySettings,
    "routes": RouteSettings,
}

Said = tuple[str, str]

MISSING: Final = "is missing"

_MAPPING: Final = ("must be a mapping", "Write indented `key: value` lines below it.")
_WHOLE: Final = ("must be a whole number", "Write digits alone.")
_TRUTH: Final = ("must be true or false", "Write true or false, without quotes.")
_NUMBER: Final = ("must be a number", "Write digits alone.")
_LIST: Final = ("must be a list", "Write [one, two], or one line `- item` for each.")

SENTENCES: Final[dict[str, Said]] = {
    "string_type": ("must be text", "Write one value, in quotes if it looks like a number or true and false."),
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "list_type": _LIST,
    "tuple_type": _LIST,
}


def check_entry(expanded: Expanded) -> tuple[Model | None, list[Problem]]:
    """The entry as its model, or None and all problems."""
    entry = expanded.entry
    try:
        return adapter_of(entry.section).validate_python(entry.data), []
    except ValidationError as error:
        return None, explain_errors(expanded, SHAPES[entry.section], error)


def explain_errors(expanded: Expanded, shape: Any, error: ValidationError) -> list[Problem]:
    problems = [_problem(expanded, shape, details) for details in error.errors(include_url=False)]
    return [problem for problem in problems if problem]


@functools.cache
def adapter_of(section: str) -> TypeAdapter[Any]:
    return TypeAdapter(SHAPES[section])


def _problem(expanded: Expanded, shape: Any, error: ErrorDetails) -> Problem | None:
    entry = expanded.entry
    path = _path(error)
    if path in expanded.unresolved or (expanded.unchecked and _is_about_open_values(error, expanded)):
        return None
    message, remedy = _words(error, path, shape, entry.data)
    if message == MISSING and path in expanded.empty:
        remedy = "Set the variable to something, or write the value out."
        return entry.problem(path, "the environment reference leaves this empty", remedy)
    return entry.problem(path, message, remedy)


def _is_about_open_values(error: ErrorDetails, expanded: Expanded) -> bool:
    """Whether the broken rule involves a value that is unknown here."""
    above = error["loc"]
    return error["type"] == PLAIN and any(path[: len(above)] == above for path in expanded.unresolved)


def _path(error: ErrorDetails) -> KeyPath:
    path = error["loc"]
    if path[-1:] == ("[key]",):
        path = path[:-1]
    named = {PLAIN: "key", "union_tag_not_found": "discriminator", "union_tag_invalid": "discriminator"}
    key = error.get("ctx", {}).get(named.get(error["type"], ""), "")
    return (*path, key.strip("'")) if key else path


def _words(error: ErrorDetails, path: KeyPath, shape: Any, data: Any) -> Said:
    kind, context = error["type"], error.get("ctx", {})
    if kind == PLAIN:
        return context["message"], context["remedy"]
    if kind == "extra_forbidden":
        return _unknown_key(path, shape, data)
    if kind in ("missing", "union_tag_not_found"):
        return _missing(path, shape, data)
    if error["input"] is None:
        return "has no value", "Give it one, or remove the key."
    return SENTENCES.get(kind) or _bounded(error)


def _unknown_key(path: KeyPath, shape: Any, data: Any) -> Said:
    key = str(path[-1])
    if key == "<<":
        return "merge keys (<<) are not read here", "Write the keys out."
    return "unknown key", advice(key, known_keys(shape, path[:-1], data), "Remove it.")


def _missing(path: KeyPath, shape: Any, data: Any) -> Said:
    if isinstance(path[-1], int):
        return "the list is too short", "Name exactly two."
    key = known_keys(shape, path[:-1], data).get(str(path[-1]))
    meaning = " ".join(key.meaning.split()) if key else ""
    return MISSING, f"Add {path[-1]}: {meaning[:1].lower()}{meaning[1:]}"


def _bounded(error: ErrorDetails) -> Said:
    context = error.get("ctx", {})
    sayings: dict[str, Callable[[], Said]] = {
        "greater_than_equal": lambda: ("is too small", f"The least is {context['ge']:g}."),
        "less_than_equal": lambda: ("is too large", f"The most is {context['le']:g}."),
        "too_short": lambda: ("is empty", "Write at least one."),
        "too_long": lambda: ("the list is too long", "Name exactly two."),
        "literal_error": lambda: _choice(context["expected"], error["input"]),
        "enum": lambda: _choice(context["expected"], error["input"]),
        "union_tag_invalid": lambda: _choice(context["expected_tags"], context["tag"]),
    }
    return sayings[error["type"]]() if error["type"] in sayings else ("can't be used here", "See docs/catalogue.md.")


def _choice(expected: str, value: Any) -> Said:
    words = re.findall(r"'([^']*)'", expected)
    near = likely(value, words) if isinstance(value, str) else None
    choice = f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    return f"must be {choice}", f"Did you mean {near}?" if near else "Write it as shown here."


# --- which keys a mapping may hold -------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    annotation: Any
    meaning: str


def known_keys(shape: Any, path: KeyPath, data: Any) -> dict[str, Key]:
    if not path:
        fitting = [model for model in models(shape) if _fits(model, data)]
        return {
            info.alias or name: Key(shape_of(info), meanings(model).get(name, ""))
            for model in fitting
            for name, info in model.model_fields.items()
        }
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        return known_keys(shape, rest, data[part])
    inner = _value_of_dict(shape)
    if inner is None:
        inner = known_keys(shape, (), data)[str(part)].annotation
    return known_keys(inner, rest, data[part])


def _fits(model: type[Model], data: Any) -> bool:
    tags = [name for name in ("kind", "strategy") if name in model.model_fields]
    return all(data.get(name) in get_args(model.model_fields[name].annotation) for name in tags if name in data)


def _value_of_dict(shape: Any) -> Any:
    if get_origin(shape) is dict:
        return get_args(shape)[1]
    return next((value for inner in get_args(shape) if (value := _value_of_dict(inner)) is not None), None)
