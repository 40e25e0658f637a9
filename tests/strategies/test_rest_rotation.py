"""Whole rotations of keys at a REST API, from the catalogue's files, with the real hub."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from tests.strategies.revoking import revoked
from tests.support.clock import Clock
from tests.support.lab import Lab
from tests.support.rest_api import RestApi, Said

CATALOGUE = """
targets:
  api:
    kind: http-api
    url: "${KEYTURN_API_URL}"
    admin: targets/api/NAME
    headers: { authorization: "Bearer {{admin.token}}" }
    timeout: 5s
secrets:
  tests/NAME/key:
    owner: tests@example.com
    classification: internal
    rotation:
      strategy: http-api-key
      target: api
      interval: 30d
      grace: 0s
      create: { path: /accounts/ml/keys, body: { name: "keyturn {{path}} {{unique}}" } }
      answer: { id: /data/id, key: /data/value }
      test: { path: /whoami, headers: { x-api-key: "{{key}}" } }
      delete: { path: "/accounts/ml/keys/{{id}}" }
      list:
        path: /accounts/ml/keys
        items: /data
        id: /id
        where: { /name: "keyturn {{path}} {{unique}}" }
        last_used: /used
  tests/NAME/scoped:
    owner: tests@example.com
    classification: internal
    rotation:
      strategy: http-api-key
      target: api
      interval: 30d
      grace: 0s
      constants: { scope: "invoices:read invoices:write", account: ml }
      in_emergency: { scope: "invoices:read" }
      create:
        path: "/accounts/{{account}}/keys"
        body: { name: "keyturn {{path}} {{unique}}", scope: "{{scope}}" }
      answer: { id: /data/id, key: /data/value }
      test: { path: /whoami, headers: { x-api-key: "{{key}}" } }
      delete: { path: "/accounts/{{account}}/keys/{{id}}" }
      list:
        path: "/accounts/{{account}}/keys"
        items: /data
        id: /id
        where: { /name: "keyturn {{path}} {{unique}}" }
  tests/NAME/ssh:
    owner: tests@example.com
    classification: internal
    rotation:
      strategy: ssh-key
      target: api
      interval: 30d
      grace: 0s
      create: { path: /users/deployer/ssh, body: { title: "{{path}}", key: "{{public_key}}" } }
      delete: { path: "/users/deployer/ssh/{{id}}" }
      list: { path: /users/deployer/ssh, items: /data, id: /id, public_key: /key }
"""


class Site:
    """One catalogue over one API, and the hub."""

    def __init__(self, lab: Lab, server: RestApi, directory: Path) -> None:
        self.lab = lab
        self.server = server
        self.name = f"t{secrets.token_hex(6)}"
        (directory / "all.yaml").write_text(CATALOGUE.replace("NAME", self.name))
        self.clock = Clock()
        catalogue = load_catalogue(directory, {"KEYTURN_API_URL": server.url})
        self.workspace: Workspace = replace(open_workspace(catalogue, lab.hub), clock=self.clock)

    def admin(self, **fields: str) -> None:
        """Write the admin credential, at first."""
        self.lab.hub.write_state(f"targets/api/{self.name}", fields, cas=0)

    def current(self, secret: str) -> SecretFields:
        found = self.lab.hub.read(f"tests/{self.name}/{secret}")
        assert found is not None
        return found.fields

    def rotate(self, secret: str) -> RunState:
        return rotate(self.workspace, f"tests/{self.name}/{secret}", Trigger.FORCE).state

    def retire(self, secret: str) -> tuple[bool, tuple[str, ...]]:
        retired = retire(self.workspace, f"tests/{self.name}/{secret}", Waive.NOTHING)
        return retired.retired, retired.held_by

    def values(self) -> set[str]:
        """The API keys that work."""
        return {key["value"] for key in self.server.keys.values()}


@pytest.fixture
def server() -> Iterator[RestApi]:
    with RestApi() as serving:
        yield serving


@pytest.fixture
def site(lab: Lab, server: RestApi, tmp_path: Path) -> Site:
    made = Site(lab, server, tmp_path)
    made.admin(token=server.admin_token)
    return made


def test_an_api_key_is_rotated_and_the_old_one_deleted(site: Site) -> None:
    old = ""
    for _ in range(3):
        assert site.rotate("key") is RunState.ROTATED
        new = site.current("key")["key"].reveal()
        assert site.values() == {new, old} - {""}
        site.clock.advance(timedelta(minutes=1))
        site.retire("key")
        assert site.values() == {new}
        old = new


def test_an_ssh_key_is_rotated_and_the_old_one_deleted(site: Site) -> None:
    assert site.rotate("ssh") is RunState.ROTATED
    old = site.current("ssh")["private_key"].reveal()
    assert site.rotate("ssh") is RunState.ROTATED
    new = site.current("ssh")["private_key"].reveal()
    assert (site.server.logs_in(old), site.server.logs_in(new)) == (True, True)
    site.clock.advance(timedelta(minutes=1))
    assert site.retire("ssh") == (True, ())
    assert (site.server.logs_in(old), site.server.logs_in(new)) == (False, True)


@pytest.mark.parametrize("secret", ["key", "ssh"])
def test_keys_that_have_leaked_are_deleted_and_replaced(site: Site, secret: str) -> None:
    """The one that serves, and the one before it, which waits for its end."""
    path = f"tests/{site.name}/{secret}"
    site.rotate(secret)
    site.rotate(secret)
    stands = revoked(site.workspace, path)
    assert (stands.left, stands.open) == ((), False)
    if secret == "key":
        assert site.values() == {site.current("key")["key"].reveal()}
    else:
        assert len(site.server.ssh) == 1
        assert site.server.logs_in(site.current("ssh")["private_key"].reveal())
    assert site.rotate(secret) is RunState.ROTATED


def test_a_key_that_nobody_knows_is_deleted_too_when_the_others_have_leaked(site: Site) -> None:
    site.rotate("key")
    site.server.after["POST"] = lambda said: Said(lost=True)
    with pytest.raises(Unavailable):
        site.rotate("key")
    site.server.after.clear()
    stands = revoked(site.workspace, f"tests/{site.name}/key")
    assert (stands.left, stands.open) == ((), False)
    assert site.values() == {site.current("key")["key"].reveal()}


def test_a_key_that_a_lost_answer_left_is_deleted_by_the_next_run(site: Site) -> None:
    site.rotate("key")
    site.clock.advance(timedelta(minutes=1))
    site.retire("key")
    serving = site.current("key")["key"].reveal()
    site.server.after["POST"] = lambda said: Said(lost=True)
    with pytest.raises(Unavailable):
        site.rotate("key")
    site.server.after.clear()
    assert len(site.values()) == 2
    assert site.rotate("key") is RunState.ROTATED
    assert site.values() == {serving, site.current("key")["key"].reveal()}


def test_a_key_that_is_refused_is_deleted_again_and_current_stays(site: Site) -> None:
    site.rotate("key")
    site.clock.advance(timedelta(minutes=1))
    site.retire("key")
    serving = site.current("key")
    site.server.slow_keys = 1
    assert site.rotate("key") is RunState.ROTATED
    assert serving != site.current("key")
    assert site.values() == {serving["key"].reveal(), site.current("key")["key"].reveal()}


def test_the_admins_missing_field_is_told_with_its_path(lab: Lab, server: RestApi, tmp_path: Path) -> None:
    site = Site(lab, server, tmp_path)
    with pytest.raises(NotFound, match=f"targets/api/{site.name}.*Write token to targets/api/{site.name}"):
        site.rotate("key")
    site.admin(username="someone", password="else")
    with pytest.raises(Invalid, match=f"targets/api/{site.name}: .* lacks a field. Write token"):
        site.rotate("key")


def test_a_revocation_replaces_a_key_by_one_of_the_scope_for_emergencies_until_the_next_rotation(site: Site) -> None:
    def scopes() -> list[str]:
        return [told.json["scope"] for told in site.server.told if told.method == "POST"]

    site.rotate("scoped")
    status = revoked(site.workspace, f"tests/{site.name}/scoped")
    assert not status.open
    assert scopes() == ["invoices:read invoices:write", "invoices:read"]
    assert site.values() == {site.current("scoped")["key"].reveal()}
    assert any("in_emergency" in event.said for secret in status.secrets for event in secret.events)
    site.rotate("scoped")
    assert scopes()[2:] == ["invoices:read invoices:write"]


@pytest.mark.parametrize(
    ("emergency", "why"),
    [
        ("{ scop: x }", "no constant is called scop"),
        ("{ account: other }", "account is used in requests other"),
    ],
)
def test_what_finds_a_key_again_does_not_change_in_an_emergency(tmp_path: Path, emergency: str, why: str) -> None:
    text = CATALOGUE.replace('in_emergency: { scope: "invoices:read" }', f"in_emergency: {emergency}")
    (tmp_path / "all.yaml").write_text(text.replace("NAME", "x"))
    with pytest.raises(Invalid, match=why):
        load_catalogue(tmp_path, {"KEYTURN_API_URL": "http://127.0.0.1:1"})
