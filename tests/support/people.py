"""People with logins of their own to the hub of the tests, each an entity with a name.

People log in with a password, and programs as roles do. The hub is given the password's hash, of the least cost that it
takes: by itself it would spend a third of a second on each.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from hvac.exceptions import InvalidRequest

from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from tests.support.lab import Lab

EVERYTHING = """
path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
"""

PEOPLE: Final = "people"
"""Where people log in: auth/people, with the names and passwords of userpass."""
PASSWORD: Final = "keyturn"
HASH: Final = "$2b$05$abcdefghijklmnopqrstuuv4Ioh/rXQhTXfOYQBHbwfJwgdNPU/kG"
"""Of that password, by bcrypt."""


@dataclass(frozen=True)
class Person:
    """Who has a login to the hub; ``entity`` is the id that the hub knows them by, ``role`` their AppRole's.

    Without a role they log in with a password.
    """

    lab: Lab
    name: str
    entity: str
    role: str = ""
    secret: str = ""
    mount: str = PEOPLE

    def workspace(self, opened: Workspace) -> Workspace:
        """The same workspace, worked with by this person."""
        return replace(opened, hub=self.hub())

    def hub(self) -> VaultHub:
        """The hub, logged in to anew."""
        return hub_with(self.lab, self.token())

    def token(self) -> str:
        """What a new login gives."""
        auth = self.lab.root.auth
        if self.role:
            answer = auth.approle.login(self.role, self.secret, use_token=False)
        else:
            answer = auth.userpass.login(self.name, PASSWORD, use_token=False, mount_point=self.mount)
        return str(answer["auth"]["client_token"])


def person(lab: Lab, name: str, policies: Sequence[str] = (), rules: str = EVERYTHING, mount: str = PEOPLE) -> Person:
    """A new person, called ``name`` and something that no one was called before, with ``rules`` and these policies."""
    root, name, granted = lab.root, *named(lab, name, policies, rules)
    with suppress(InvalidRequest):
        root.sys.enable_auth_method("userpass", path=mount)
    body = {"password_hash": HASH, "token_policies": granted}
    root.adapter.post(f"/v1/auth/{mount}/users/{name}", json=body)
    return Person(lab, name, entity_of(lab, name, name, mount), mount=mount)


def program(lab: Lab, name: str, policies: Sequence[str] = (), rules: str = EVERYTHING, entity: str = "") -> Person:
    """A new program: an AppRole with ``rules`` and these policies, of this ``entity`` or one of its own."""
    root, name, granted = lab.root, *named(lab, name, policies, rules)
    root.auth.approle.create_or_update_approle(name, token_policies=granted)
    role = root.auth.approle.read_role_id(name)["data"]["role_id"]
    secret = root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
    return Person(lab, name, entity_of(lab, name, role, "approle", entity), role, secret)


def named(lab: Lab, name: str, policies: Sequence[str], rules: str) -> tuple[str, list[str]]:
    """A name that no one had before, and the policies with those of ``rules``."""
    name = f"{name}-{secrets.token_hex(3)}"
    if rules:
        lab.root.sys.create_or_update_policy(name, rules)
    return name, [*policies, *([name] if rules else [])]


def entity_of(lab: Lab, name: str, alias: str, mount: str, entity: str = "") -> str:
    """The id of the entity that a login is of: a new one, or this."""
    root = lab.root
    accessor = root.sys.list_auth_methods()["data"][f"{mount}/"]["accessor"]
    entity = entity or str(root.secrets.identity.create_or_update_entity(name=name)["data"]["id"])
    root.secrets.identity.create_or_update_entity_alias(name=alias, canonical_id=entity, mount_accessor=accessor)
    return entity


def hub_with(lab: Lab, token: str) -> VaultHub:
    """The hub of the tests, with this token."""
    hub = VaultHub(HubSettings(lab.world.hub_address))
    hub._calls._session._client = hub._calls._session.as_token(token)
    return hub
