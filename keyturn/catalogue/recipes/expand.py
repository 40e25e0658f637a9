"""Replaces ``recipe: NAME`` in entries of a catalogue by the settings that the recipe holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from keyturn.catalogue.files.parse import CatalogueEntry, ParsedFiles
from keyturn.catalogue.files.problems import CatalogueInvalid, KeyPath, Problem
from keyturn.catalogue.recipes.library import AnyLibrary, IdentityLibrary, Library, StoreLibrary
from keyturn.catalogue.recipes.model import AnyRecipe, IdentityRecipe, Recipe, StoreRecipe
from keyturn.core.text import templates
from keyturn.core.text.suggest import advice
from keyturn.strategies.registry import STRATEGIES

RECIPE: Final = "recipe"
PARAMETERS: Final = "parameters"
CONSTANTS: Final = "constants"
STORE_KIND: Final = "http-store"
ADDRESS: Final = ("url", "headers", "login")
"""What is filled in at once: no request has constants there."""
REPLACED: Final = ("url",)
"""What a catalogue may say in a store's place, for a service that it hosts itself."""
R = TypeVar("R", bound=AnyRecipe)


class _Flawed(Exception):
    def __init__(self, path: KeyPath, message: str, remedy: str) -> None:
        self.flaw = (path, message, remedy)


def expand_recipes(read: ParsedFiles) -> ParsedFiles:
    """The same entries, with the recipes of secrets, targets, stores and routes filled in.

    Problems name the line in the catalogue. An entry whose recipe can't be filled in is left out.
    """
    credentials, stores, identities = (part(read.recipes) for part in (Library, StoreLibrary, IdentityLibrary))
    problems = [*read.problems, *chain.from_iterable(map(_own_problems, (credentials, stores, identities)))]
    entries = dict(read.entries)
    complete, indexable = read.complete, True
    parts: tuple[tuple[str, KeyPath, AnyLibrary[Any], Callable[[dict[str, Any], Any], dict[str, Any]]], ...] = (
        ("secrets", ("rotation",), credentials, _rotation),
        ("targets", (), credentials, _target),
        ("stores", (), stores, _store),
        ("routes", ("identity",), identities, _identity),
    )
    for section, where, library, fill in parts:
        entries[section] = dict(read.entries[section])
        for name, entry in read.entries[section].items():
            inner = _inside(entry.data, where)
            if not isinstance(inner, dict) or RECIPE not in inner:
                continue
            indexable = indexable and (str(inner[RECIPE]) in library.own or library.is_shipped(str(inner[RECIPE])))
            try:
                made = fill(inner, library)
            except _Flawed as flawed:
                path, message, remedy = flawed.flaw
                problems.append(entry.problem((*where, *path), message, remedy))
                entries[section].pop(name)
                complete = complete and section == "secrets"
            else:
                entries[section][name] = entry.holding({**entry.data, where[0]: made} if where else made)
    problems += [*credentials.broken, *stores.broken, *identities.broken]
    return replace(read, entries=entries, problems=problems, complete=complete, indexable=indexable)


def _own_problems(library: AnyLibrary[Any]) -> Iterable[Problem]:
    """Problems of no entry of the catalogue, so that a revocation leaves none out for them."""
    for name, file in library.taken.items():
        message = f"a recipe of this name is {'shipped' if library.is_shipped(name) else 'installed'}, and is used"
        yield Problem(str(file), 0, "", message, "Rename the file, and the name in the catalogue.")
    for name, (file, _) in library.own.items():
        try:
            check_recipe(name, library[name], file)
        except CatalogueInvalid as invalid:
            yield from (replace(problem, path=()) for problem in invalid.problems)


def _inside(data: Any, where: KeyPath) -> Any:
    for part in where:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _recipe(data: Mapping[str, Any], library: AnyLibrary[R]) -> R:
    name = data[RECIPE]
    if not isinstance(name, str) or name not in library:
        remedy = advice(str(name), library, f"`{library.listing}` shows them all.")
        raise _Flawed((RECIPE,), "no recipe has this name", remedy)
    try:
        return library[name]
    except CatalogueInvalid as invalid:
        raise _Flawed((RECIPE,), "the recipe has problems", str(invalid.problems[0])) from None


def _rotation(data: dict[str, Any], library: Library) -> dict[str, Any]:
    recipe = _recipe(data, library)
    if "strategy" in data:
        raise _Flawed(("strategy",), "the recipe selects the strategy", "Remove this line, or recipe.")
    if fixed := sorted(data.keys() & recipe.rotation.keys() - {CONSTANTS}):
        remedy = f"Remove it, or copy the recipe under another name: keyturn recipe show {data[RECIPE]} --yaml"
        raise _Flawed((fixed[0],), f"the recipe {data[RECIPE]} sets this", remedy)
    made = rotation_settings(recipe, _values(data, recipe, recipe.named(recipe.rotation)))
    rest = {key: value for key, value in data.items() if key != PARAMETERS}
    if made.get(CONSTANTS) and isinstance(more := rest.get(CONSTANTS), dict):
        if fixed := sorted(more.keys() & made[CONSTANTS].keys()):
            raise _Flawed((CONSTANTS, fixed[0]), f"the recipe {data[RECIPE]} sets this", "Remove it: see parameters.")
        rest[CONSTANTS] = {**made[CONSTANTS], **more}
    return made | recipe.defaults | rest


def rotation_settings(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """The strategy's settings with these parameters, without the defaults."""
    takes_constants = CONSTANTS in STRATEGIES[recipe.strategy].model_fields
    numbers = {name for name, value in recipe.examples.items() if isinstance(value, int)}
    texts = {
        name: str(value)
        for name, value in values.items()
        if isinstance(value, str | int) and takes_constants and name not in numbers
    }
    filled = _filled(recipe.rotation, {name: value for name, value in values.items() if name not in texts})
    constants = {CONSTANTS: {**filled.get(CONSTANTS, {}), **texts}} if texts else {}
    return {"strategy": recipe.strategy, **filled, **constants}


def _target(data: dict[str, Any], library: Library) -> dict[str, Any]:
    recipe = _recipe(data, library)
    if recipe.target is None:
        raise _Flawed((RECIPE,), f"the recipe {data[RECIPE]} needs no target", "Remove the target.")
    rest = {key: value for key, value in data.items() if key not in (RECIPE, PARAMETERS)}
    replaced = {key: value for key, value in recipe.target.items() if key not in rest}
    values = _values(data, recipe, recipe.named(replaced))
    return target_settings(recipe, values) | rest


def target_settings(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """The target's settings with these parameters, without the path of its admin login."""
    filled: dict[str, Any] = _filled(recipe.target or {}, values)
    return filled


def _store(data: dict[str, Any], library: StoreLibrary) -> dict[str, Any]:
    recipe = _recipe(data, library)
    if "kind" in data:
        raise _Flawed(("kind",), "the recipe selects the kind", "Remove this line, or recipe.")
    if fixed := sorted(data.keys() & {CONSTANTS, *recipe.store} - {*REPLACED}):
        remedy = f"Remove it, or copy the recipe under another name: keyturn store show {data[RECIPE]} --yaml"
        raise _Flawed((fixed[0],), f"the recipe {data[RECIPE]} sets this", remedy)
    rest = {key: value for key, value in data.items() if key != PARAMETERS}
    used = {key: value for key, value in recipe.store.items() if key not in rest}
    return store_settings(recipe, _values(data, recipe, recipe.named(used))) | recipe.defaults | rest


def store_settings(recipe: StoreRecipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """The store's settings with these parameters, without its login."""
    address = {key: _filled(value, values) for key, value in recipe.store.items() if key in ADDRESS}
    rest = {key: value for key, value in recipe.store.items() if key not in ADDRESS}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    filled = _filled(rest, {name: value for name, value in values.items() if name not in texts})
    constants = {name: value for name, value in texts.items() if name in recipe.named(rest)}
    return {"kind": STORE_KIND, **address, **filled, CONSTANTS: constants}


def _identity(data: dict[str, Any], library: IdentityLibrary) -> dict[str, Any]:
    recipe = _recipe(data, library)
    if recipe.identity is None:
        remedy = f"`keyturn fade --kind {data[RECIPE]}` shows how programs use it."
        raise _Flawed((RECIPE,), "only the service's own SDK can use this identity", remedy)
    if fixed := sorted(data.keys() & recipe.identity.keys()):
        raise _Flawed((fixed[0],), f"the recipe {data[RECIPE]} sets this", "Remove it.")
    rest = {key: value for key, value in data.items() if key != PARAMETERS}
    values = _values(data, recipe, recipe.named(recipe.identity))
    filled: dict[str, Any] = _filled(recipe.identity, values)
    return filled | rest


def _values(data: Mapping[str, Any], recipe: AnyRecipe, needed: Iterable[str]) -> dict[str, Any]:
    parameters = data.get(PARAMETERS) or {}
    if not isinstance(parameters, dict):
        raise _Flawed((PARAMETERS,), "must be a mapping", "Write indented `name: value` lines below it.")
    if unknown := sorted(parameters.keys() - recipe.parameters.keys()):
        remedy = advice(unknown[0], recipe.parameters, "Remove it.")
        raise _Flawed((PARAMETERS, unknown[0]), f"the recipe {data[RECIPE]} has no such parameter", remedy)
    values = {}
    for name in sorted(needed):
        parameter = recipe.parameters[name]
        value = parameters.get(name, parameter.default)
        if value is None:
            message = f"the recipe {data[RECIPE]} needs the parameter {name}"
            raise _Flawed((PARAMETERS,), message, f"Add {name}: {parameter.about} Example: {parameter.example}")
        if flaw := parameter.flaw(value):
            raise _Flawed((PARAMETERS, name), flaw, f"Example: {parameter.example}")
        values[name] = value
    return values


def _filled(data: Any, values: Mapping[str, Any]) -> Any:
    """``data`` with each known name replaced; a text that is nothing but a name becomes the value itself."""
    if isinstance(data, dict):
        return {key: _filled(inner, values) for key, inner in data.items()}
    if isinstance(data, list):
        return [_filled(inner, values) for inner in data]
    if not isinstance(data, str):
        return data
    named = templates.names(data)
    if len(named) == 1 and named[0] in values and templates.fill(data, lambda _: "").strip() == "":
        return values[named[0]]
    return templates.fill(data, lambda name: str(values[name]) if name in values else f"{{{{{name}}}}}")


# --- a recipe alone ----------------------------------------------------------------------------------------


def check_recipe(name: str, recipe: AnyRecipe, file: Path) -> None:
    """Check a recipe as a catalogue with its examples would. Raises CatalogueInvalid."""
    from keyturn.catalogue.files.environment import Expanded
    from keyturn.catalogue.files.explain import check_entry
    from keyturn.catalogue.files.lazy_entries import NOWHERE

    problems = []
    for section, key, data in _example_entries(name, recipe):
        entry = CatalogueEntry(section, "example", str(file), 0, lambda *_: NOWHERE, data)
        for problem in check_entry(Expanded(entry))[1]:
            path = [str(part) for part in problem.path[2:]]
            where = ".".join(path if path[:1] == [key] else [key, *path])
            problems.append(replace(problem, line=0, where=where))
    if problems:
        raise CatalogueInvalid(str(file), problems, what="recipe")


def _example_entries(name: str, recipe: AnyRecipe) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the section, the key of the recipe and the data of each entry that a catalogue would have."""
    if isinstance(recipe, StoreRecipe):
        login = {RECIPE: name, "token_file": "/etc/keyturn/files/example"}
        yield "stores", "store", store_settings(recipe, recipe.examples) | recipe.defaults | login
    if isinstance(recipe, IdentityRecipe) and recipe.identity:
        filled: dict[str, Any] = _filled(recipe.identity, recipe.examples)
        allowed = {"url": "https://service.example.com", "allow": [{"paths": ["/**"]}], "callers": ["example"]}
        yield "routes", "identity", {**allowed, "identity": {**filled, "token_file": "/run/example"}}
    if isinstance(recipe, Recipe):
        rotation = rotation_settings(recipe, recipe.examples) | recipe.defaults | {RECIPE: name}
        if recipe.takes_target:
            rotation["target"] = "example"
        secret = {"owner": "owner@example.com", "classification": "restricted", "rotation": rotation}
        yield "secrets", "rotation", secret
        if recipe.target is not None:
            target = target_settings(recipe, recipe.examples)
            yield "targets", "target", target | _admin_of(target)


def _admin_of(target: Mapping[str, Any]) -> dict[str, str]:
    return {"admin": "targets/example"} if target["kind"] == "http-api" else {}
