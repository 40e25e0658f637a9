"""What a store in Azure Key Vault needs: data actions, and the role definitions and assignments that give them.

A role can be assigned to one secret, whether or not it is there; listing is about the whole vault. Sources: "Provide
access to Key Vault keys, certificates, and secrets with Azure role-based access control", "Azure custom roles".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Document

SECRETS: Final = "Microsoft.KeyVault/vaults/secrets/"
SEE_VAULT: Final = "Microsoft.KeyVault/vaults/read"
"""How the vault is set, and nothing that lies in it."""
SUBSCRIPTION: Final = "/subscriptions/${AZURE_SUBSCRIPTION}"
GROUP: Final = f"{SUBSCRIPTION}/resourceGroups/${{AZURE_RESOURCE_GROUP}}"
"""Where the vault is no catalogue says: filled in when the documents are applied."""


@dataclass(frozen=True)
class KeyVault:
    """The vault's name, and what is done with a deleted secret that has the name of a new copy: recover, or purge."""

    name: str
    deleted_name: str = "recover"
    described: bool = False
    """Whether Resource Manager is asked how the vault is set."""

    @property
    def scope(self) -> str:
        """Where roles are assigned that are about all of it."""
        return f"{GROUP}/providers/Microsoft.KeyVault/vaults/{self.name}"

    def scopes(self, copies: CopyRights) -> tuple[str, ...]:
        """Where roles on copies are assigned: to each, or to the vault where only the hub tells their names."""
        if any(ANYTHING in name for name in copies.names):
            return (self.scope,)
        return tuple(f"{self.scope}/secrets/{name}" for name in copies.names)


def on_vault(copies: CopyRights) -> tuple[str, ...]:
    """What no scope of a secret can hold."""
    departed = ("delete",) if copies.departed else ()
    return _actions("readMetadata/action", *departed) if copies.names else ()


def on_copies(vault: KeyVault, copies: CopyRights) -> tuple[str, ...]:
    """What is done with each copy, every day. A deleted one is whole by the right to metadata."""
    deleted = ("delete",) if copies.deletes and not copies.departed else ()
    daily = ("getSecret/action", "setSecret/action", "update/action", f"{vault.deleted_name}/action")
    return _actions(*daily, *deleted) if copies.names else ()


def in_emergencies(vault: KeyVault, copies: CopyRights) -> tuple[str, ...]:
    """What whoever revokes needs besides, on each copy."""
    daily = {*on_copies(vault, copies), *on_vault(copies)}
    needed = _actions("delete", "purge/action") if copies.names else ()
    return tuple(action for action in needed if action not in daily)


def key_vault_roles(vault: KeyVault, copies: CopyRights) -> Iterator[Document]:
    """The role definitions, and for each login where they are assigned."""
    own = f" ({copies.file.removeprefix('store-')})" if copies.file.startswith("store-") else ""
    daily = _Role(f"Keyturn copies{own}", "Writes and compares its copies.", on_copies(vault, copies))
    look = (SEE_VAULT,) if vault.described and copies.names else ()
    whole = _Role(f"Keyturn vault{own}", "Lists names and metadata, and no values.", on_vault(copies), look)
    emergency = _Role(
        f"Keyturn revocation{own}",
        "For emergencies, besides both other roles: deletes copies and purges them.",
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
    """The role definition that regenerates keys of storage accounts, and where it is assigned."""
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
    """The role definition that looks at a key and rotates it, and where it is assigned: nothing uses the key."""
    verbs = ("read", "rotate/action", *(("update/action",) if policy else ()))
    role = _Role(f"Keyturn key ({key})", "Looks at a key and rotates it.", tuple(f"{KEYS}{verb}" for verb in verbs))
    yield Document(f"{file}.json", role.text(origin))
    document = {"made": origin, "assignments": role.assigned([f"{vault.scope}/keys/{key}"])}
    yield Document(f"{file}-assignments.json", f"{json.dumps(document, indent=2)}\n")


STORAGE_KEYS: Final = tuple(
    f"Microsoft.Storage/storageAccounts/{action}" for action in ("listkeys/action", "read", "regeneratekey/action")
)
"""What is needed on a storage account whose keys are rotated; whoever revokes needs the same."""


DATA_SENDER: Final = "Azure Service Bus Data Sender"
"""Azure's own role: it sends, and reads nothing."""


def notice_assignment(namespace: str, place: str, file: str, origin: str) -> Iterator[Document]:
    """Where Azure's role that sends is assigned, so that notices go to one queue or topic and nowhere else."""
    scope = f"{GROUP}/providers/Microsoft.ServiceBus/namespaces/{namespace}/{place}"
    document = {"made": origin, "assignments": [{"role": DATA_SENDER, "scope": scope}]}
    yield Document(f"{file}-assignments.json", f"{json.dumps(document, indent=2)}\n")


@dataclass(frozen=True)
class _Role:
    """A custom role, which may do nothing but these data actions, or actions on resources themselves."""

    name: str
    about: str
    actions: tuple[str, ...] = ()
    on_control_plane: tuple[str, ...] = ()

    def text(self, origin: str, scope: str = SUBSCRIPTION) -> str:
        """As ``az role definition create`` reads it."""
        about = {"Name": self.name, "IsCustom": True, "Description": f"{self.about} {origin}"}
        data = {"DataActions": list(self.actions), "NotDataActions": []}
        actions = {"Actions": list(self.on_control_plane), "NotActions": [], **data}
        return f"{json.dumps({**about, **actions, 'AssignableScopes': [scope]}, indent=2)}\n"

    def assigned(self, scopes: Sequence[str]) -> list[dict[str, str]]:
        """Where it is assigned; nowhere where it allows nothing."""
        return (
            [{"role": self.name, "scope": scope} for scope in scopes] if self.actions or self.on_control_plane else []
        )


def _actions(*names: str) -> tuple[str, ...]:
    return tuple(sorted(f"{SECRETS}{name}" for name in names))
