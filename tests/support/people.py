"""People with logins of their own to the hub of the tests, each an entity with a name."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.login import HubSettings
from keyturn.rotation.context import Workspace
from tests.support.lab import Lab

EVERYTHING = """
path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
"""


@dataclass(frozen=True)
class Person:
    """Somebody who logs in to the hub by name and password; ``entity`` is the id that the hub knows them by."""

    lab: Lab
    name: str
    entity: str
    password: str

    def workspace(self, opened: Workspace) -> Workspace:
        """The same workspace, worked with by this person."""
        return replace(opened, hub=self.hub())

    def hub(self) -> VaultHub:
        """The hub, logged in to anew."""
        answer = self.lab.root.auth.userpass.login(self.name, self.password, use_token=False)
        return hub_with(self.lab, answer["auth"]["client_token"])


def person(lab: Lab, name: str, policies: Sequence[str] = (), rules: str = EVERYTHING) -> Person:
    """A new one, called ``name`` and something that nobody was called before, with ``rules`` and these policies."""
    root, name = lab.root, f"{name}-{secrets.token_hex(3)}"
    if "userpass/" not in root.sys.list_auth_methods()["data"]:
        root.sys.enable_auth_method("userpass")
    if rules:
        root.sys.create_or_update_policy(name, rules)
    password = secrets.token_urlsafe(16)
    given = [*policies, *([name] if rules else [])]
    root.auth.userpass.create_or_update_user(name, password, token_policies=given)
    accessor = root.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
    entity = root.secrets.identity.create_or_update_entity(name=name)["data"]["id"]
    root.secrets.identity.create_or_update_entity_alias(name=name, canonical_id=entity, mount_accessor=accessor)
    return Person(lab, name, entity, password)


def hub_with(lab: Lab, token: str) -> VaultHub:
    """The hub of the tests, with this token."""
    hub = VaultHub(HubSettings(lab.world.hub_address, token_env="KEYTURN_TEST_NO_TOKEN"))
    hub._calls._session._token = lambda: token  # type: ignore[method-assign]
    return hub
