"""From a directory of YAML files to a checked catalogue, or to every reason why it is none."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.catalogue import checks, power, source
from keyturn.catalogue.environment import Expanded, expand, variables
from keyturn.catalogue.explain import check_entry
from keyturn.catalogue.groups import spread_stores, spread_sync
from keyturn.catalogue.index import Declared, Index
from keyturn.catalogue.lazily import EXPANDED, Secrets, model_of, with_places
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.problems import CatalogueInvalid, Problem
from keyturn.catalogue.rules import spread_rule


def load_catalogue(directory: Path, env: Mapping[str, str]) -> Catalogue:
    """The catalogue in ``directory``, references filled in from ``env``. Raises CatalogueInvalid.

    Files that were checked before are not read again: each secret is made when it is first asked for.
    """
    with _uncollected():
        gathered = source.gather(directory)
        index = Index(directory, gathered.content, env)
        declared = index.find()
        return _anew(directory, gathered, index, env) if declared is None else _opened(declared, env)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the collector of cycles wait: it looks through a large catalogue again and again while that is made.

    That was two thirds of the time, and nothing is found: what is made stays.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _anew(directory: Path, gathered: source.Gathered, index: Index, env: Mapping[str, str]) -> Catalogue:
    """A catalogue of which nothing is known, checked whole. Raises CatalogueInvalid."""
    read = source.parse_files(gathered)
    made, problems = _examine(read, env)
    if problems:
        raise CatalogueInvalid(str(directory), problems)
    index.keep({**_plain(read.entries), source.ID: _named(read.id)}, _variables(read.entries))
    syncs, groups = made["syncs"], made["groups"]
    secrets = {path: with_places(path, declared, syncs, groups) for path, declared in made["secrets"].items()}
    return Catalogue.model_construct(**{**made, **_named(read.id), "secrets": secrets})


def _opened(declared: Declared, env: Mapping[str, str]) -> Catalogue:
    """A catalogue that was found sound before: everything but the secrets is made at once."""
    made: dict[str, Any] = {
        section: {name: model_of(section, name, data, env) for name, data in declared[section].items()}
        for section in source.SECTIONS
        if section != "secrets"
    }
    made |= _spread(made)
    secrets = Secrets(declared["secrets"], made["syncs"], made["groups"])
    return Catalogue.model_construct(**{**made, **declared[source.ID], "secrets": secrets})


def _spread(made: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every store by its own name, the groups of those that one entry declares; syncs and rules that name each."""
    stores, groups = spread_stores(made["stores"])
    return {
        "stores": stores,
        "groups": groups,
        "syncs": {name: spread_sync(sync, groups) for name, sync in made["syncs"].items()},
        "rules": {name: spread_rule(rule, groups) for name, rule in made["rules"].items()},
    }


def _named(name: str) -> dict[str, Any]:
    """The catalogue's id, where it declares one."""
    return {source.ID: name} if name else {}


def _plain(entries: Mapping[str, Mapping[str, source.CatalogueEntry]]) -> Declared:
    """The data of each entry, as it is written."""
    return {section: {name: entry.data for name, entry in named.items()} for section, named in entries.items()}


def _variables(entries: Mapping[str, Mapping[str, source.CatalogueEntry]]) -> set[str]:
    """The variables that the entries refer to."""
    return {name for section in EXPANDED for entry in entries[section].values() for name in variables(entry)}


def find_problems(directory: Path, env: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong with the catalogue in ``directory``, in the order of files and lines."""
    with _uncollected():
        return _examine(source.read_directory(directory), env)[1]


def _examine(read: source.ParsedFiles, env: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Every entry that is sound by itself, and every problem, of the files, the entries and between them."""
    problems = list(read.problems)
    made: dict[str, dict[str, Any]] = {section: {} for section in source.SECTIONS}
    entries: dict[str, dict[str, source.CatalogueEntry]] = {section: {} for section in source.SECTIONS}
    for section, named in read.entries.items():
        for name, entry in named.items():
            expanded = expand(entry, env) if section in EXPANDED else Expanded(entry)
            model, more = check_entry(expanded)
            problems += expanded.problems + more
            entries[section][name] = expanded.entry
            if model is not None:
                made[section][name] = model
                problems += [entry.problem(*flaw) for flaw in power.find_flaws(section, name, model)]
    made |= _spread(made)
    systems = {(kind, name): model.system for kind in ("stores", "targets") for name, model in made[kind].items()}
    read_as = {key: made[key] for key in ("syncs", "groups", "stores", "rules")}
    world = checks.World(entries, systems, read.complete, **read_as)
    return made, sorted({*problems, *checks.find_conflicts(world)})
