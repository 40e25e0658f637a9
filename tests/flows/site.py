"""A catalogue of fresh secrets and the variables that lead to it, as an operator would have them."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.catalogue import load_catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.core.ports.stores import RemoteSecret
from keyturn.core.rotation_record import Record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record as load_record
from keyturn.wiring.registry import open_workspace
from local.environment import LEASE_TOKEN_ROLE
from local.prepare import DATABASE, NOTARY, WORKER
from local.prepare import Hub as PreparedHub
from tests.support.lab import Declared, Lab, fresh, load_whole
from tests.support.places import single
from tests.support.prefect_server import PrefectServer


@dataclass(frozen=True)
class Site:
    """One catalogue; ``variables`` lead a worker to it, ``workspace`` is it opened here, with a login of the tests."""

    name: str
    variables: dict[str, str]
    workspace: Workspace

    def version(self, secret: Declared) -> int:
        """The version that consumers read now."""
        told = self.workspace.hub.describe(secret.path)
        return told.version if told else 0

    def copy(self, secret: Declared, store: str = "aws") -> RemoteSecret:
        """What the store describes as this secret's copy there."""
        found = self.workspace.open_store(store).describe(self.place(secret, store).name)
        assert found is not None
        return found

    def served(self, secret: Declared, store: str = "aws") -> dict[str, Any]:
        """What the store serves."""
        text = self.workspace.open_store(store).read(self.place(secret, store).name).reveal()
        return dict(json.loads(text))

    def place(self, secret: Declared, store: str) -> Destination:
        """The secret's destination in that store."""
        return next(d for d in single(self.workspace.secret(secret.path).destinations) if d.store == store)

    def record(self, secret: Declared) -> Record:
        """The secret's rotation record."""
        return load_whole(self.workspace, secret.path)


@dataclass(frozen=True)
class Architect:
    """Builds sites in one world; ``stores`` and ``consumers`` are those of every site."""

    server: PrefectServer
    lab: Lab
    directory: Path
    stores: dict[str, Any]
    consumers: dict[str, Any]

    def build(
        self,
        *declared: Declared,
        stores: dict[str, Any] | None = None,
        consumers: dict[str, Any] | None = None,
        targets: dict[str, dict[str, Any]] | None = None,
        hub: str | None = None,
        keys: dict[str, Any] | None = None,
        pki: dict[str, Any] | None = None,
        set_up: dict[str, Any] | None = None,
    ) -> Site:
        """Write the catalogue into a directory of its own.

        ``targets`` are the lab's database, with these changes.
        """
        name = f"w{secrets.token_hex(5)}"
        place = self.directory / name
        place.mkdir()
        world = self.lab.world
        pg = {"kind": "postgresql", "host": world.host, "port": world.port, "database": DATABASE, "sslmode": "disable"}
        catalogue = {
            "stores": self.stores | (stores or {}),
            "targets": {
                name: pg | {"admin": self.admin_of(name)} | changes
                for name, changes in {"pg": {}, **(targets or {})}.items()
            },
            "consumers": self.consumers | (consumers or {}),
            "secrets": {one.path: one.data for one in declared},
            "keys": keys or {},
            "pki": pki or {},
            "hub": set_up or {},
        }
        # Through JSON, since safe YAML has no tuples.
        (place / "catalogue.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(catalogue))))
        variables = self.variables(place, hub or world.hub_address)
        if any(key == "directory" or key.endswith("_file") for entry in (stores or {}).values() for key in entry):
            variables[VARIABLE] = os.environ[VARIABLE]  # which lets catalogues use temporary directories
        return Site(name, variables, open_workspace(load_catalogue(place, os.environ), self.lab.hub))

    def admin_of(self, target: str) -> str:
        """Where the lab's admin credential lies for a target of this name."""
        path = f"targets/{target}"
        if self.lab.hub.read_state(path) is None:
            self.lab.hub.write_state(path, self.lab.admin().reveal(), cas=0)
        return path

    def variables(self, catalogue: Path, address: str) -> dict[str, str]:
        """What a worker has, which logs in with an AppRole whose two halves lie in files."""
        role_id, secret_id = self.directory / "role-id", self.directory / "secret-id"
        if not secret_id.exists():
            login = PreparedHub(self.lab.world.hub_address, self.lab.world.hub_token).login_of(WORKER)
            role_id.write_text(login[0])
            secret_id.write_text(login[1])
        return {
            "VAULT_ADDR": address,
            "KEYTURN_CATALOGUE": str(catalogue),
            "KEYTURN_HUB_ROLE_ID_FILE": str(role_id),
            "KEYTURN_HUB_SECRET_ID_FILE": str(secret_id),
            "KEYTURN_HUB_LEASE_TOKEN_ROLE": LEASE_TOKEN_ROLE,
        }


def destination(store: str = "aws") -> dict[str, str]:
    """A place in a store that nobody has used."""
    return {"store": store, "name": fresh()}


def as_notary(lab: Lab, directory: Path, environment: pytest.MonkeyPatch) -> None:
    """Let this process's runs log in to the hub as the notary does, whatever else its environment says."""
    token = lab.root.auth.token.create(policies=[NOTARY])["auth"]["client_token"]
    (directory / "notary.token").write_text(token)
    environment.setenv("KEYTURN_HUB_AUTH", "token")
    environment.setenv("KEYTURN_HUB_TOKEN_FILE", str(directory / "notary.token"))
