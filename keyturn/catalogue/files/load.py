"""Loads a checked catalogue from a directory of YAML files, or reports every problem."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from keyturn.catalogue.checks import consistency as checks
from keyturn.catalogue.checks import permissions as power
from keyturn.catalogue.checks.permissions import Surroundings
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files import parse, partial, signature
from keyturn.catalogue.files.environment import Expanded, expand, leave_open, variables_in
from keyturn.catalogue.files.explain import check_entry
from keyturn.catalogue.files.index import Declared, Index
from keyturn.catalogue.files.interning import Alike
from keyturn.catalogue.files.lazy_entries import EXPANDED, Secrets, model_of, with_places
from keyturn.catalogue.files.policy_file import load_policy
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.groups import spread_stores, spread_sync
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.catalogue.rules import spread_rule

WAY_OUT: Final = (
    "A leaked credential need not wait for that: keyturn revoke PATH --reason WHY "
    "--override-policy continues, notifies people, and records it in the ledger"
)


def load_catalogue(
    directory: Path, env: Mapping[str, str], *, despite_policy: bool = False, lenient: bool = False
) -> Catalogue:
    """The catalogue in ``directory``, with references filled in from ``env``. Raises CatalogueInvalid.

    With ``lenient``, broken parts are left out and listed in ``left_out``. It then raises only if nothing loads, or if
    the policy or the signature refuses the files.

    Validated files are not parsed again: each secret is made at its first use. Permissions are always checked;
    ``despite_policy`` ignores their breaches and lists them in ``waived``.
    """
    with _uncollected():
        around, unsure = _surroundings(directory, env)
        gathered = parse.gather(directory)
        unsure += signature.find_breaches(directory, gathered.digests, around.policy)
        index = Index(directory, gathered.content, gathered.digests, env)
        if not unsure and (declared := index.find()) is not None and (opened := _opened(declared, gathered, around)):
            return opened
        return _anew(gathered, index, around, unsure, despite_policy, lenient)


def _parsed(gathered: parse.Gathered) -> parse.ParsedFiles:
    """The entries of the files, with recipes filled in; their code is imported only if an entry names one."""
    read = parse.parse_files(gathered)
    rotations = (
        entry.data.get("rotation") for entry in read.entries["secrets"].values() if isinstance(entry.data, dict)
    )
    others = (entry.data for section in ("targets", "stores") for entry in read.entries[section].values())
    inner = (*rotations, *others)
    if not read.recipes and not any(isinstance(data, dict) and "recipe" in data for data in inner):
        return read
    from keyturn.catalogue.recipes import expand_recipes

    return expand_recipes(read)


def _surroundings(directory: Path, env: Mapping[str, str]) -> tuple[Surroundings, list[Problem]]:
    try:
        return Surroundings(load_policy(env, directory), env, directory), []
    except CatalogueInvalid as invalid:
        return Surroundings(OperatorsPolicy(), env, directory), list(invalid.problems)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pauses the garbage collector, which found nothing and took two thirds of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _anew(
    gathered: parse.Gathered,
    index: Index,
    around: Surroundings,
    unsure: list[Problem],
    despite_policy: bool,
    lenient: bool,
) -> Catalogue:
    read = _parsed(gathered)
    made, problems, breaches = _examine(read, around)
    left_out: list[Problem] = []
    if problems and lenient and any(read.entries.values()):
        made, left_out, breaches = partial.examine_parts(read, lambda rest: _examine(rest, around))
        problems = []
    breaches = sorted({*breaches, *unsure})
    if problems or (breaches and not despite_policy):
        everything = sorted({*problems, *breaches})
        raise CatalogueInvalid(str(around.directory), everything, hint="" if problems else WAY_OUT)
    if not left_out and read.indexable:
        plain = {
            section: {name: entry.data for name, entry in named.items()} for section, named in read.entries.items()
        }
        index.keep({**plain, parse.ID: _named(read.id)}, _named_in(plain))
    syncs, groups = made["syncs"], made["groups"]
    alike = Alike()
    secrets = {
        path: alike.share(with_places(path, declared, syncs, groups)) for path, declared in made["secrets"].items()
    }
    more = {
        **_beside(gathered, around),
        "waived": tuple(map(str, breaches)),
        "left_out": tuple(left_out),
        "secrets": secrets,
    }
    return Catalogue.model_construct(**{**made, **_named(read.id), **more})


def _beside(gathered: parse.Gathered, around: Surroundings) -> dict[str, Any]:
    return {"policy": around.policy, "digest": signature.digest_of(gathered.digests)}


def _opened(declared: Declared, gathered: parse.Gathered, around: Surroundings) -> Catalogue | None:
    """A catalogue from its index, with secrets made on demand.

    None if it names something forbidden: the files then show where.
    """
    made: dict[str, Any] = {
        section: {name: model_of(section, name, data, around.env) for name, data in declared[section].items()}
        for section in parse.SECTIONS
        if section != "secrets"
    }
    if next(power.find_flaws(made, around), None) or not all(map(around.policy.allows_variable, _named_in(declared))):
        return None
    made |= _spread(made)
    secrets = Secrets(declared["secrets"], made["syncs"], made["groups"])
    return Catalogue.model_construct(**{**made, **declared[parse.ID], **_beside(gathered, around), "secrets": secrets})


def _named_in(declared: Declared) -> set[str]:
    return {name for section in EXPANDED for name in variables_in(declared[section])}


def _spread(made: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    stores, groups = spread_stores(made["stores"])
    return {
        "stores": stores,
        "groups": groups,
        "syncs": {name: spread_sync(sync, groups) for name, sync in made["syncs"].items()},
        "rules": {name: spread_rule(rule, groups) for name, rule in made["rules"].items()},
    }


def _named(name: str) -> dict[str, Any]:
    return {parse.ID: name} if name else {}


def find_problems(directory: Path, env: Mapping[str, str], *, signed: bool = True) -> list[Problem]:
    """Every problem of the catalogue in ``directory``, in the order of files and lines.

    Without ``signed``, the signature is not checked.
    """
    with _uncollected():
        around, unsure = _surroundings(directory, env)
        gathered = parse.gather(directory)
        unsure += signature.find_breaches(directory, gathered.digests, around.policy) if signed else []
        _, problems, breaches = _examine(_parsed(gathered), around)
        return sorted({*problems, *breaches, *unsure})


@dataclass(frozen=True)
class Unresolved:
    """The result of validation without an environment.

    ``unchecked`` are the values that depend on it, and ``entries`` the entries with such a value. ``counts`` is the
    number of entries by section.
    """

    problems: tuple[Problem, ...]
    unchecked: tuple[Problem, ...]
    entries: tuple[str, ...]
    counts: Mapping[str, int]


def examine_unresolved(directory: Path, env: Mapping[str, str]) -> Unresolved:
    """Every problem that does not depend on variables, and the values that do.

    ``env`` only names the operator's file. The signature is not checked, as the files are not merged yet.
    """
    with _uncollected():
        around, unsure = _surroundings(directory, env)
        gathered = parse.gather(directory)
        read = _parsed(gathered)
        unchecked: list[Problem] = []
        _, problems, breaches = _examine(read, replace(around, env={}), unchecked)
    if around.policy.signed_by:
        message = "whether it is signed, as the operator's file asks, was not looked at"
        unchecked.append(Problem(str(directory), 0, "", message, "Have it signed once it is merged."))
    open_to = {section: read.entries[section] for section in EXPANDED}
    entries = [
        f"{section}.{name}" for section, named in open_to.items() for name, e in named.items() if variables_in(e.data)
    ]
    counts = {section: len(entries) for section, entries in read.entries.items()}
    return Unresolved(tuple(sorted({*problems, *breaches, *unsure})), tuple(sorted(unchecked)), tuple(entries), counts)


def _examine(read: parse.ParsedFiles, around: Surroundings, unchecked: list[Problem] | None = None) -> partial.Examined:
    """Every valid entry, and every problem of the files, of entries and between them.

    With ``unchecked``, no reference is filled in. It receives the values that depend on one, and the checks against
    other entries skip their entries.
    """
    problems, breaches = list(read.problems), list[Problem]()
    made: dict[str, dict[str, Any]] = {section: {} for section in parse.SECTIONS}
    entries: dict[str, dict[str, parse.CatalogueEntry]] = {section: {} for section in parse.SECTIONS}
    alike = Alike()
    for section, named in read.entries.items():
        for name, entry in named.items():
            expanded = _expanded(entry, around, is_open=unchecked is not None)
            model, more = alike.check(partial.closed_up(expanded)) if section == "secrets" else check_entry(expanded)
            problems += expanded.problems + more
            breaches += expanded.breaches
            entries[section][name] = expanded.entry
            if unchecked is not None:
                unchecked += expanded.unchecked
            if model is not None and not expanded.unchecked:
                made[section][name] = model
    breaches += [entries[section][name].problem(*flaw) for section, name, flaw in power.find_flaws(made, around)]
    made |= _spread(made)
    systems = {(kind, name): model.system for kind in ("stores", "targets") for name, model in made[kind].items()}
    sections = ("syncs", "groups", "stores", "rules", "secrets", "consumers", "grants", "hub")
    read_as = {section: made[section] for section in sections} | {"policies": made["access_policies"]}
    world = World(entries, systems, read.complete, **read_as)
    return made, sorted({*problems, *checks.find_conflicts(world)}), breaches


def _expanded(entry: parse.CatalogueEntry, around: Surroundings, *, is_open: bool) -> Expanded:
    if entry.section not in EXPANDED:
        return Expanded(entry)
    allowed = around.policy.allows_variable
    return leave_open(entry, allowed) if is_open else expand(entry, around.env, allowed)
