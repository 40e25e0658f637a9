"""Entries of a validated catalogue, each made at its first use."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from yaml.nodes import ScalarNode

from keyturn.catalogue.destinations import FieldPattern, SyncSettings
from keyturn.catalogue.files.environment import Expanded, expand
from keyturn.catalogue.files.explain import check_entry
from keyturn.catalogue.files.interning import Alike
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.groups import Groups, spread_places
from keyturn.catalogue.models import Secret, SecretDeclaration, spread_fields
from keyturn.settings.fields import Model

EXPANDED: Final = ("stores", "targets", "consumers", "access_logs", "hub", "keys")

NOWHERE: Final = ScalarNode("", "")
"""The node of an entry that has no file."""


class Secrets(Mapping[str, Secret]):
    """Secrets by path, made from validated plain data. May be shared by threads; can be pickled."""

    def __init__(self, declared: Mapping[str, Any], syncs: Mapping[str, SyncSettings], groups: Groups) -> None:
        self._declared = dict(declared)
        """Plain data not made yet; None for the others, which saves memory."""
        self._syncs = syncs
        self._groups = groups
        self._made: dict[str, Secret] = {}
        self._alike = Alike()

    def __getitem__(self, path: str) -> Secret:
        data = self._declared[path]
        if data is not None:
            declared = cast(SecretDeclaration, _sound(*self._alike.check(Expanded(_entry("secrets", path, data)))))
            self._made[path] = self._alike.share(with_places(path, declared, self._syncs, self._groups))
            self._declared[path] = None
        return self._made[path]

    def __contains__(self, path: object) -> bool:
        return path in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def model_of(section: str, name: str, data: Any, env: Mapping[str, str]) -> Model:
    """The model of one entry. Raises CatalogueInvalid if it is invalid after all."""
    entry = _entry(section, name, data)
    return _sound(*check_entry(expand(entry, env) if section in EXPANDED else Expanded(entry)))


def _entry(section: str, name: str, data: Any) -> CatalogueEntry:
    return CatalogueEntry(section, name, "", 0, lambda *_: NOWHERE, data)


def _sound(model: Model | None, problems: Sequence[Problem]) -> Model:
    if model is None:
        raise CatalogueInvalid("as it was kept", problems)
    return model


def with_places(path: str, declared: SecretDeclaration, syncs: Mapping[str, SyncSettings], groups: Groups) -> Secret:
    about = declared.about
    made = (place for sync in syncs.values() for place in sync.destinations(path, about))
    plain = (place.place if isinstance(place, FieldPattern) else place for place in made)
    places = spread_fields((*spread_places(declared.pushed_to, groups), *plain))
    return Secret.model_construct(**{**dict(declared), "path": path, "pushed_to": places})
