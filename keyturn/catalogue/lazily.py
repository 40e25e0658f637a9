"""Entries of a catalogue that was found sound before, each made when it is first asked for."""

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, cast

from yaml.nodes import ScalarNode

from keyturn.catalogue.destinations import FieldPattern, SyncSettings
from keyturn.catalogue.environment import Expanded, expand
from keyturn.catalogue.explain import check_entry
from keyturn.catalogue.groups import Groups, spread_places
from keyturn.catalogue.models import Secret, SecretDeclaration, spread_fields
from keyturn.catalogue.problems import CatalogueInvalid
from keyturn.catalogue.source import CatalogueEntry
from keyturn.settings.fields import Model

EXPANDED: Final = ("stores", "targets", "consumers", "access_logs", "hub", "keys")
"""The sections that may refer to the environment."""

NOWHERE: Final = ScalarNode("", "")
"""Where an entry stands that comes from no file."""


class Secrets(Mapping[str, Secret]):
    """Secrets by their path, of plain data that was found sound. Shared by threads; can be pickled."""

    def __init__(self, declared: Mapping[str, Any], syncs: Mapping[str, SyncSettings], groups: Groups) -> None:
        self._declared = dict(declared)
        """What is not made yet; None for the others, whose plain data would only take memory."""
        self._syncs = syncs
        self._groups = groups
        self._made: dict[str, Secret] = {}
        self._alike: dict[Hashable, Any] = {}

    def __getitem__(self, path: str) -> Secret:
        data = self._declared[path]
        if data is not None:
            rotation = json.dumps(data.get("rotation"), sort_keys=True)
            # Made once for all that say the same: it is half of what making a secret takes.
            alike = {**data, "rotation": self._alike[rotation]} if rotation in self._alike else data
            declared = cast(SecretDeclaration, model_of("secrets", path, alike, {}))
            self._alike.setdefault(rotation, declared.rotation)
            self._made[path] = self._sharing(with_places(path, declared, self._syncs, self._groups))
            self._declared[path] = None
        return self._made[path]

    def _sharing(self, made: Secret) -> Secret:
        """The same secret, with what thousands of others say alike kept once: with their rotations it is a third of
        their memory.
        """
        for model in (made, *made.pushed_to):
            names = frozenset(model.model_fields_set)
            object.__setattr__(model, "__pydantic_fields_set__", self._alike.setdefault(names, model.model_fields_set))
        return made

    def __contains__(self, path: object) -> bool:
        return path in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def model_of(section: str, name: str, data: Any, env: Mapping[str, str]) -> Model:
    """The model of one entry. Raises CatalogueInvalid where it is not sound after all."""
    entry = CatalogueEntry(section, name, "", 0, NOWHERE, data)
    expanded = expand(entry, env) if section in EXPANDED else Expanded(entry)
    model, problems = check_entry(expanded)
    if model is None:
        raise CatalogueInvalid("as it was kept", problems)
    return model


def with_places(path: str, declared: SecretDeclaration, syncs: Mapping[str, SyncSettings], groups: Groups) -> Secret:
    """The declared secret with all its places: its own, and those that syncs give it. All of it is checked already."""
    about = declared.about
    made = (place for sync in syncs.values() for place in sync.destinations(path, about))
    plain = (place.place if isinstance(place, FieldPattern) else place for place in made)
    places = spread_fields((*spread_places(declared.pushed_to, groups), *plain))
    return Secret.model_construct(**{**dict(declared), "path": path, "pushed_to": places})
