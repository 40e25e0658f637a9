"""People with logins of their own to the hub of the tests, each an entity with a name.

They log in as roles do: to hash a password takes the hub a third of a second.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.context import Workspace
from keyturn.settings.hub import HubSettings
from tests.support.lab import Lab

EVERYTHING = """
path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a login to the hub; ``entity`` is the id that the hub knows them by, ``role`` their AppRole's."""

    lab: Lab
    name: str
    entity: str
    role: str
    secret: str

    def workspace(self, opened: Workspace) -> Workspace:
        """The same workspace, worked with by this person."""
        return replace(opened, hub=self.hub())

    def hub(self) -> VaultHub:
        """The hub, logged in to anew."""
        return hub_with(self.lab, self.token())

    def token(self) -> str:
        """What a new login gives."""
        answer = self.lab.root.auth.approle.login(self.role, self.secret, use_token=False)
        return str(answer["auth"]["client_token"])


def person(lab: Lab, name: str, policies: Sequence[str] = (), rules: str = EVERYTHING) -> Person:
    """A new one, called ``name`` and something that nobody was called before, with ``rules`` and these policies."""
    root, name = lab.root, f"{name}-{secrets.token_hex(3)}"
    if rules:
        root.sys.create_or_update_policy(name, rules)
    root.auth.approle.create_or_update_approle(name, token_policies=[*policies, *([name] if rules else [])])
    role = root.auth.approle.read_role_id(name)["data"]["role_id"]
    secret = root.auth.approle.generate_secret_id(name)["data"]["secret_id"]
    accessor = root.sys.list_auth_methods()["data"]["approle/"]["accessor"]
    entity = root.secrets.identity.create_or_update_entity(name=name)["data"]["id"]
    root.secrets.identity.create_or_update_entity_alias(name=role, canonical_id=entity, mount_accessor=accessor)
    return Person(lab, name, entity, role, secret)


def hub_with(lab: Lab, token: str) -> VaultHub:
    """The hub of the tests, with this token."""
    hub = VaultHub(HubSettings(lab.world.hub_address))
    hub._calls._session._client = hub._calls._session.as_token(token)
    return hub
