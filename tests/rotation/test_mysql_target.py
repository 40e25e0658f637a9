"""Whole rotations at a MySQL target: a real MariaDB, and a stand-in for what only MySQL 8 has."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.wiring.registry import open_workspace
from local.mariadb import MariaDB
from tests.support.clock import Clock
from tests.support.lab import Lab, fresh
from tests.support.mariadb_lab import ADMIN, MariaDBLab
from tests.support.mysql8 import MySQL8
from tests.support.sender import RecordingSender


@dataclass
class Site:
    """A Keyturn over one fresh secret at one target."""

    workspace: Workspace
    path: str

    def rotate(self) -> None:
        """Once, by force."""
        assert rotate(self.workspace, self.path, Trigger.FORCE).state is RunState.ROTATED

    def current(self) -> SecretFields:
        """What consumers read."""
        found = self.workspace.hub.read(self.path)
        assert found is not None
        return found.fields


def opened(
    lab: Lab, target: dict[str, Any], admin: SecretFields, first: SecretFields, rotation: dict[str, Any]
) -> Site:
    """The secret is in the hub, and so is the admin's credential."""
    name = fresh()
    lab.hub.write_state(f"targets/{name}", admin.reveal(), cas=0)
    lab.hub.write(f"tests/{name}", first, cas=0)
    secret = {
        "path": f"tests/{name}",
        "owner": "tests@example.com",
        "classification": "internal",
        "rotation": {"target": "my", "interval": "30d", "grace": "0s", **rotation},
    }
    given = {"kind": "mysql", "host": "127.0.0.1", "admin": f"targets/{name}", **target}
    catalogue = Catalogue.model_validate({"targets": {"my": given}, "secrets": {secret["path"]: secret}})
    workspace = dataclasses.replace(open_workspace(catalogue, lab.hub), sender=RecordingSender(), clock=Clock())
    return Site(workspace, f"tests/{name}")


@pytest.fixture(scope="module")
def mariadb_lab(mariadb: MariaDB) -> MariaDBLab:
    return MariaDBLab(mariadb)


def test_two_users_of_a_mariadb_take_turns(lab: Lab, mariadb_lab: MariaDBLab) -> None:
    accounts = mariadb_lab.accounts()
    target = {
        "port": mariadb_lab.server.port,
        "database": accounts.database,
        "ca_file": str(mariadb_lab.server.authority),
    }
    rotation = {
        "strategy": "alternating-users",
        "users": (accounts.first, accounts.second),
        "owner_role": accounts.owner,
    }
    site = opened(lab, target, mariadb_lab.admin(), accounts.serving, rotation)
    served = [site.current()]
    for _ in range(3):
        site.rotate()
        served.append(site.current())
        assert all(mariadb_lab.logs_in(fields) for fields in served[-2:])
        assert retire(site.workspace, site.path).retired
        assert [mariadb_lab.logs_in(fields) for fields in served[-2:]] == [False, True]
    names = [fields["username"].reveal() for fields in served]
    assert names == [accounts.first, accounts.second] * 2


@pytest.fixture
def mysql8() -> Iterator[MySQL8]:
    with MySQL8() as server:
        server.create(ADMIN, "admins-own")
        server.create("app", "first-of-all")
        yield server


@pytest.fixture
def site(lab: Lab, mysql8: MySQL8) -> Site:
    admin = SecretFields({"username": ADMIN, "password": "admins-own"})
    first = SecretFields({"username": "app", "password": "first-of-all"})
    rotation = {"strategy": "single-user", "user": "app", "keeps_old_password": True}
    return opened(lab, {"port": mysql8.port, "database": "app", "tls": "disable"}, admin, first, rotation)


def test_one_user_with_two_passwords_is_never_locked_out(site: Site, mysql8: MySQL8) -> None:
    for _ in range(2):
        before = site.current()
        site.rotate()
        assert mysql8.logs_in(before)
        assert mysql8.logs_in(site.current())
        assert retire(site.workspace, site.path).retired
        assert not mysql8.logs_in(before)
        assert mysql8.logs_in(site.current())


def test_one_user_with_two_passwords_can_be_taken_back(site: Site, mysql8: MySQL8) -> None:
    before = site.current()
    site.rotate()
    after, rotation = site.current(), load_record(site.workspace, site.path).rotation
    assert rotation is not None
    rollback(site.workspace, site.path, rotation.token, "the canary is not well")
    assert site.current()["password"] == before["password"]
    assert mysql8.logs_in(before)
    assert mysql8.logs_in(after)
    assert retire(site.workspace, site.path).retired
    assert mysql8.logs_in(before)
    assert not mysql8.logs_in(after)
