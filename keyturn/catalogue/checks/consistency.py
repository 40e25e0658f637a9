"""Checks between entries: undeclared names, places claimed twice, times that conflict.

Values of a wrong type, which are reported elsewhere, are skipped. So one mistake hides no other.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from keyturn.catalogue import drills
from keyturn.catalogue.checks import account_names, decoys, times
from keyturn.catalogue.checks import copy_metadata as beside
from keyturn.catalogue.checks import env_file_readers as readers
from keyturn.catalogue.checks import previous_versions as previous
from keyturn.catalogue.checks import rules as rule_checks
from keyturn.catalogue.checks import silent_consumers as unanswered
from keyturn.catalogue.checks.access import find_access_flaws
from keyturn.catalogue.checks.hub import find_hub_problems
from keyturn.catalogue.checks.plain_data import (
    at,
    copy_names,
    describe_secret,
    destinations,
    list_at,
    merged_keys,
    name_templates,
    text_at,
)
from keyturn.catalogue.checks.routes import find_route_problems
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.destinations import EACH as FIELD
from keyturn.catalogue.destinations import Destination, FieldPattern, SyncSettings, Update
from keyturn.catalogue.exceptions import ExceptionSettings
from keyturn.catalogue.files.environment import references
from keyturn.catalogue.files.lazy_entries import EXPANDED
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.catalogue.freezes import illegal_pattern
from keyturn.catalogue.grant_accounts import KINDS as GRANT_KINDS
from keyturn.catalogue.groups import members
from keyturn.catalogue.pki import find_misfits
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.mounts import DEFAULT, EVERY, split
from keyturn.core.text import templates
from keyturn.core.text.path_patterns import apart, covers
from keyturn.core.text.suggest import advice, likely
from keyturn.settings.choices import models
from keyturn.settings.fields import NAME, illegal_secret
from keyturn.settings.stores import System
from keyturn.strategies.base import StrategySettings
from keyturn.strategies.registry import STRATEGIES

SAMPLE: Final = "field"
"""A placeholder for a field's name, where only the secret's value has the names."""
TARGET_KINDS: Final = {
    tag for model in models(TargetSettings) for tag in get_args(model.model_fields["kind"].annotation)
}


KUBERNETES: Final = "kubernetes"

Found = Iterator[Problem]
Claim = tuple[Any, CatalogueEntry, KeyPath, str]
"""The claimed thing, its entry, the path in the entry and the name in messages."""


def _granting_target(entry: CatalogueEntry, world: World) -> Found:
    """Grant accounts need a declared target, of a kind that ends accounts by itself."""
    name = text_at(entry, "target")
    if name is None:
        return
    yield from _declared(entry, ("target",), "targets", name, world)
    other = world.entries["targets"].get(name)
    kind = text_at(other, "kind") if other else None
    if kind and kind not in GRANT_KINDS and kind in TARGET_KINDS:
        message = f"no account ends by itself within a minute of its time at {name}, which is of the kind {kind}"
        remedy = (
            f"Name a target of the kind {', '.join(sorted(GRANT_KINDS))}, or let the hub's engine make it: credential."
        )
        yield entry.problem(("target",), message, remedy)


def _grant(entry: CatalogueEntry, world: World) -> Found:
    if name := text_at(entry, "grant"):
        yield from _declared(entry, ("grant",), "grants", name, world)


# --- one secret --------------------------------------------------------------------------------------------


def legal_hub_path(entry: CatalogueEntry, _: World) -> Found:
    if flaw := illegal_secret(entry.name):
        yield entry.problem((), *flaw)


def known_mount(entry: CatalogueEntry, world: World) -> Found:
    mount, within = split(entry.name)
    if mount == DEFAULT:
        yield entry.problem((), "a secret of the default mount has no name before its path", f"Call it {within}.")
    elif mount:
        yield from _declared(entry, (), "mounts", mount, world)


def not_below_another(entry: CatalogueEntry, world: World) -> Found:
    """A path is a secret or a folder, not both: a policy for one would open the other."""
    parts = entry.name.split("/")
    for above in ("/".join(parts[:count]) for count in range(1, len(parts))):
        if other := world.entries["secrets"].get(above):
            remedy = f"Rename one of the two, {above} is at {other.file}:{other.line}."
            yield entry.problem((), f"this secret is below the secret {above}", remedy)


def known_stores(entry: CatalogueEntry, world: World) -> Found:
    for index, store, _ in destinations(entry):
        yield from _declared(entry, ("destinations", index, "store"), "stores", store, world)


def known_target(entry: CatalogueEntry, world: World) -> Found:
    if name := text_at(entry, "rotation", "target"):
        yield from _declared(entry, ("rotation", "target"), "targets", name, world)


def fitting_target(entry: CatalogueEntry, world: World) -> Found:
    name, model = text_at(entry, "rotation", "target"), _strategy(entry)
    other = world.entries["targets"].get(name or "")
    kind = text_at(other, "kind") if other else None
    if model and model.targets and kind and kind not in model.targets and kind in TARGET_KINDS:
        strategy, fitting = text_at(entry, "rotation", "strategy"), ", ".join(sorted(model.targets))
        message = f"{strategy} does not work at {name}, which is of the kind {kind}"
        yield entry.problem(("rotation", "target"), message, f"Name a target of the kind {fitting}.")
    elif model and model.claims_role and kind in TARGET_KINDS:
        yield from _tried(entry, name or "", is_api=kind == "http-api")


def _tried(entry: CatalogueEntry, name: str, *, is_api: bool) -> Found:
    """What an engine has made is tried by a request at an API, else by a login."""
    test, fields = at(entry.data, ("rotation", "test")), at(entry.data, ("rotation", "shape", "fields"))
    if is_api and test is None:
        message = f"{name} is an API, and the rotation has no request that tries a credential there"
        yield entry.problem(("rotation", "target"), message, "Describe it under test:.")
    elif not is_api and test is not None:
        message = f"a credential is tried at {name} by a login, and not by a request"
        yield entry.problem(("rotation", "test"), message, "Leave test out, or name a target of the kind http-api.")
    elif not is_api and isinstance(fields, dict) and not {"username", "password"} <= fields.keys():
        message = f"a login at {name} needs the fields username and password"
        yield entry.problem(("rotation", "shape", "fields"), message, "Call the engine's fields so, or use an API.")


def known_consumers(entry: CatalogueEntry, world: World) -> Found:
    before: set[str] = set()
    for index, name in enumerate(list_at(entry, "consumers")):
        if not isinstance(name, str):
            continue
        if name in before:
            yield entry.problem(("consumers", index), f"the consumer {name} is named twice", "Name it once.")
        before.add(name)
        yield from _declared(entry, ("consumers", index), "consumers", name, world)


def canary_among_consumers(entry: CatalogueEntry, _: World) -> Found:
    listed = list_at(entry, "consumers")
    for index, name in enumerate(list_at(entry, "rollout", "canary")):
        if isinstance(name, str) and name not in listed:
            path = ("rollout", "canary", index)
            yield entry.problem(
                path,
                f"{name} is not among the secret's consumers",
                advice(name, map(str, listed), "Name it there too."),
            )
    model = _strategy(entry)
    if at(entry.data, ("rollout", "canary")) is not None and model and not model.takes_back:
        message = f"with {text_at(entry, 'rotation', 'strategy')} the previous value can't be put in force again"
        yield entry.problem(("rollout",), message, "Leave rollout out, or use another strategy.")


def legal_remote_names(entry: CatalogueEntry, world: World) -> Found:
    patterns = ((index, store, name.replace(FIELD, SAMPLE)) for index, store, name in name_templates(entry))
    for index, store, name in (*copy_names(entry), *patterns):
        limits = world.limits(store)
        if limits and name and (flaw := limits.refuses_name(name)):
            path = ("destinations", index, "name")
            yield entry.problem(path, f"the store {store} refuses this name: {flaw}", "Rename it.")


def stores_that_can_be_read(entry: CatalogueEntry, world: World) -> Found:
    """Merged keys and added fields need a store whose values can be read."""
    for index, group, _ in destinations(entry):
        place = at(entry.data, ("destinations",))[index]
        for store in members(world.groups, group):
            if merged_keys(entry, index) is not None and not world.merges(store):
                yield entry.problem(("destinations", index, "merge"), *_no_merge(store, world))
            if at(place, ("update",)) == Update.ADD_FIELDS and not world.gives_back(store):
                yield entry.problem(("destinations", index, "update"), *_no_addition(store))


def _no_merge(store: str, world: World) -> tuple[str, str]:
    if world.gives_back(store):
        return f"the store {store} lays no single keys into a secret", "Leave merge out, or choose another store."
    return f"the store {store} gives no value back, so nothing can be merged there", "Leave merge out."


def _no_addition(store: str) -> tuple[str, str]:
    message = f"the store {store} returns no values, so it is unknown which fields a copy lacks there"
    return message, "Say create-only, or leave update out."


def _declared(entry: CatalogueEntry, path: KeyPath, section: str, name: str, world: World) -> Found:
    declared = world.named(section)
    if section == "stores" and world.unsound(name.partition("/")[0]):
        return
    if name not in declared and (world.complete or likely(name, declared)):
        remedy = advice(name, declared, f"Declare it under {section}.")
        yield entry.problem(path, f"no {section.removesuffix('s')} is called {name}", remedy)


# --- names of stores, targets, consumers and freezes -------------------------------------------------------


def _legal_label(entry: CatalogueEntry) -> Found:
    if not re.fullmatch(NAME, entry.name):
        remedy = "Use 1 to 63 letters, digits, hyphens and underscores, a letter or digit first."
        yield entry.problem((), "this name can't be used", remedy)


def _exception(entry: CatalogueEntry, world: World) -> Found:
    try:
        chosen = ExceptionSettings.model_validate(entry.data)
    except ValueError:
        return
    secrets = world.entries["secrets"]
    if world.complete and not any(chosen.covers(path, describe_secret(secret)) for path, secret in secrets.items()):
        yield entry.problem((), "it chooses no secret", "Correct what it asks for, or remove it.")


KEY_PLACES: Final = ("kind", "key", "vault_url", "region", "endpoint_url", "role_arn", "profile")


def _managed_keys(world: World) -> Found:
    first: dict[tuple[str | None, ...], CatalogueEntry] = {}
    for entry in world.entries["keys"].values():
        for index, path in enumerate(list_at(entry, "rewraps")):
            if isinstance(path, str):
                yield from _declared(entry, ("rewraps", index), "secrets", path, world)
        other = first.setdefault(tuple(text_at(entry, key) for key in KEY_PLACES), entry)
        if other is not entry:
            remedy = f"Keep one of the two: {other.name} is at {other.file}:{other.line}."
            yield entry.problem((), f"the key {other.name} is the same key", remedy)


def _freeze(entry: CatalogueEntry, world: World) -> Found:
    yield from _known_mounts(entry, "paths", world)
    secrets = world.entries["secrets"]
    for index, pattern in enumerate(list_at(entry, "paths") if world.complete else ()):
        legal = isinstance(pattern, str) and not illegal_pattern(pattern)
        if legal and not any(covers(pattern, path) for path in secrets):
            yield entry.problem(("paths", index), "there is no secret", advice(pattern, secrets, "Remove it."))


def _sync(entry: CatalogueEntry, world: World) -> Found:
    sync = world.syncs.get(entry.name)
    for index, store in enumerate(list_at(entry, "stores")):
        if isinstance(store, str):
            yield from _declared(entry, ("stores", index), "stores", store, world)
        settings = world.stores.get(members(world.groups, store)[0]) if isinstance(store, str) else None
        if sync and settings and (flaw := beside.refuse_details(sync, settings)):
            yield entry.problem(beside.key(sync), f"the store {store} refuses it: {flaw}", beside.REMEDY)
        for member in members(world.groups, store) if sync and isinstance(store, str) else ():
            if sync and sync.merge and not world.merges(member):
                yield entry.problem(("stores", index), *_no_merge(member, world))
            if sync and sync.update is Update.ADD_FIELDS and not world.gives_back(member):
                yield entry.problem(("stores", index), *_no_addition(member))
    chosen = (
        [
            (secret.name, sync.destinations(secret.name, describe_secret(secret)))
            for secret in world.entries["secrets"].values()
        ]
        if sync
        else []
    )
    if sync and sync.of_declared and world.complete and not any(made for _, made in chosen):
        yield entry.problem((), "it chooses no secret", _nobody(sync, world))
    for path, place in ((path, place) for path, made in chosen for place in made):
        limits, name = (
            world.limits(place.store),
            place.of(SAMPLE).name if isinstance(place, FieldPattern) else place.name,
        )
        if limits and (flaw := limits.refuses_name(name)):
            refusal = f"the store {place.store} refuses the name {name} of {path}: {flaw}"
            yield entry.problem(("name",), refusal, "Change the name, or say a separator.")
            return


def _rule(entry: CatalogueEntry, world: World) -> Found:
    for key in ("only", "never", "always"):
        for index, store in enumerate(list_at(entry, key, "stores")):
            if isinstance(store, str):
                yield from _declared(entry, (key, "stores", index), "stores", store, world)


def _chosen(entry: CatalogueEntry, world: World) -> Found:
    for key in ("paths", "without"):
        yield from _known_mounts(entry, key, world)


def _nobody(sync: SyncSettings, world: World) -> str:
    owners = {describe_secret(secret).owner for secret in world.entries["secrets"].values()} - {""}
    strange = [owner for owner in sync.owners if owner not in owners]
    otherwise = "No declared secret fulfils all that it asks for: correct it, or remove it."
    return advice(strange[0], owners, otherwise) if strange else otherwise


def _known_mounts(entry: CatalogueEntry, key: str, world: World) -> Found:
    for index, pattern in enumerate(list_at(entry, key)):
        mount = apart(pattern)[0] if isinstance(pattern, str) and not illegal_pattern(pattern) else ""
        if mount not in ("", EVERY):
            yield from _declared(entry, (key, index), "mounts", mount, world)


def _mount(entry: CatalogueEntry, world: World) -> Found:
    if entry.name == DEFAULT:
        remedy = "Call it otherwise: secrets of the default mount have no name before their paths."
        yield entry.problem((), f"{DEFAULT} is what the default mount is called", remedy)
    place = text_at(entry, "mount")
    first = next((other for other in world.entries["mounts"].values() if text_at(other, "mount") == place), entry)
    if place and first is not entry:
        remedy = f"The first is at {first.file}:{first.line}: a secret has one name, so remove one of the two."
        yield entry.problem(("mount",), f"it is the mount {first.name} already", remedy)


def _access_log(entry: CatalogueEntry, world: World) -> Found:
    """A log may name only Kubernetes stores: in others it would silently find no copy."""
    for index, name in enumerate(list_at(entry, "stores")):
        if not isinstance(name, str) or not name:
            continue
        yield from _declared(entry, ("stores", index), "stores", name, world)
        if several := world.groups.get(name):
            remedy = f"Name those that are meant, such as {several[0]}."
            yield entry.problem(("stores", index), f"{name} matches several stores", remedy)
        elif (kind := world.kind(name)) and kind != KUBERNETES:
            remedy = "Name stores of kind kubernetes, or leave the key away for all of them."
            yield entry.problem(("stores", index), f"{name} is of kind {kind}, and this is a log of Kubernetes", remedy)


def _own_tags(entry: CatalogueEntry, world: World) -> Found:
    store = world.stores.get(members(world.groups, entry.name)[0])
    if store and (refusal := beside.refuses_own(store)):
        yield entry.problem(("tags",), refusal, beside.REMEDY)


# --- what only one secret may have -------------------------------------------------------------------------


def claimed_places(entry: CatalogueEntry, world: World) -> Iterator[Claim]:
    """Claims the places to which the secret is pushed; two stores may be one system, and some fold case."""
    for path, spot, called, keys in _spots(entry, world):
        if keys is None:
            yield ("place", *spot), entry, path, called
            continue
        yield ("part", *spot, entry.name), entry, path, called
        for key in keys:
            yield ("key", *spot, key), entry, path, f"the key {key} of {called}"


def _spots(
    entry: CatalogueEntry, world: World
) -> Iterator[tuple[KeyPath, tuple[System, str], str, Sequence[str] | None]]:
    """Yields path, identity and name of each place, and the keys of a merged copy."""
    own = (
        (("destinations", index), store, name, merged_keys(entry, index)) for index, store, name in copy_names(entry)
    )
    facts = describe_secret(entry)
    made = (
        ((), destination.store, destination.name, destination.keys if destination.merge else None)
        for sync in world.syncs.values()
        for destination in sync.destinations(entry.name, facts)
        if isinstance(destination, Destination)  # a pattern's names depend on the secret's fields
    )
    spread = ((path, store, name, keys) for path, group, name, keys in own for store in members(world.groups, group))
    for path, store, name, keys in (*spread, *made):
        if name:
            limits = world.limits(store)
            folded = limits.same(name) if limits else name
            yield path, (world.system("stores", store), folded), f"{name} in the store {store}", keys


def _whole_and_merged(secrets: list[CatalogueEntry], world: World) -> Found:
    own = (merged_keys(entry, index) for entry in secrets for index, _, _ in destinations(entry))
    if not any(sync.merge for sync in world.syncs.values()) and all(keys is None for keys in own):
        return
    spots = [(entry, *spot) for entry in secrets for spot in _spots(entry, world)]
    whole = {spot: (entry, path) for entry, path, spot, _, keys in spots if keys is None}
    for entry, path, spot, called, keys in spots:
        if keys is not None and spot in whole:
            other, there = whole[spot]
            remedy = f"{other.name} ({other.file}:{other.line_of(there)}) is pushed there whole: name another."
            yield entry.problem(path, f"{called} is no secret to merge keys into", remedy)


def accounts(entry: CatalogueEntry, world: World) -> Iterator[Claim]:
    target, model = text_at(entry, "rotation", "target"), _strategy(entry)
    for key in model.claims if target and model else ():
        value = at(entry.data, ("rotation", key))
        listed = (
            [((key, index), account) for index, account in enumerate(value)]
            if isinstance(value, list)
            else [((key,), value)]
        )
        for path, name in listed:
            if isinstance(name, str) and name:
                claimed = ("account", world.system("targets", target or ""), name)
                yield claimed, entry, ("rotation", *path), f"the account {name} on the target {target}"


def engine_roles(entry: CatalogueEntry, _: World) -> Iterator[Claim]:
    engine, model = text_at(entry, "rotation", "engine") or "database", _strategy(entry)
    mount = text_at(entry, "rotation", "mount") or engine
    numbers = range(len(list_at(entry, "rotation", "former_roles")))
    paths: list[KeyPath] = [("rotation", "role"), *(("rotation", "former_roles", number) for number in numbers)]
    for path in paths if model and model.claims_role else ():
        role = at(entry.data, path)
        if isinstance(role, str):
            yield ("role", mount, role), entry, path, f"the role {role} of the engine at {mount}"


def regenerated_slots(entry: CatalogueEntry, world: World) -> Iterator[Claim]:
    """Claims the account whose two slots the secret uses: the request that regenerates one, without {{slot}}."""
    target, request = text_at(entry, "rotation", "target"), at(entry.data, ("rotation", "regenerate"))
    constants = at(entry.data, ("rotation", "constants"))
    if target and isinstance(request, dict):
        texts = {"path": entry.name, **(constants if isinstance(constants, dict) else {})}
        filled = templates.fill_all(request, lambda name: str(texts.get(name, f"{{{{{name}}}}}")))
        what = ("slots", world.system("targets", target), json.dumps(filled, sort_keys=True, default=str))
        yield what, entry, ("rotation", "regenerate"), f"the account on the target {target} whose keys it regenerates"


CLAIMS: Final = (claimed_places, accounts, engine_roles, regenerated_slots)


def _lists_of_several(secrets: list[CatalogueEntry], world: World) -> Found:
    """Leftover keys are found in a list, so secrets that share a list must be distinguishable there."""
    lists: dict[Any, list[tuple[CatalogueEntry, list[str]]]] = {}
    for entry in secrets:
        target, path = text_at(entry, "rotation", "target"), text_at(entry, "rotation", "list", "path")
        if target and path and text_at(entry, "rotation", "strategy") == "http-api-key":
            where = at(entry.data, ("rotation", "list", "where"))
            conditions = sorted(f"{key} {value}" for key, value in where.items()) if isinstance(where, dict) else []
            lists.setdefault((world.system("targets", target), path), []).append((entry, conditions))
    for several in lists.values():
        yield from _not_told_apart(several)


def _not_told_apart(several: list[tuple[CatalogueEntry, list[str]]]) -> Found:
    if all("{{path}}" in str(conditions) for _, conditions in several):
        return
    for entry, conditions in several:
        others = (
            other_entry
            for other_entry, theirs in several
            if other_entry is not entry and not _told_apart(conditions, theirs)
        )
        if other := next(others, None):
            message = f"the keys of {other.name} are in this list too, and may be taken for this secret's own"
            remedy = f"Tell them apart by a name with {{{{path}}}}, under where, here and at {other.file}:{other.line}."
            yield entry.problem(("rotation", "list"), message, remedy)


def _told_apart(mine: list[str], theirs: list[str]) -> bool:
    by_path = ["{{path}}" in str(conditions) for conditions in (mine, theirs)]
    return all(by_path) or (bool(mine and theirs) and not any(by_path) and mine != theirs)


def _claimed_twice(
    claims: Callable[[CatalogueEntry, World], Iterator[Claim]], secrets: list[CatalogueEntry], world: World
) -> Found:
    first: dict[Any, tuple[CatalogueEntry, KeyPath]] = {}
    for what, entry, path, called in (claim for secret in secrets for claim in claims(secret, world)):
        if what not in first:
            first[what] = (entry, path)
        elif first[what][0] is not entry or path[:1] in ((), ("destinations",)):
            other, there = first[what]
            remedy = f"It belongs to {other.name} ({other.file}:{other.line_of(there)}): name another."
            yield entry.problem(path, f"{called} is taken already", remedy)


def _strategy(entry: CatalogueEntry) -> type[StrategySettings] | None:
    return STRATEGIES.get(text_at(entry, "rotation", "strategy") or "")


CHECKS: Final[Mapping[str, tuple[Callable[[CatalogueEntry, World], Found], ...]]] = {
    "secrets": (
        legal_hub_path,
        known_mount,
        not_below_another,
        known_stores,
        known_target,
        fitting_target,
        known_consumers,
        canary_among_consumers,
        legal_remote_names,
        stores_that_can_be_read,
        *times.CHECKS,
        *readers.CHECKS,
        *beside.CHECKS,
        *previous.CHECKS,
        *account_names.CHECKS,
        *unanswered.CHECKS,
        *decoys.CHECKS,
        *drills.CHECKS,
        rule_checks.copied_as_the_rules_say,
        rule_checks.replaced_as_the_rules_say,
    ),
    "stores": (_own_tags,),
    "freezes": (_freeze,),
    "syncs": (_chosen, _sync),
    "mounts": (_mount,),
    "rules": (_chosen, _rule),
    "monitors": (_chosen,),
    "access_logs": (_access_log,),
    "exceptions": (_chosen, _exception),
    "access_policies": (_chosen, _grant),
    "grants": (_granting_target,),
    "hub": (find_hub_problems,),
    "routes": (find_route_problems,),
}
"""The checks of each section's entries."""


def find_conflicts(world: World) -> list[Problem]:
    problems: list[Problem] = []
    for section, named in world.entries.items():
        for entry in named.values():
            problems += [problem for check in CHECKS.get(section, ()) for problem in check(entry, world)]
            if section != "secrets":
                problems += _legal_label(entry)
            if section not in EXPANDED:
                problems += references(entry)
    policies, secrets = world.entries["access_policies"], list(world.entries["secrets"].values())
    problems += [policies[name].problem(*flaw) for name, flaw in find_access_flaws(world)]
    problems += find_misfits(world.entries["pki"])
    problems += _managed_keys(world)
    problems += [problem for claims in CLAIMS for problem in _claimed_twice(claims, secrets, world)]
    problems += _lists_of_several(secrets, world)
    problems += _whole_and_merged(secrets, world)
    return problems
