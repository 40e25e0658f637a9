"""Stores of External Secrets Operator: recognise the hub, and declare the other stores.

Source: "API specification" of external-secrets.io, v1: the providers vault, openBao, aws, azurekv, gcpsm, kubernetes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.inventory.conversion import Json, text_at
from keyturn.inventory.eso_spec import ANY, Rule, not_converted
from keyturn.inventory.go_templates import NotConverted

VAULTS: Final = ("vault", "openBao")
SAME_CLUSTER: Final = re.compile(r"(https://)?kubernetes\.default(\.svc(\.cluster\.local)?)?(:443)?/?")

OWN_LOGIN: Final[Mapping[str, Rule]] = dict.fromkeys(
    ("auth", "authRef", "authSecretRef", "authType", "serviceAccountRef", "tenantId", "caBundle", "caProvider", "tls"),
    ANY,
)
"""The operator's login and trust settings, which are only listed: Keyturn has its own login."""
SETTINGS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "vault": {
        "server": ANY,
        "namespace": ANY,
        "path": ANY,
        "version": frozenset({"v2"}),
        "readYourWrites": ANY,
        "forwardInconsistent": ANY,
        "headers": ANY,
        "checkAndSet": ANY,
    },
    "openBao": {"server": ANY, "namespace": ANY, "path": ANY, "version": frozenset({"v2"})},
    "aws": {
        "service": frozenset({"SecretsManager", "ParameterStore"}),
        "region": ANY,
        "role": ANY,
        "secretsManager": {"recoveryWindowInDays": ANY, "forceDeleteWithoutRecovery": frozenset({False})},
    },
    "azurekv": {"vaultUrl": ANY, "identityId": ANY, "environmentType": frozenset({"PublicCloud"}), "useAzureSDK": ANY},
    "gcpsm": {"projectID": ANY, "location": ANY, "secretVersionSelectionPolicy": ANY},
    "kubernetes": {"remoteNamespace": ANY, "server": {"url": ANY, "caBundle": ANY, "caProvider": ANY}},
}


@dataclass(frozen=True)
class HubPlace:
    """The hub in this machine's settings; ``mounts`` are further mounts, names by path."""

    mount: str = "secret"
    address: str = ""
    namespace: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EsoStore:
    """A SecretStore or ClusterSecretStore; without ``provider``, its manifest was not given."""

    kind: str
    name: str
    namespace: str = ""
    provider: str = ""
    settings: Json = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def vault(self) -> tuple[str, str]:
        return text_at(self.settings, "server").rstrip("/"), text_at(self.settings, "namespace").strip("/")

    @property
    def problems(self) -> list[str]:
        rule = {**SETTINGS.get(self.provider, {}), **OWN_LOGIN}
        return [f"{self.provider}.{key}" for key in not_converted(self.settings, rule)]

    @property
    def own_login(self) -> list[str]:
        return [key for key in self.settings if key in OWN_LOGIN and self.settings[key]]

    def mount_and_path(self, key: str, default: str) -> tuple[str, str]:
        """Return the mount and path of a key, as the operator builds them."""
        path, mount = key.strip("/"), text_at(self.settings, "path").strip("/")
        if not mount and self.provider in VAULTS:
            mount, sign, inner = path.partition("/data/")
            return (mount, inner) if sign else (path.partition("/")[0], path.partition("/")[2])
        mount = mount or default
        if path.startswith(f"{mount}/"):
            path = path.removeprefix(f"{mount}/").removeprefix("data/")
        return mount, path


def read_store(manifest: Json, namespace: str) -> EsoStore:
    spec = manifest.get("spec")
    provider = spec.get("provider") if isinstance(spec, Mapping) else None
    pairs = list(provider.items()) if isinstance(provider, Mapping) else []
    word, settings = pairs[0] if pairs else ("", {})
    kind, name = text_at(manifest, "kind"), text_at(manifest, "metadata", "name")
    return EsoStore(kind, name, namespace, str(word), settings if isinstance(settings, Mapping) else {})


def insist_on_hub(store: EsoStore, hub: HubPlace, used: Sequence[EsoStore]) -> None:
    """Raises NotConverted for a store in another Vault than the hub; ``used`` are all read stores."""
    if store.problems:
        raise NotConverted(f"its {store.label} has {', '.join(store.problems)}, which is not converted")
    vaults = {other.vault for other in used if other.provider in VAULTS}
    address, namespace = store.vault
    servers = {server for server, _ in vaults}
    if hub.address:
        same = namespace == hub.namespace and (address == hub.address.rstrip("/") or len(servers) == 1)
    else:
        same = len(vaults) == 1
    if not same:
        where = f"the Vault {address}, namespace {namespace or 'root'}"
        raise NotConverted(
            f"it is read from {where}: set VAULT_ADDR{' and VAULT_NAMESPACE' if namespace else ''} to that one "
            f"and run init --from again for it"
        )


def hub_lines(used: Sequence[EsoStore]) -> Iterator[str]:
    for address, namespace in sorted({store.vault for store in used if store.provider in VAULTS}):
        names = sorted({store.name for store in used if store.vault == (address, namespace)})
        yield f"{', '.join(names)}: VAULT_ADDR={address}" + (f" VAULT_NAMESPACE={namespace}" if namespace else "")


def declared_store(store: EsoStore) -> dict[str, Any]:
    settings = store.settings
    if store.provider in VAULTS:
        raise NotConverted("it pushes to a Vault. Where that is the hub, bring the value in: keyturn import")
    if store.provider not in SETTINGS:
        raise NotConverted(f"its {store.label} has the provider {store.provider}, which is no store of Keyturn")
    if store.problems:
        raise NotConverted(f"its {store.label} has {', '.join(store.problems)}, which is not converted")
    match store.provider:
        case "aws":
            return _aws(settings)
        case "azurekv":
            identity = text_at(settings, "identityId")
            address = text_at(settings, "vaultUrl").rstrip("/")
            return {"kind": "azure-key-vault", "vault_url": address} | ({"client_id": identity} if identity else {})
        case "gcpsm":
            location = text_at(settings, "location")
            made = {"kind": "gcp-secret-manager", "project": text_at(settings, "projectID")}
            return made | ({"location": location} if location else {})
        case _:
            return _kubernetes(store)


def _aws(settings: Json) -> dict[str, Any]:
    kind = "aws-parameter-store" if text_at(settings, "service") == "ParameterStore" else "aws-secrets-manager"
    made: dict[str, Any] = {"kind": kind, "region": text_at(settings, "region")}
    if role := text_at(settings, "role"):
        made["role_arn"] = role
    window = (settings.get("secretsManager") or {}).get("recoveryWindowInDays")
    return made | ({"recovery_window": f"{window}d"} if window else {})


def _kubernetes(store: EsoStore) -> dict[str, Any]:
    url = text_at(store.settings, "server", "url")
    if url and not SAME_CLUSTER.fullmatch(url):
        raise NotConverted(
            f"its {store.label} is the cluster {url}: declare it under stores, as {store.name}, with server, ca_file "
            f"and token_file"
        )
    return {"kind": "kubernetes", "namespace": text_at(store.settings, "remoteNamespace") or "default"}
