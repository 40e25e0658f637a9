"""An empty hub for each test: a namespace of its own of the run's one server, which knows nothing of the others."""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import pytest
from pydantic import TypeAdapter

from keyturn.catalogue.hub_entries import HubEntry
from keyturn.cli.local_stack import FOREIGN
from keyturn.core.rights.hub_setup import HubPlan, HubResource
from keyturn.core.rights.rights import HubPlaces
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.setup import VaultSetup
from keyturn.rights.hub_apply import HubPort, apply_setup
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import read_record
from keyturn.rights.hub_wanted import HubDeclaration, resources
from keyturn.rights.policy_documents import Origin
from keyturn.rights.scope import HubScope, SecretPath
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao

ENTRY: TypeAdapter[Any] = TypeAdapter(HubEntry)
SCOPE = HubScope(HubPlaces(), (SecretPath("secret", "app/*"),))
WORKER = {"keyturn-worker": {"kind": "approle", "login": "worker", "addresses": ["127.0.0.0/8"]}}


@dataclass(frozen=True)
class Empty:
    """A hub in which nothing was set up yet, as its administrator."""

    server: OpenBao
    namespace: str
    hub: VaultHub
    root: hvac.Client
    directory: Path

    @property
    def port(self) -> VaultSetup:
        """What sets it up."""
        return self.hub.setup()

    def as_token(self, token: str) -> VaultHub:
        """The same hub with another login."""
        file = self.directory / secrets.token_hex(4)
        file.write_text(token)
        login = TokenLogin(file=str(file))
        return VaultHub(
            HubSettings(self.server.address, namespace=self.namespace, ca_file=self.server.ca_file, login=login)
        )

    def token(self, *policies: str) -> str:
        """A login with these policies and no others."""
        made = self.root.auth.token.create(policies=list(policies), no_default_policy=True, ttl="1h")
        return str(made["auth"]["client_token"])

    def read(self, address: str) -> dict[str, Any]:
        """What the hub itself tells."""
        data: dict[str, Any] = self.root.read(address)["data"]  # type: ignore[index]
        return data


@contextmanager
def empty_hub(openbao: OpenBao, directory: Path) -> Iterator[Empty]:
    """A new one."""
    namespace = f"hub-{secrets.token_hex(4)}"
    root = hvac.Client(url=openbao.address, token=openbao.root_token, verify=openbao.ca_file or True)
    root.adapter.request("post", f"/v1/sys/namespaces/{namespace}")
    inside = hvac.Client(
        url=openbao.address, token=openbao.root_token, namespace=namespace, verify=openbao.ca_file or True
    )
    file = directory / "root"
    file.write_text(openbao.root_token)
    settings = HubSettings(
        openbao.address, namespace=namespace, ca_file=openbao.ca_file, login=TokenLogin(file=str(file))
    )
    hub = VaultHub(settings)
    try:
        yield Empty(openbao, namespace, hub, inside, directory)
    finally:
        hub.close()


def as_environment(empty: Empty, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead this process to it as its administrator, with the catalogue, home and ledger of ``directory``."""
    for name in [name for name in os.environ if name.startswith(FOREIGN) and not name.startswith("KEYTURN_LEDGER")]:
        if name != "KEYTURN_POLICY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_ADDR", empty.server.address)
    monkeypatch.setenv("VAULT_TOKEN", empty.server.root_token)
    monkeypatch.setenv("VAULT_NAMESPACE", empty.namespace)
    monkeypatch.setenv("VAULT_CACERT", empty.server.ca_file or "")
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(directory / "catalogue"))
    monkeypatch.setenv("KEYTURN_HOME", str(directory / "home"))
    monkeypatch.setenv("KEYTURN_LEDGER", str(directory / "ledger.db"))


def wanted(
    entries: Mapping[str, Mapping[str, Any]], targets: Mapping[str, Any] | None = None, scope: HubScope = SCOPE
) -> tuple[HubResource, ...]:
    """What these entries of `hub:` need, in addition to Keyturn's own."""
    made = {name: ENTRY.validate_python(entry) for name, entry in entries.items()}
    return resources(HubDeclaration(scope, Origin(), made, targets or {}))


def planned(port: HubPort, resources: tuple[HubResource, ...], *overwrite: str) -> HubPlan:
    """What would be done now."""
    return plan_setup(port, resources, read_record(port), overwrite)


def applied(port: HubPort, resources: Sequence[HubResource], *overwrite: str) -> HubPlan:
    """What was done."""
    record = read_record(port)
    plan = plan_setup(port, resources, record, overwrite)
    apply_setup(port, "keyturn", plan, record)
    return plan


def verdicts(plan: HubPlan) -> dict[str, str]:
    """What is not in place, by name."""
    return {item.resource.key: str(item.verdict) for item in plan.items if item.verdict != "in place"}


def generated_key() -> str:
    """A public key in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
