"""Environment references ``${NAME}`` and ``${NAME:-default}`` in connection settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem

REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}")
"""The variable's name, and the default for an unset or empty one."""

ALLOWED: Final = (
    "Name one that begins with KEYTURN_ and is neither Keyturn's own nor a credential's, or let the operator's file "
    "allow it under `variables`."
)


@dataclass
class Expanded:
    """An entry with its references filled in.

    ``empty`` lists values that a reference left empty: they count as missing. ``unresolved`` lists values with a
    reported problem. ``breaches`` are references to forbidden variables. ``unchecked`` are values that are unknown
    without an environment.
    """

    entry: CatalogueEntry
    problems: list[Problem] = field(default_factory=list)
    breaches: list[Problem] = field(default_factory=list)
    empty: set[KeyPath] = field(default_factory=set)
    unresolved: set[KeyPath] = field(default_factory=set)
    allows: Callable[[str], bool] = lambda _: True
    unchecked: list[Problem] = field(default_factory=list)


def expand(entry: CatalogueEntry, env: Mapping[str, str], allows: Callable[[str], bool] = lambda _: True) -> Expanded:
    """Fills in every reference in ``entry``; values that can't be filled in are left out and reported.

    ``allows`` decides which variables may be named.
    """
    done = Expanded(entry, allows=allows)
    done.entry = entry.holding(_filled(entry.data, (), env, done))
    return done


def leave_open(entry: CatalogueEntry, allows: Callable[[str], bool] = lambda _: True) -> Expanded:
    """The entry without values that refer to a variable, which are listed as ``unchecked``.

    Malformed references are still problems.
    """
    every = dict.fromkeys(variables_in(entry.data), "")
    done = expand(entry, every, allows)
    for path, text in _texts(entry.data, ()):
        if names := dict.fromkeys(reference[1] for reference in REFERENCE.finditer(text)):
            message = f"it depends on the environment ({', '.join(names)}), which was not asked"
            done.unchecked.append(entry.problem(path, message, "Validate it where a worker's variables are set."))
            done.unresolved.add(path)
    done.entry = entry.holding(_without(entry.data, (), done.unresolved))
    done.empty.clear()
    return done


def _without(data: Any, path: KeyPath, open_paths: set[KeyPath]) -> Any:
    if isinstance(data, dict):
        return {k: _without(v, (*path, k), open_paths) for k, v in data.items() if (*path, k) not in open_paths}
    if isinstance(data, list):
        return ["" if (*path, at) in open_paths else _without(v, (*path, at), open_paths) for at, v in enumerate(data)]
    return data


def variables_in(data: Any) -> set[str]:
    return {reference[1] for _, text in _texts(data, ()) for reference in REFERENCE.finditer(text)}


def references(entry: CatalogueEntry) -> list[Problem]:
    message = "environment references are read in stores, targets, consumers and access logs only"
    return [
        entry.problem(path, message, "Write it out.") for path, text in _texts(entry.data, ()) if REFERENCE.search(text)
    ]


def _texts(data: Any, path: KeyPath) -> list[tuple[KeyPath, str]]:
    if isinstance(data, str):
        return [(path, data)]
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [text for key, value in children for text in _texts(value, (*path, key))]


def _filled(data: Any, path: KeyPath, env: Mapping[str, str], done: Expanded) -> Any:
    if isinstance(data, dict):
        children = {key: _filled(value, (*path, key), env, done) for key, value in data.items()}
        return {key: value for key, value in children.items() if (*path, key) not in done.empty | done.unresolved}
    if isinstance(data, list):
        return [_filled(value, (*path, index), env, done) for index, value in enumerate(data)]
    return _text(data, path, env, done) if isinstance(data, str) and "${" in data else data


def _text(text: str, path: KeyPath, env: Mapping[str, str], done: Expanded) -> str:
    references = list(REFERENCE.finditer(text))
    missing = [ref[1] for ref in references if ref[1] not in env and ref[2] is None]
    if len(references) != text.count("${"):
        remedy = "Write ${NAME} or ${NAME:-default}; names are letters, digits and underscores."
        done.problems.append(done.entry.problem(path, "an environment reference that can't be read", remedy))
    for name in dict.fromkeys(ref[1] for ref in references if not done.allows(ref[1])):
        done.breaches.append(done.entry.problem(path, f"the variable {name} may not be named here", ALLOWED))
    for name in missing:
        remedy = f"Set {name}, or give a default: ${{{name}:-default}}."
        done.problems.append(done.entry.problem(path, f"the environment variable {name} is not set", remedy))
    if missing or len(references) != text.count("${"):
        done.unresolved.add(path)
        return ""
    filled = REFERENCE.sub(lambda ref: env.get(ref[1]) or ref[2] or "", text)
    if not filled:
        done.empty.add(path)
    return filled
