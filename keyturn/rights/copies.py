"""The use of the copies in each store of a catalogue, as far as rights depend on it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from keyturn.catalogue.destinations import EACH, Destination, FieldPattern, SyncSettings
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.stores import StoreSettings
from keyturn.catalogue.stores.aws import AwsParameterStoreSettings, AwsSecretsManagerSettings, Replica
from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.catalogue.stores.gcp import GcpSecretManagerSettings
from keyturn.catalogue.stores.kubernetes import KubernetesSettings
from keyturn.catalogue.stores.vault import VaultSettings
from keyturn.core.mounts import DEFAULT, EVERY
from keyturn.core.rights.rights import ANYTHING, CopyRights, Document
from keyturn.core.text.path_patterns import apart
from keyturn.rights.scope import undeclared_patterns
from keyturn.settings.stores import Deletion, StoreBase


def store_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    for name, settings in catalogue.stores.items():
        yield from settings.rights(copies_in(catalogue, name, settings, origin))


def copies_in(catalogue: Catalogue, store: str, settings: StoreSettings, origin: str) -> CopyRights:
    places = list(_places(catalogue, store))
    names = {name_of(place) for place in places}
    deletions = {settings.deletion, *(place.deletion for place in places)}
    return CopyRights(
        f"store-{store.replace('/', '.')}",
        origin,
        tuple(sorted(names)),
        tuple(sorted({name_of(place) for place in places if place.adopt or place.merge})),
        deletes=Deletion.DELETE in deletions,
        merges=any(place.merge for place in places),
        tags=bool(settings.tags) or any(place.tags for place in places),
        describes=any(place.description for place in places),
        departed=settings.deletion is Deletion.DELETE,
    )


def name_of(place: Destination) -> str:
    return place.name.replace(EACH, ANYTHING) if place.by_pattern else place.name


def _places(catalogue: Catalogue, store: str) -> Iterator[Destination]:
    declared = (place for path in catalogue.secrets for place in catalogue.destinations(path))
    for place in declared:
        if place.store == store:
            yield place.place if isinstance(place, FieldPattern) else place
    for sync in catalogue.syncs.values():
        if store in sync.stores:
            yield from _of_sync(sync, store, undeclared_patterns(catalogue, sync))


def _of_sync(sync: SyncSettings, store: str, patterns: Iterable[str]) -> Iterator[Destination]:
    """Yield the places of undeclared secrets: by the prefix of the pattern, with ``*`` for what only the hub knows."""
    about = {key: getattr(sync, key) for key in ("adopt", "deletion", "tags", "description", "merge")}
    for pattern in patterns:
        mount, within = apart(pattern)
        beginning, wildcard, _ = within.partition("*")
        folder, _, last = within.rpartition("/")
        whole = not wildcard
        name = sync.name.format(
            path=f"{beginning}{wildcard}",
            folder=folder if whole else ANYTHING,
            name=last if whole else ANYTHING,
            mount=ANYTHING if mount == EVERY else mount or DEFAULT,
            field=ANYTHING,
        )
        yield Destination.model_construct(
            store=store, name=name if sync.separator is None else name.replace("/", sync.separator), **about
        )


def _any(kind: type[StoreBase], **settings: Any) -> StoreBase:
    return kind.model_construct(**settings)


_EVERYWHERE: Final = Replica.model_construct(region=ANYTHING)

EVERYTHING: Final = {
    "aws-secrets-manager": _any(AwsSecretsManagerSettings, replicas=(_EVERYWHERE,), kms_key_id=ANYTHING),
    "aws-parameter-store": _any(AwsParameterStoreSettings, kms_key_id=ANYTHING),
    "azure-key-vault": _any(AzureKeyVaultSettings, vault_url="https://VAULT.vault.azure.net", deleted_name="recover"),
    "gcp-secret-manager": _any(GcpSecretManagerSettings, location=None, old_versions="disable"),
    "keyturn-vault-store": _any(VaultSettings, mount="secret"),
    "kubernetes-role": _any(KubernetesSettings, namespace="apps", restart=True),
}
"""The stores whose rights are rendered, with every setting that needs further rights."""


def everything(origin: str) -> Iterator[Document]:
    """Yield documents for stores with copies of any name, without rights to secrets that have no mark of Keyturn."""
    for kind, settings in EVERYTHING.items():
        yield from settings.rights(CopyRights(kind, origin, (ANYTHING,), deletes=True, tags=True, describes=True))
