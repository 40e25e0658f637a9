"""How safely a Key Vault stores copies, from its secrets and from Resource Manager.

Sources: "DeletionRecoveryLevel" in the REST API of Key Vault, "Vaults - Get" in its resource provider's.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from azure.core.credentials import TokenCredential

from keyturn.core.errors import Denied
from keyturn.core.rights.azure_rights import SEE_VAULT
from keyturn.core.rights.posture import Posture, Safety, could_not_look
from keyturn.providers.azure.marks import PURGEABLE
from keyturn.providers.azure.rest import Rest

RECOVERABLE: Final = "Recoverable"
API_VERSION: Final = {"api-version": "2023-07-01"}
OF_VAULT: Final = ("public network access", "roles")
PROTECT: Final = "Switch it on: `az keyvault update --enable-purge-protection true`; it can't be switched off again"
PRIVATE: Final = "Let in private endpoints or named networks alone: `az keyvault update --default-action Deny`"
ROLES: Final = "Change its permission model to Azure RBAC, which can give rights on single secrets"


def deletion_posture(entries: Iterable[Mapping[str, Any]]) -> Iterator[Posture]:
    level = next((str((entry.get("attributes") or {}).get("recoveryLevel") or "") for entry in entries), "")
    if not level:
        yield Posture("purge protection", Safety.UNSEEN, "the vault's secrets show it, and there is none yet")
        return
    recoverable = RECOVERABLE in level
    words = "what is deleted can be recovered" if recoverable else "what is deleted is gone at once"
    remedy = "" if recoverable else "Switch on soft delete: `az keyvault update --enable-soft-delete true`"
    yield Posture("soft delete", Safety.SOUND if recoverable else Safety.WEAK, words, remedy)
    if PURGEABLE in level or not recoverable:
        yield Posture("purge protection", Safety.WEAK, "what is deleted can be purged before its time", PROTECT)
    else:
        yield Posture("purge protection", Safety.SOUND, "deleted entries can't be purged early")


def vault_posture(
    name: str,
    resource_id: str | None,
    management_url: str,
    authority: str | None,
    ca_file: str | None,
    credential: TokenCredential | None,
) -> Iterator[Posture]:
    """Raises Unavailable."""
    if resource_id is None:
        for what in OF_VAULT:
            words = "could not look: the catalogue does not say the vault's resource_id"
            yield Posture(what, Safety.UNSEEN, words, f"Say resource_id on the store, and give the login {SEE_VAULT}")
        return
    permission = f"Give the login {SEE_VAULT} on the vault"
    with closing(
        Rest(name, management_url, authority=authority, ca_file=ca_file, credential=credential, permission=permission)
    ) as rest:
        try:
            vault = rest.call("GET", resource_id.strip("/"), "look at", "the vault", query=API_VERSION)
        except Denied:
            yield from (could_not_look(what, SEE_VAULT) for what in OF_VAULT)
            return
    yield from _of_vault(vault.get("properties") or {})


def _of_vault(properties: Mapping[str, Any]) -> Iterator[Posture]:
    networks = properties.get("networkAcls") or {}
    closed = properties.get("publicNetworkAccess") == "Disabled"
    if closed or networks.get("defaultAction") == "Deny":
        words = "it is switched off" if closed else "named networks alone are let in"
        yield Posture("public network access", Safety.SOUND, words)
    else:
        yield Posture("public network access", Safety.WEAK, "its address answers every network", PRIVATE)
    if properties.get("enableRbacAuthorization"):
        yield Posture("roles", Safety.SOUND, "Azure RBAC says who may do what")
    else:
        yield Posture("roles", Safety.WEAK, "access policies give rights on all of its secrets at once", ROLES)
