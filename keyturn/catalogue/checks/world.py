"""The data that the checks read: every entry of the catalogue by section and name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.checks.plain_data import text_at
from keyturn.catalogue.consumers import ConsumerSettings
from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.grant_accounts import GrantAccountSettings
from keyturn.catalogue.groups import Groups
from keyturn.catalogue.models import SecretDeclaration
from keyturn.catalogue.rules import RuleSettings
from keyturn.catalogue.stores import STORE_KINDS, StoreSettings
from keyturn.core.store_limits import Limits
from keyturn.settings.stores import System


@dataclass(frozen=True)
class World:
    """All entries by section and name, and the identity of each store and target.

    ``complete`` is False if a file could not be read: a name may be declared there.
    """

    entries: Mapping[str, Mapping[str, CatalogueEntry]]
    systems: Mapping[tuple[str, str], System]
    complete: bool
    syncs: Mapping[str, SyncSettings] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)
    rules: Mapping[str, RuleSettings] = field(default_factory=dict)
    secrets: Mapping[str, SecretDeclaration] = field(default_factory=dict)
    consumers: Mapping[str, ConsumerSettings] = field(default_factory=dict)
    policies: Mapping[str, AccessPolicySettings] = field(default_factory=dict)
    grants: Mapping[str, GrantAccountSettings] = field(default_factory=dict)
    hub: Mapping[str, Any] = field(default_factory=dict)

    def system(self, section: str, name: str) -> System:
        """The remote system of a store or target; a broken or undeclared entry has its own."""
        return self.systems.get((section, name), ("", name))

    def named(self, section: str) -> list[str]:
        """Every name of the section; for stores, with the members of groups."""
        members = (member for several in self.groups.values() for member in several) if section == "stores" else ()
        return [*self.entries[section], *members]

    def unsound(self, group: str) -> bool:
        """Whether the entry of stores is broken, so that its members are unknown."""
        return group in self.entries["stores"] and group not in self.groups and ("stores", group) not in self.systems

    def kind(self, store: str) -> str | None:
        """A store's kind, even if the entry is otherwise broken; None if unknown."""
        entry = self.entries["stores"].get(store.partition("/")[0])
        kind = text_at(entry, "kind") if entry else None
        return kind if kind in STORE_KINDS else None

    def merges(self, store: str) -> bool:
        """Whether keys can be merged into secrets of the store; True if its kind is unknown."""
        kind = self.kind(store)
        return kind is None or STORE_KINDS[kind].MERGES

    def gives_back(self, store: str) -> bool:
        """Whether the store's values can be read; True if its kind is unknown."""
        if store in self.stores:
            return self.stores[store].readable
        kind = self.kind(store)
        return kind is None or STORE_KINDS[kind].READABLE

    def limits(self, store: str) -> Limits | None:
        """The store's names and sizes; None if its kind is unknown."""
        if store in self.stores:
            return self.stores[store].limits
        kind = self.kind(store)
        return STORE_KINDS[kind].LIMITS if kind else None
