"""What no single value shows: names that nothing declares, places claimed twice, times that don't fit together.

Each check is small, takes the plain data of the files, and passes over what has the wrong type (that is
reported elsewhere): so one mistake hides no other.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, get_args

from keyturn.catalogue.connections import System
from keyturn.catalogue.environment import references
from keyturn.catalogue.problems import Path, Problem
from keyturn.catalogue.source import Entry
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.names import LIMITS, illegal_name
from keyturn.core.suggest import advice, likely
from keyturn.settings import durations
from keyturn.settings.fields import NAME, illegal_path, models
from keyturn.strategies.base import StrategySettings
from keyturn.strategies.registry import Rotation

STRATEGIES: Final[Mapping[str, type[StrategySettings]]] = {
    tag: model
    for model in models(Rotation)
    if issubclass(model, StrategySettings)
    for tag in get_args(model.model_fields["strategy"].annotation)
}
TARGET_KINDS: Final = {
    tag for model in models(TargetSettings) for tag in get_args(model.model_fields["kind"].annotation)
}


@dataclass(frozen=True)
class World:
    """All entries, by section and name, and what tells each store and target from the others.

    ``complete`` is False where a file could not be read: then a name may be declared there.
    """

    entries: Mapping[str, Mapping[str, Entry]]
    systems: Mapping[tuple[str, str], System]
    complete: bool

    def system(self, section: str, name: str) -> System:
        """The remote system behind a store or target; one that is broken or undeclared stands for itself."""
        return self.systems.get((section, name), ("", name))

    def kind(self, store: str) -> str | None:
        """A store's kind, even of one that is broken otherwise."""
        entry = self.entries["stores"].get(store)
        kind = _text(entry, "kind") if entry else None
        return kind if kind in LIMITS else None


Found = Iterator[Problem]
Claim = tuple[Any, Entry, Path, str]
"""What is claimed, by whom, where it says so, and what it is called in a message."""


def find(world: World) -> list[Problem]:
    """Everything that is wrong between the entries."""
    secrets = list(world.entries["secrets"].values())
    found = [problem for check in EACH for entry in secrets for problem in check(entry, world)]
    found += [problem for entry in _connections(world) for problem in _legal_label(entry)]
    found += [problem for claims in CLAIMS for problem in _claimed_twice(claims, secrets, world)]
    return found


# --- one secret --------------------------------------------------------------------------------------------


def legal_hub_path(entry: Entry, _: World) -> Found:
    """The name of a secret is a path in the hub."""
    if said := illegal_path(entry.name):
        yield entry.problem((), *said)


def not_below_another(entry: Entry, world: World) -> Found:
    """A path is a secret or a folder, not both: a policy for the one would open the other."""
    parts = entry.name.split("/")
    for above in ("/".join(parts[:count]) for count in range(1, len(parts))):
        if other := world.entries["secrets"].get(above):
            remedy = f"Rename one of the two, {above} is at {other.file}:{other.line}."
            yield entry.problem((), f"this secret lies below the secret {above}", remedy)


def no_references(entry: Entry, _: World) -> Found:
    """What a secret is does not depend on the environment."""
    yield from references(entry)


def known_stores(entry: Entry, world: World) -> Found:
    """Every destination is in a declared store."""
    for index, store, _ in _destinations(entry):
        yield from _declared(entry, ("destinations", index, "store"), "stores", store, world)


def known_target(entry: Entry, world: World) -> Found:
    """The target is declared."""
    if name := _text(entry, "rotation", "target"):
        yield from _declared(entry, ("rotation", "target"), "targets", name, world)


def fitting_target(entry: Entry, world: World) -> Found:
    """The target is of a kind that the strategy works at."""
    name, model = _text(entry, "rotation", "target"), _strategy(entry)
    other = world.entries["targets"].get(name or "")
    kind = _text(other, "kind") if other else None
    if model and kind and kind not in model.targets and kind in TARGET_KINDS:
        strategy, fitting = _text(entry, "rotation", "strategy"), ", ".join(sorted(model.targets))
        said = f"{strategy} does not work at {name}, which is of the kind {kind}"
        yield entry.problem(("rotation", "target"), said, f"Name a target of the kind {fitting}.")


def known_consumers(entry: Entry, world: World) -> Found:
    """Every consumer is declared, and named once."""
    consumers = _at(entry.data, ("consumers",))
    seen: set[str] = set()
    for index, name in enumerate(consumers if isinstance(consumers, list) else ()):
        if not isinstance(name, str):
            continue
        if name in seen:
            yield entry.problem(("consumers", index), f"the consumer {name} is named twice", "Name it once.")
        seen.add(name)
        yield from _declared(entry, ("consumers", index), "consumers", name, world)


def legal_remote_names(entry: Entry, world: World) -> Found:
    """Every destination's name is one that its store allows."""
    for index, store, name in _destinations(entry):
        kind = world.kind(store)
        if kind and name and (said := illegal_name(kind, name)):
            path = ("destinations", index, "name")
            yield entry.problem(path, f"the store {store} refuses this name: {said}", "Rename it.")


def grace_within_interval(entry: Entry, _: World) -> Found:
    """The previous value is gone before the next rotation needs its place."""
    interval, grace = _duration(entry, "interval"), _duration(entry, "grace")
    if interval and grace is not None and grace >= interval:
        said = f"grace ({durations.show(grace)}) is not shorter than the interval ({durations.show(interval)})"
        yield entry.problem(("rotation", "grace"), said, "Shorten grace or lengthen interval: two values live at most.")


def jitter_within_half(entry: Entry, _: World) -> Found:
    """Spreading never doubles the distance between two rotations."""
    interval, jitter = _duration(entry, "interval"), _duration(entry, "jitter")
    if interval and jitter and jitter > interval / 2:
        said = f"jitter ({durations.show(jitter)}) is more than half the interval ({durations.show(interval)})"
        yield entry.problem(("rotation", "jitter"), said, f"Set it to {durations.show(interval / 2)} or less.")


def maximum_age_above_interval(entry: Entry, _: World) -> Found:
    """The alarm sounds for what is late, not for what is on time."""
    interval, limit = _duration(entry, "interval"), _duration(entry, "maximum_age")
    jitter = _duration(entry, "jitter") or timedelta(0)
    if interval and limit and limit <= interval + jitter:
        after = f"interval{' and jitter together' if jitter else ''} ({durations.show(interval + jitter)})"
        said = f"maximum_age ({durations.show(limit)}) is not longer than {after}"
        remedy = "Lengthen it: the alarm would sound for a punctual secret."
        yield entry.problem(("rotation", "maximum_age"), said, remedy)


EACH: Final[tuple[Callable[[Entry, World], Found], ...]] = (
    legal_hub_path,
    not_below_another,
    no_references,
    known_stores,
    known_target,
    fitting_target,
    known_consumers,
    legal_remote_names,
    grace_within_interval,
    jitter_within_half,
    maximum_age_above_interval,
)


def _declared(entry: Entry, path: Path, section: str, name: str, world: World) -> Found:
    known = world.entries[section]
    if name not in known and (world.complete or likely(name, known)):
        remedy = advice(name, known, f"Declare it under {section}.")
        yield entry.problem(path, f"no {section.removesuffix('s')} is called {name}", remedy)


# --- names of stores, targets and consumers ----------------------------------------------------------------


def _connections(world: World) -> list[Entry]:
    return [entry for section in ("stores", "targets", "consumers") for entry in world.entries[section].values()]


def _legal_label(entry: Entry) -> Found:
    if not re.fullmatch(NAME, entry.name):
        remedy = "Use 1 to 63 letters, digits, hyphens and underscores, a letter or digit first."
        yield entry.problem((), "this name can't be used", remedy)


# --- what only one secret may have -------------------------------------------------------------------------


def places(entry: Entry, world: World) -> Iterator[Claim]:
    """Where the secret is pushed to; two stores may be the same system, and some fold case."""
    for index, store, name in _destinations(entry):
        if name:
            limits = LIMITS.get(world.kind(store) or "")
            folded = name.casefold() if limits and limits.folds_case else name
            claimed = ("place", world.system("stores", store), folded)
            yield claimed, entry, ("destinations", index), f"{name} in the store {store}"


def accounts(entry: Entry, world: World) -> Iterator[Claim]:
    """What the secret rotates at its target."""
    target, model = _text(entry, "rotation", "target"), _strategy(entry)
    for key in model.claims if target and model else ():
        value = _at(entry.data, ("rotation", key))
        listed = (
            [((key, index), one) for index, one in enumerate(value)] if isinstance(value, list) else [((key,), value)]
        )
        for path, name in listed:
            if isinstance(name, str) and name:
                claimed = ("account", world.system("targets", target or ""), name)
                yield claimed, entry, ("rotation", *path), f"the account {name} on the target {target}"


def engine_roles(entry: Entry, _: World) -> Iterator[Claim]:
    """The role of the hub's database engine."""
    role, mount = _text(entry, "rotation", "role"), _text(entry, "rotation", "mount") or "database"
    if role:
        yield ("role", mount, role), entry, ("rotation", "role"), f"the role {role} of the engine at {mount}"


CLAIMS: Final = (places, accounts, engine_roles)


def _claimed_twice(claims: Callable[[Entry, World], Iterator[Claim]], secrets: list[Entry], world: World) -> Found:
    first: dict[Any, tuple[Entry, Path]] = {}
    for what, entry, path, called in (claim for secret in secrets for claim in claims(secret, world)):
        if what not in first:
            first[what] = (entry, path)
        elif first[what][0] is not entry or path[0] == "destinations":
            other, there = first[what]
            remedy = f"It belongs to {other.name} ({other.file}:{other.line_of(there)}): name another."
            yield entry.problem(path, f"{called} is taken already", remedy)


# --- reading plain data ------------------------------------------------------------------------------------


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _text(entry: Entry, *path: str) -> str | None:
    said = _at(entry.data, path)
    return said if isinstance(said, str) else None


def _strategy(entry: Entry) -> type[StrategySettings] | None:
    return STRATEGIES.get(_text(entry, "rotation", "strategy") or "")


def _duration(entry: Entry, key: str) -> timedelta | None:
    try:
        return durations.parse(_text(entry, "rotation", key) or "")
    except ValueError:
        return None


def _destinations(entry: Entry) -> Iterator[tuple[int, str, str | None]]:
    listed = _at(entry.data, ("destinations",))
    for index, destination in enumerate(listed if isinstance(listed, list) else ()):
        store, name = _at(destination, ("store",)), _at(destination, ("name",))
        if isinstance(store, str):
            yield index, store, name if isinstance(name, str) else None
