"""An organisation's hub, set up from a catalogue of two projects, and a workspace over it as its administrator."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.rights.hub_setup import HubResource
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.signed_notes import PublicKey
from keyturn.rights.hub_wanted import HubDeclaration, resources
from keyturn.rights.scope import scope_of
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.ledger import configured_ledger, make_checkpoint, public_key
from keyturn.wiring.registry import open_workspace
from tests.hub_setup.site import Empty, applied
from tests.support.lab import LOOSE
from tests.support.memory_store import MemoryStore
from tests.support.sender import RecordingSender

HARVEST, BAKERY = ("harvest/api-key", "harvest/webhook"), ("bakery/api-key",)
PROJECT = "harvest"


def secret(project: str, *consumers: str, **changes: Any) -> dict[str, Any]:
    """One that is generated, with a copy."""
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    return {
        "owner": "shop@example.com",
        "classification": "internal",
        "labels": {"project": project},
        "rotation": rotation,
        "consumers": list(consumers),
        **changes,
    }


def declared(**changes: Any) -> dict[str, Any]:
    """Two projects, each with an application that has a login to the hub."""
    consumers = {
        name: {"url": f"http://127.0.0.1:9/{name}", "signing_key": f"webhooks/{name}"} for name in ("reaper", "baker")
    }
    login = {"kind": "approle", "addresses": ["127.0.0.0/8"]}
    return {
        "stores": {"memory": {"kind": "aws-secrets-manager", "region": "eu-central-1"}},
        "consumers": consumers,
        "hub": {name: {**login, "login": f"consumer:{name}"} for name in consumers},
        "secrets": {
            HARVEST[0]: secret(PROJECT, "reaper", destinations=[{"store": "memory", "name": "harvest"}]),
            HARVEST[1]: secret(PROJECT),
            BAKERY[0]: secret("bakery", "baker"),
        },
        **changes,
    }


def catalogue_of(**changes: Any) -> Catalogue:
    """The same, as it is loaded."""
    data = declared(**changes)
    data["secrets"] = {path: {**entry, "path": path} for path, entry in data["secrets"].items()}
    return Catalogue.model_validate(data)


@dataclass(frozen=True)
class Organisation:
    """Its hub, and a workspace over it whose store is a stand-in."""

    empty: Empty
    workspace: Workspace
    store: MemoryStore
    ledger: StoredLedger

    def checkpoint(self) -> list[PublicKey]:
        """Have the ledger signed; the keys that check it."""
        make_checkpoint(self.workspace.hub, self.ledger, self.workspace.clock)
        return [public_key(self.workspace.hub, self.ledger.origin)]

    def served(self) -> list[str]:
        """The secrets that the hub serves."""
        described = self.workspace.hub.describe_many((*HARVEST, *BAKERY))
        return sorted(path for path, info in described.items() if info.served)

    def there(self, address: str) -> bool:
        """Whether the hub has this."""
        return self.empty.port.look(address) is not None


def needed(catalogue: Catalogue, places: HubPlaces = HubPlaces()) -> tuple[HubResource, ...]:  # noqa: B008  it is frozen
    """What a catalogue needs in its hub."""
    return resources(HubDeclaration.of(catalogue, scope_of(catalogue, places), ""))


@contextmanager
def organisation(empty: Empty, directory: Path, **changes: Any) -> Iterator[Organisation]:
    """One, with a first version of each secret, and copies in sync."""
    catalogue = catalogue_of(**changes)
    applied(empty.port, needed(catalogue))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KEYTURN_LEDGER", str(directory / "ledger.db"))
        store = MemoryStore("memory")
        workspace = replace(
            open_workspace(catalogue, empty.hub),
            open_store=lambda name: store,
            sender=RecordingSender(),
            limits=LOOSE,
            sleep=lambda seconds: None,
        )
        for number, path in enumerate((*HARVEST, *BAKERY)):
            empty.hub.write(path, SecretFields({"value": f"canary-{number}", "host": "shop.example.com"}), cas=0)
        sync_destinations(workspace, HARVEST[0])
        with closing(configured_ledger(os.environ)) as ledger:
            yield Organisation(empty, workspace, store, ledger)
