"""A client's sources by name: the hub, its other addresses, and the catalogue's stores.

    client = open_client(["hub", "https://replica.example:8200", "aws"])

Only stores need the catalogue and an SDK.
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
"""The hub at VAULT_ADDR."""
SOURCES_VARIABLE: Final = "KEYTURN_SOURCES"
"""The variable with the source names, in order, separated by commas."""

Named = str | SecretSource
"""A source or its name: ``hub``, a replica's https address, or a store in the catalogue."""


def source_names(env: Mapping[str, str] = os.environ) -> list[str]:
    """The names in KEYTURN_SOURCES; only the hub where it is unset."""
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
    """A client of these sources, or of KEYTURN_SOURCES; ``settings`` go to SecretClient.

    Sources open at the first read in each process; invalid names raise here. While no source answers, restricted
    secrets are not served, unless ``policies`` override that. ``offline`` always reads the environment's catalogue, so
    that none is written down.
    """
    if offline is not NOTHING_OFFLINE and catalogue is None and (directory := env.get(CATALOGUE_VARIABLE)):
        catalogue = Path(directory)
    opener = SourceOpener(tuple(source_names(env) if sources is None else sources), catalogue, env)
    own = dict(policies or {})
    declared = {path: policy for path, policy in opener.policies.items() if path not in own}
    return SecretClient(opener, policies={**own, **declared}, offline=offline, **settings)


@dataclass(frozen=True)
class SourceOpener:
    """Opens sources at each call. ``catalogue`` is a directory, by default KEYTURN_CATALOGUE.

    It is read only where given or needed for a store. Raises Invalid, and NotFound for an undeclared name.
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
        """The catalogue; None where it is not needed."""
        stores = [name for name in self.names if isinstance(name, str) and not is_hub(name)]
        if not stores and self.catalogue is None:
            return None
        directory = self.catalogue or self.env.get(CATALOGUE_VARIABLE)
        if not directory:
            hint = f"Name its directory in {CATALOGUE_VARIABLE}"
            raise Invalid(
                "open", f"the source {stores[0]}", "only a catalogue says what it is, and none is given", hint
            )
        from keyturn.catalogue import load_catalogue

        return load_catalogue(Path(directory), self.env)

    @property
    def policies(self) -> dict[str, CachePolicy]:
        """The cache policies of secrets, by their classification."""
        if self.declared is None:
            return {}
        from keyturn.catalogue import Classification

        secrets = self.declared.secrets.items()
        return {path: RESTRICTED for path, secret in secrets if secret.classification is Classification.RESTRICTED}

    def __call__(self) -> list[SecretSource]:
        """All sources in order. A name of several stores yields each."""
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
    """The names of whole copies in one store, by secret path. Other copies are no second source."""

    catalogue: "Catalogue"
    store: str

    def __call__(self, path: str) -> str:
        """The copy's name. Raises NotServed where there is no whole copy."""
        from keyturn.catalogue.spreading import plain_places

        for place in plain_places(self.catalogue, path):
            if place.store == self.store and is_whole(place):
                return place.name
        hint = "Add the store to its destinations in the catalogue"
        raise NotServed("read", path, f"the catalogue declares no whole copy of it in {self.store}", hint)


def is_whole(place: "Destination") -> bool:
    """Whether a copy is the complete secret and follows its versions."""
    from keyturn.catalogue.destinations import Update

    return not (place.merge or place.each_field or place.shape.mark) and place.update is Update.REPLACE


def is_hub(name: str) -> bool:
    """Whether it names the hub, or another address of it."""
    return name == HUB or name.startswith(("https://", "http://"))
