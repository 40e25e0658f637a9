"""A login replaces its own secret ID, and can't create one that outlives its role."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest

from keyturn.core.errors import Denied, Unavailable
from keyturn.core.own_keys import KeyState, KeyTurn
from keyturn.keys.own_login import SETTLE, key_name, own_login_keys, turn_own_login
from keyturn.providers.vault import own_login as provider
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights.hub_policies import login_policy
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin
from tests.support.clock import Clock
from tests.support.lab import Lab, fresh

HERE, ELSEWHERE = ["127.0.0.0/8"], ["192.0.2.0/24"]
RULES = (Path(__file__).parents[2] / "deployments" / "policies" / "keyturn-worker-login.hcl").read_text()
WORKER = "keyturn-worker"
LIFE = timedelta(days=30)


@dataclass
class Login:
    """A role of the test's own with the rendered policy for it, and the files of its login."""

    lab: Lab
    directory: Path
    role: str
    clock: Clock

    @property
    def file(self) -> Path:
        """With the secret id."""
        return self.directory / "secret-id"

    @property
    def accessors(self) -> list[str]:
        """Of all secret ids that the role has."""
        try:
            return list(self.lab.root.auth.approle.list_secret_id_accessors(self.role)["data"]["keys"])
        except hvac.exceptions.InvalidPath:
            return []

    def deliver(self, **metadata: str) -> str:
        """A person makes a secret id and writes it to the file; its accessor."""
        made = self.lab.root.auth.approle.generate_secret_id(self.role, metadata)["data"]
        self.file.write_text(made["secret_id"])
        self.file.chmod(0o400)
        return str(made["secret_id_accessor"])

    def client(self) -> hvac.Client:
        """Logged in with what is in the files."""
        client = hvac.Client(url=self.lab.world.hub_address)
        client.auth.approle.login((self.directory / "role-id").read_text(), self.file.read_text())
        return client

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """What works with that login."""
        login = AppRoleLogin(str(self.directory / "role-id"), str(self.file))
        with closing(VaultHub(HubSettings(self.lab.world.hub_address, login=login))) as hub:
            opened = self.lab.open(clock=self.clock).workspace
            yield replace(opened, hub=hub)

    def turn(self, **how: Any) -> KeyTurn:
        """One run."""
        with self.workspace() as workspace:
            turned = turn_own_login(workspace, **how)
        assert turned is not None
        return turned


def role_of(lab: Lab, directory: Path, rules: str | None = RULES, **settings: Any) -> Login:
    name, policies = fresh(), ["default"]
    if rules:
        lab.root.sys.create_or_update_policy(name, rules.replace(f"role/{WORKER}", f"role/{name}"))
        policies = [name]
    given = {"secret_id_ttl": "720h", "secret_id_bound_cidrs": HERE, "token_policies": policies, **settings}
    lab.root.auth.approle.create_or_update_approle(name, **given)
    (directory / "role-id").write_text(lab.root.auth.approle.read_role_id(name)["data"]["role_id"])
    return Login(lab, directory, name, Clock())


@pytest.fixture
def login(lab: Lab, tmp_path: Path) -> Login:
    return role_of(lab, tmp_path)


def test_it_is_replaced_and_tested_before_it_expires_and_the_old_one_is_removed(login: Login) -> None:
    first = login.deliver(**{provider.PLACE: "worker-1"})
    in_use = login.turn()
    assert in_use == KeyTurn(key_name(login.role), "in use", next_at=in_use.next_at)
    assert in_use.next_at
    assert abs(in_use.next_at - login.clock.now - LIFE * 2 / 3) < timedelta(minutes=1)
    login.clock.advance(LIFE * 2 / 3 + timedelta(minutes=1))
    old = login.file.read_text()
    assert login.turn().changed
    login.clock.now -= LIFE * 2 / 3
    assert (login.file.read_text() == old, login.file.stat().st_mode & 0o777) == (False, 0o400)
    assert [file.name for file in sorted(login.directory.iterdir())] == ["role-id", "secret-id"]
    assert first in login.accessors
    assert not login.turn().changed
    login.clock.advance(SETTLE + timedelta(minutes=1))
    assert login.turn().did == f"ended {first}, which served before"
    assert len(login.accessors) == 1
    assert first not in login.accessors
    assert login.turn().did == "in use"
    assert login.client().is_authenticated()


def test_a_manually_created_secret_id_is_listed_and_kept(login: Login) -> None:
    first = login.deliver()
    login.turn(forced=True)
    login.clock.advance(SETTLE * 2)
    assert login.turn().did == "in use"
    assert first in login.accessors
    with login.workspace() as workspace:
        (key, *_) = own_login_keys(workspace)
    assert (key.name, key.state) == (key_name(login.role), KeyState.IN_USE)
    assert f"secret_id_accessor={first}" in key.blocked


@pytest.mark.parametrize("fatal", ["client.Calls.prove_login", "own_login.write_own"])
def test_a_killed_replacement_leaves_a_working_login_and_the_next_run_cleans_up(
    login: Login, fatal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login.deliver(**{provider.PLACE: "worker-1"})
    login.turn(forced=True)
    login.clock.advance(SETTLE * 2)
    login.turn()
    (before,) = login.accessors

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(f"keyturn.providers.vault.{fatal}", die)
        with pytest.raises(KeyboardInterrupt):
            login.turn(forced=True)
    assert login.client().is_authenticated()
    assert len(login.accessors) == 2
    login.turn()
    assert login.accessors == [before]


def test_a_file_that_can_not_be_written_leaves_no_second_secret_id(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    (accessor,) = [login.deliver()]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(provider, "write_own", full)
    with login.workspace() as workspace, pytest.raises(Exception, match="No space left on device"):
        turn_own_login(workspace, forced=True)
    assert login.accessors == [accessor]


def test_a_refused_new_secret_id_is_not_saved(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    login.deliver()
    old = login.file.read_text()
    (login.directory / "role-id").chmod(0o600)
    with login.workspace() as workspace:
        assert workspace.hub.identity().role == login.role
        (login.directory / "role-id").write_text("another")
        with pytest.raises(Denied, match="the new login is refused"):
            turn_own_login(workspace, forced=True)
    assert login.file.read_text() == old


def test_a_role_that_is_bound_to_no_addresses_gets_none(lab: Lab, tmp_path: Path) -> None:
    login = role_of(lab, tmp_path, secret_id_bound_cidrs=[])
    login.deliver()
    outcome = login.turn(forced=True)
    assert (outcome.changed, outcome.blocked, "is bound to no addresses" in outcome.did) == (False, True, True)
    assert len(login.accessors) == 1


def test_a_login_without_the_right_says_so_and_fails_nothing(lab: Lab, tmp_path: Path) -> None:
    login = role_of(lab, tmp_path, rules=None)
    login.deliver()
    outcome = login.turn(forced=True)
    assert (outcome.changed, outcome.blocked) == (False, True)
    assert f"{login.role}-login.hcl" in outcome.did


def test_an_unreachable_hub_ends_no_secret_id(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    login.deliver(**{provider.PLACE: "worker-1"})
    login.turn(forced=True)
    login.clock.advance(SETTLE * 2)

    def away(*_: Any) -> None:
        raise Unavailable("list", "the secret ids", "the hub does not answer")

    monkeypatch.setattr("keyturn.providers.vault.client.Calls.list", away)
    with login.workspace() as workspace, pytest.raises(Unavailable):
        turn_own_login(workspace, forced=True)
    assert len(login.accessors) == 2


CIDRS = {"cidr_list": json.dumps(["0.0.0.0/0"])}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("{own}/secret-id", {"ttl": "0"}),
        ("{own}/secret-id", {"num_uses": 0}),
        ("{own}/secret-id", CIDRS),
        ("{own}/secret-id", {"token_bound_cidrs": ["0.0.0.0/0"]}),
        ("{own}/custom-secret-id", {"secret_id": "chosen-by-a-thief"}),
        ("{own}", {"token_policies": ["root"]}),
        ("{own}/secret-id-bound-cidrs", {"secret_id_bound_cidrs": []}),
        ("{own}/secret-id-ttl", {"secret_id_ttl": "0"}),
        ("{own}/token-bound-cidrs", {"token_bound_cidrs": []}),
        ("{own}/role-id", {"role_id": "mine"}),
        ("{own}/policies", {"token_policies": ["root"]}),
        ("auth/approle/role/keyturn-revoker/secret-id", {}),
        ("auth/approle/role/keyturn-revoker/secret-id-accessor/destroy", {"secret_id_accessor": "any"}),
        ("auth/approle/role/keyturn-notary/secret-id", {}),
        ("auth/approle/role/keyturn-notary/custom-secret-id", {"secret_id": "mine"}),
        ("auth/approle/role/mine", {"token_policies": ["root"]}),
    ],
)
def test_a_thief_of_the_login_can_make_itself_no_other_one(login: Login, path: str, body: dict[str, Any]) -> None:
    login.deliver()
    client = login.client()
    with pytest.raises(Forbidden):
        client.adapter.post(f"/v1/{path.format(own=f'auth/approle/role/{login.role}')}", json=body)
    assert len(login.accessors) == 1


def test_a_secret_id_from_a_stolen_token_works_nowhere_else_and_ends_with_the_role(login: Login) -> None:
    login.deliver()
    thief = login.client()
    made = thief.adapter.post(f"/v1/auth/approle/role/{login.role}/secret-id", json={})["data"]
    assert made["secret_id_ttl"] == LIFE.total_seconds()
    with login.workspace() as workspace:
        (key, *_) = own_login_keys(workspace)
    assert made["secret_id_accessor"] in key.blocked
    approle = login.lab.root.auth.approle
    approle.create_or_update_approle(login.role, secret_id_bound_cidrs=ELSEWHERE)
    (login.directory / "secret-id").chmod(0o600)
    login.file.write_text(made["secret_id"])
    with pytest.raises((InvalidRequest, Forbidden)):
        login.client()
    approle.create_or_update_approle(login.role, secret_id_bound_cidrs=HERE)
    assert login.client().is_authenticated()
    approle.delete_role(login.role)
    with pytest.raises(InvalidRequest):
        login.client()


def test_each_login_of_the_stack_can_replace_only_its_own_secret_id(lab: Lab) -> None:
    for role in (WORKER, "keyturn-revoker", "keyturn-notary"):
        settings = lab.root.auth.approle.read_role(role)["data"]
        own = [policy for policy in settings["token_policies"] if policy.endswith("-login")]
        assert own == [login_policy(role)]
        assert (bool(settings["secret_id_bound_cidrs"]), settings["secret_id_ttl"] > 0) == (True, True)
