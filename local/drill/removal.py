"""Removing all that a drill has made, one kind of thing after another: one that can't be removed stops no other."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import psycopg2
import requests
from hvac.exceptions import InvalidPath, VaultError

from keyturn.catalogue import Catalogue
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.stores import Store
from keyturn.wiring.registry import open_store
from local.drill.accounts import drop_accounts
from local.drill.kept import Kept, files_of
from local.drill.samples import ENGINE
from local.home import Stack
from local.prepare import hub_of

FORESEEN: Final = (psycopg2.Error, VaultError, requests.RequestException, OSError)
MOUNTS: Final = ("secret", "keyturn")


def remove(stack: Stack, record: Kept) -> list[str]:
    """Remove the copies, the accounts, and what the hub has. Absent is success; what is left, in words."""
    removal = Removal(stack, record)
    removal.copies()
    removal.trying("the role of the hub's engine", removal.engine_role)
    removal.trying("accounts in the database", lambda: drop_accounts(stack, record.names.accounts))
    for mount in MOUNTS:
        removal.trying(f"{mount}/{record.names.folder} in the hub", partial(removal.below, mount))
    removal.trying("copies that are files", removal.files)
    return removal.left


@dataclass
class Removal:
    """One removal under way, with the rights of the stack's superusers."""

    stack: Stack
    kept: Kept
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub = hub_of(self.stack).client

    def trying(self, what: str, work: Callable[[], Any]) -> None:
        """Do it; what it raises is noted."""
        try:
            work()
        except KeyturnError as error:
            self.left.append(f"{what}: {error.problem}")
        except FORESEEN as error:
            self.left.append(f"{what}: {type(error).__name__}")

    def copies(self) -> None:
        """Erase every copy, where there is one."""
        catalogue = Catalogue.model_validate({"stores": self.kept.stores})
        for store, name in self.kept.copies:
            self.trying(f"{store}:{name}", partial(self._erase, catalogue, store, name))

    def _erase(self, catalogue: Catalogue, store: str, name: str) -> None:
        opened: Store = open_store(store, catalogue.store(store))
        try:
            self.left += [f"{store}:{name}: {remainder}" for remainder in opened.purge(name)]
        finally:
            opened.close()

    def engine_role(self) -> None:
        """End the leases of the drill's role, which drops their accounts, and the role."""
        role = self.kept.names.role
        self.hub.sys.revoke_prefix(f"{ENGINE}/creds/{role}")
        self.hub.secrets.database.delete_role(role)
        self.hub.secrets.database.delete_static_role(role)

    def below(self, mount: str) -> None:
        """Remove all versions and the metadata of everything in the drill's folder."""
        self._below(mount, self.kept.names.folder)

    def _below(self, mount: str, folder: str) -> None:
        kv = self.hub.secrets.kv.v2
        try:
            names = kv.list_secrets(folder, mount_point=mount)["data"]["keys"]
        except InvalidPath:
            return  # nothing is there
        for name in names:
            if name.endswith("/"):
                self._below(mount, f"{folder}/{name[:-1]}")
            else:
                kv.delete_metadata_and_all_versions(f"{folder}/{name}", mount_point=mount)

    def files(self) -> None:
        """Remove the directory of copies that are files."""
        if (files := files_of(self.stack, self.kept.names)).exists():
            shutil.rmtree(files)
