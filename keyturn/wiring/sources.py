"""A client's sources by their names: the hub, other addresses of it, and stores as the catalogue calls them.

client = open_client(["hub", "https://replica.example:8200", "aws"])

What a name needs is imported when it is opened: the catalogue and an SDK only for a store.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keyturn.client.client import SecretClient
from keyturn.client.offline.port import NOTHING_OFFLINE, Offline
from keyturn.client.policy import RESTRICTED, CachePolicy
from keyturn.client.secrets import NotServed, SecretSource
from keyturn.client.sources import HubSource, StoreSource
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue, Destination

HUB: Final = "hub"
"""The hub of VAULT_ADDR."""
SOURCES_VARIABLE: Final = "KEYTURN_SOURCES"
"""The variable that names the sources, in their order, with commas between."""

Named = str | SecretSource
"""A source, or what it is called: ``hub``, the https address of a replica, or a store's name in the catalogue."""


def source_names(env: Mapping[str, str] = os.environ) -> list[str]:
    """What KEYTURN_SOURCES names; the hub alone where it is not set."""
    names = [name.strip() for name in env.get(SOURCES_VARIABLE, "").split(",")]
    return [name for name in names if name] or [HUB]


def open_client(
    sources: Sequence[Named] | None = None,
    *,
    catalogue: Path | None = None,
    env: Mapping[str, str] = os.environ,
    policies: Mapping[str, CachePolicy] | None = None,
    offline: Offline = NOTHING_OFFLINE,
    **settings: Any,
) -> SecretClient:
    """A client of these sources, or of those that KEYTURN_SOURCES names; ``settings`` are those of SecretClient.

    Sources are opened when it reads first, in each process that it is used in; what is wrong with a name is raised
    here. A secret that the catalogue calls restricted is not given while no source answers, unless ``policies`` say
    otherwise; with ``offline``, so that none is written down, the catalogue of the environment is read in any case.
    """
    if offline is not NOTHING_OFFLINE and catalogue is None and (directory := env.get(CATALOGUE_VARIABLE)):
        catalogue = Path(directory)
    opener = SourceOpener(tuple(source_names(env) if sources is None else sources), catalogue, env)
    own = dict(policies or {})
    declared = {path: policy for path, policy in opener.policies.items() if path not in own}
    return SecretClient(opener, policies={**own, **declared}, offline=offline, **settings)


@dataclass(frozen=True)
class SourceOpener:
    """Opens sources whenever it is called. ``catalogue`` is a directory; KEYTURN_CATALOGUE names another.

    It is read where it is given or a store is named. Raises Invalid for what is wrong with it, and NotFound for a name
    that it does not declare.
    """

    names: tuple[Named, ...]
    catalogue: Path | None = None
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def __post_init__(self) -> None:
        for name in self.names:
            if isinstance(name, str) and not is_hub(name) and self.declared:
                self.declared.members(name)

    @cached_property
    def declared(self) -> "Catalogue | None":
        """The catalogue; None where nothing needs it."""
        stores = [name for name in self.names if isinstance(name, str) and not is_hub(name)]
        if not stores and self.catalogue is None:
            return None
        directory = self.catalogue or self.env.get(CATALOGUE_VARIABLE)
        if not directory:
            hint = f"Name its directory in {CATALOGUE_VARIABLE}"
            raise Invalid(
                "open", f"the source {stores[0]}", "only a catalogue tells what it is, and none is given", hint
            )
        from keyturn.catalogue import load_catalogue

        return load_catalogue(Path(directory), self.env)

    @property
    def policies(self) -> dict[str, CachePolicy]:
        """For how long secrets may be given, by what the catalogue says of them."""
        if self.declared is None:
            return {}
        from keyturn.catalogue import Classification

        secrets = self.declared.secrets.items()
        return {path: RESTRICTED for path, secret in secrets if secret.classification is Classification.RESTRICTED}

    def __call__(self) -> list[SecretSource]:
        """All of them, in their order; a name that stands for several stores is each of them."""
        return [source for name in self.names for source in self._open(name)]

    def _open(self, name: Named) -> list[SecretSource]:
        if not isinstance(name, str):
            return [name]
        if is_hub(name):
            return [self._hub(name)]
        declared = self.declared
        return [self._store(declared, member) for member in declared.members(name)] if declared else []

    def _hub(self, name: str) -> SecretSource:
        from keyturn.providers.vault.hub import VaultHub
        from keyturn.settings.hub import HubSettings

        settings = HubSettings.from_environment(self.env)
        hub = VaultHub(settings if name == HUB else replace(settings, address=name))
        mounts = self.declared.mount_paths if self.declared else {}
        called = HUB if name == HUB else urlsplit(name).netloc.rpartition("@")[2]
        return HubSource(hub.mounted(mounts) if mounts else hub, called)

    def _store(self, catalogue: "Catalogue", name: str) -> SecretSource:
        from keyturn.wiring.registry import open_store

        return StoreSource(open_store(name, catalogue.store(name)), CopyNames(catalogue, name))


@dataclass(frozen=True)
class CopyNames:
    """What copies are called in one store, by their secrets' paths: of those alone that are the whole secret.

    What holds some of the fields, or other texts, or is not kept the same, is no second source of the secret.
    """

    catalogue: "Catalogue"
    store: str

    def __call__(self, path: str) -> str:
        """The copy's name. Raises NotServed where there is no whole copy there."""
        from keyturn.catalogue.spreading import plain_places

        for place in plain_places(self.catalogue, path):
            if place.store == self.store and is_whole(place):
                return place.name
        hint = "Add the store to its destinations in the catalogue"
        raise NotServed("read", path, f"the catalogue declares no whole copy of it in {self.store}", hint)


def is_whole(place: "Destination") -> bool:
    """Whether a copy is the secret as it is, and follows it."""
    from keyturn.catalogue.destinations import Update

    return not (place.merge or place.each_field or place.shape.mark) and place.update is Update.REPLACE


def is_hub(name: str) -> bool:
    """Whether it names the hub, or another address of it."""
    return name == HUB or name.startswith(("https://", "http://"))
