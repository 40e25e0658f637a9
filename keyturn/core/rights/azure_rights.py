"""Rights for a store in Azure Key Vault: data actions, role definitions and assignments.

A role can be assigned to one secret, even before it exists; listing requires the whole vault. Sources: "Provide access
to Key Vault keys, certificates, and secrets with Azure role-based access control", "Azure custom roles".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Document

SECRETS: Final = "Microsoft.KeyVault/vaults/secrets/"
SEE_VAULT: Final = "Microsoft.KeyVault/vaults/read"
"""Reads the vault's settings and none of its content."""
SUBSCRIPTION: Final = "/subscriptions/${AZURE_SUBSCRIPTION}"
GROUP: Final = f"{SUBSCRIPTION}/resourceGroups/${{AZURE_RESOURCE_GROUP}}"
"""The vault's location, which no catalogue contains; filled in with the documents."""


@dataclass(frozen=True)
class KeyVault:
    """The vault's name, and the action on a deleted secret with a new copy's name: recover or purge."""

    name: str
    deleted_name: str = "recover"
    described: bool = False
    """Whether the vault's settings are read through Resource Manager."""

    @property
    def scope(self) -> str:
        """The assignment scope of vault-wide roles."""
        return f"{GROUP}/providers/Microsoft.KeyVault/vaults/{self.name}"

    def scopes(self, copies: CopyRights) -> tuple[str, ...]:
        """The scopes of roles on copies: each copy, or the vault if only the hub knows the names."""
        if any(ANYTHING in name for name in copies.names):
            return (self.scope,)
        return tuple(f"{self.scope}/secrets/{name}" for name in copies.names)


def on_vault(copies: CopyRights) -> tuple[str, ...]:
    """The actions that no single secret's scope can grant."""
    departed = ("delete",) if copies.departed else ()
    return _actions("readMetadata/action", *departed) if copies.names else ()


def on_copies(vault: KeyVault, copies: CopyRights) -> tuple[str, ...]:
    """The everyday actions on each copy. Metadata rights for a deleted copy are vault-wide."""
    deleted = ("delete",) if copies.deletes and not copies.departed else ()
    daily = ("getSecret/action", "setSecret/action", "update/action", f"{vault.deleted_name}/action")
    return _actions(*daily, *deleted) if copies.names else ()


def in_emergencies(vault: KeyVault, copies: CopyRights) -> tuple[str, ...]:
    """The additional actions that revocation requires on each copy."""
    daily = {*on_copies(vault, copies), *on_vault(copies)}
    needed = _actions("delete", "purge/action") if copies.names else ()
    return tuple(action for action in needed if action not in daily)


def key_vault_roles(vault: KeyVault, copies: CopyRights) -> Iterator[Document]:
    """Yield the role definitions, and their assignments for each login."""
    own = f" ({copies.file.removeprefix('store-')})" if copies.file.startswith("store-") else ""
    daily = _Role(f"Keyturn copies{own}", "Writes and compares its copies.", on_copies(vault, copies))
    look = (SEE_VAULT,) if vault.described and copies.names else ()
    whole = _Role(f"Keyturn vault{own}", "Lists names and metadata, and no values.", on_vault(copies), look)
    emergency = _Role(
        f"Keyturn revocation{own}",
        "For emergencies, in addition to both other roles: deletes and purges copies.",
        in_emergencies(vault, copies),
    )
    for part, role in (("", daily), ("-vault", whole), ("-revoker", emergency)):
        if role.actions or role.on_control_plane:
            yield Document(f"{copies.file}{part}.json", role.text(copies.origin))
    both = [*whole.assigned([vault.scope]), *daily.assigned(vault.scopes(copies))]
    for part, assignments in (("", both), ("-revoker", [*both, *emergency.assigned(vault.scopes(copies))])):
        if assignments:
            document = {"made": copies.origin, "assignments": assignments}
            yield Document(f"{copies.file}{part}-assignments.json", f"{json.dumps(document, indent=2)}\n")


def storage_key_roles(subscription: str, accounts: AccountRights) -> Iterator[Document]:
    """Yield the role that regenerates storage account keys, and its assignments."""
    if not accounts.names:
        return
    own = f" ({accounts.file.removeprefix('target-')})" if accounts.file.startswith("target-") else ""
    role = _Role(f"Keyturn storage keys{own}", "Lists and regenerates keys.", on_control_plane=STORAGE_KEYS)
    yield Document(f"{accounts.file}.json", role.text(accounts.origin, f"/subscriptions/{subscription}"))
    group = f"/subscriptions/{subscription}/resourceGroups/${{AZURE_RESOURCE_GROUP}}"
    places = [f"{group}/providers/Microsoft.Storage/storageAccounts/{name}" for name in accounts.names]
    document = {"made": accounts.origin, "assignments": role.assigned(places)}
    yield Document(f"{accounts.file}-assignments.json", f"{json.dumps(document, indent=2)}\n")


KEYS: Final = "Microsoft.KeyVault/vaults/keys/"


def key_roles(vault: KeyVault, key: str, file: str, origin: str, *, policy: bool) -> Iterator[Document]:
    """Yield the role that reads and rotates a key without using it, and its assignment."""
    verbs = ("read", "rotate/action", *(("update/action",) if policy else ()))
    role = _Role(f"Keyturn key ({key})", "Looks at a key and rotates it.", tuple(f"{KEYS}{verb}" for verb in verbs))
    yield Document(f"{file}.json", role.text(origin))
    document = {"made": origin, "assignments": role.assigned([f"{vault.scope}/keys/{key}"])}
    yield Document(f"{file}-assignments.json", f"{json.dumps(document, indent=2)}\n")


STORAGE_KEYS: Final = tuple(
    f"Microsoft.Storage/storageAccounts/{action}" for action in ("listkeys/action", "read", "regeneratekey/action")
)
"""Actions on a storage account whose keys are rotated; revocation requires the same."""


DATA_SENDER: Final = "Azure Service Bus Data Sender"
"""Azure's built-in role: sends, and reads nothing."""


def notice_assignment(namespace: str, place: str, file: str, origin: str) -> Iterator[Document]:
    """Yield the sender role's assignment, limited to one queue or topic."""
    scope = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/{namespace}/{place}"
    document = {"made": origin, "assignments": [{"role": DATA_SENDER, "scope": scope}]}
    yield Document(f"{file}-assignments.json", f"{json.dumps(document, indent=2)}\n")


@dataclass(frozen=True)
class _Role:
    """A custom role limited to these data actions, or actions on resources."""

    name: str
    about: str
    actions: tuple[str, ...] = ()
    on_control_plane: tuple[str, ...] = ()

    def text(self, origin: str, scope: str = SUBSCRIPTION) -> str:
        """The input of ``az role definition create``."""
        about = {"Name": self.name, "IsCustom": True, "Description": f"{self.about} {origin}"}
        data = {"DataActions": list(self.actions), "NotDataActions": []}
        actions = {"Actions": list(self.on_control_plane), "NotActions": [], **data}
        return f"{json.dumps({**about, **actions, 'AssignableScopes': [scope]}, indent=2)}\n"

    def assigned(self, scopes: Sequence[str]) -> list[dict[str, str]]:
        """Return its assignments; empty if it allows nothing."""
        return (
            [{"role": self.name, "scope": scope} for scope in scopes] if self.actions or self.on_control_plane else []
        )


def _actions(*names: str) -> tuple[str, ...]:
    return tuple(sorted(f"{SECRETS}{name}" for name in names))
