"""From a directory of YAML files to a checked catalogue, or to every reason why it is none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from keyturn.catalogue import checks, source
from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.environment import Expanded, expand
from keyturn.catalogue.explain import check
from keyturn.catalogue.models import Catalogue, Secret, SecretDeclaration
from keyturn.catalogue.problems import CatalogueInvalid, Problem

EXPANDED: Final = ("stores", "targets", "consumers")
"""The sections that may refer to the environment."""


def load(directory: Path, env: Mapping[str, str]) -> Catalogue:
    """The catalogue in ``directory``, references filled in from ``env``. Raises CatalogueInvalid."""
    made, problems = _examine(directory, env)
    if problems:
        raise CatalogueInvalid(str(directory), problems)
    secrets = {path: _secret(path, declared, made["syncs"]) for path, declared in made["secrets"].items()}
    return Catalogue(**{**made, "secrets": secrets})


def _secret(path: str, declared: SecretDeclaration, syncs: Mapping[str, SyncSettings]) -> Secret:
    """The declared secret with all its places: its own, and those that patterns give it."""
    made = (place for sync in syncs.values() for place in sync.destinations(path))
    return Secret(path=path, **{**dict(declared), "destinations": (*declared.destinations, *made)})


def find_problems(directory: Path, env: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong with the catalogue in ``directory``, in the order of files and lines."""
    return _examine(directory, env)[1]


def _examine(directory: Path, env: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Every entry that is sound by itself, and every problem, of the files, the entries and between them."""
    read = source.read(directory)
    problems = list(read.problems)
    made: dict[str, dict[str, Any]] = {section: {} for section in source.SECTIONS}
    entries: dict[str, dict[str, source.Entry]] = {section: {} for section in source.SECTIONS}
    for section, named in read.entries.items():
        for name, entry in named.items():
            expanded = expand(entry, env) if section in EXPANDED else Expanded(entry)
            model, found = check(expanded)
            problems += expanded.problems + found
            entries[section][name] = expanded.entry
            if model is not None:
                made[section][name] = model
    systems = {(kind, name): model.system for kind in ("stores", "targets") for name, model in made[kind].items()}
    return made, sorted({*problems, *checks.find(checks.World(entries, systems, read.complete, made["syncs"]))})
