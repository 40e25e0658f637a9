"""A certificate that somebody has revoked reaches no store."""

import dataclasses
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.local.prepare import POLICIES
from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import Invalid
from keyturn.providers.registry import open_workspace
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.context import Workspace
from keyturn.rotation.run import rotate
from keyturn.rotation.sync import converge
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.pki import Pki
from tests.support.sender import RecordingSender
from tests.support.world import REGION

Opening = Callable[[str], Workspace]


@pytest.fixture
def declared(lab: Lab, tmp_path: Path) -> Declared:
    rotation = {"strategy": "certificate", "role": Pki(lab, tmp_path).role(), "common_name": "www.internal"}
    data = {
        "owner": "tests@example.com",
        "classification": "internal",
        "destinations": [{"store": "memory", "name": "tls"}],
    }
    return Declared(f"tests/{fresh()}", {**data, "rotation": {**rotation, "ttl": "15d", "grace": "1h"}}, {})


@pytest.fixture
def opening(lab: Lab, declared: Declared, tmp_path: Path) -> Iterator[Opening]:
    """A worker's Keyturn, with the rights of this policy."""
    hubs = list[VaultHub]()

    def opened(policy: str) -> Workspace:
        name = f"worker-{secrets.token_hex(4)}"
        lab.root.sys.create_or_update_policy(name, policy)
        file = tmp_path / name
        file.write_text(lab.root.auth.token.create(policies=[name])["auth"]["client_token"])
        hubs.append(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(file)))))
        store = {"kind": "aws-secrets-manager", "region": REGION}
        catalogue = Catalogue.model_validate(catalogue_data(lab.world, (declared,), store, {}))
        workspace = open_workspace(catalogue, hubs[-1])
        memory = MemoryStore("memory")
        return dataclasses.replace(workspace, sender=RecordingSender(), open_store=lambda name: memory)

    yield opened
    for hub in hubs:
        hub.close()


def push(workspace: Workspace, declared: Declared) -> None:
    (destination,) = workspace.catalogue.secrets[declared.path].pushed_to
    assert isinstance(destination, Destination)
    converge(workspace, declared.path, destination)


def test_a_revoked_certificate_is_not_pushed_and_the_remedy_is_named(
    lab: Lab, declared: Declared, opening: Opening
) -> None:
    policy = (POLICIES / "keyturn-worker.hcl").read_text()
    first = opening(policy)
    rotate(first, declared.path)
    push(opening(policy), declared)
    serial = lab.current(declared)["serial"]
    lab.root.write_data("pki/revoke", data={"serial_number": serial})
    with pytest.raises(Invalid, match=f"the certificate {serial} of CURRENT was revoked.*--compromised"):
        push(opening(policy), declared)
