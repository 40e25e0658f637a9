"""What is revoked in a drill: a secret of the same strategy, or two database accounts where the stack has no target."""

from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.models import Secret
from keyturn.core.ports.hub import Hub
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import generate
from keyturn.settings.timing import Timing
from keyturn.strategies.database_users import AlternatingUsersSettings, SingleUserSettings
from keyturn.strategies.generated import GeneratedSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRoleSettings
from local.drill import accounts
from local.drill.declared import TARGET, plain
from local.drill.names import Names
from local.home import Stack
from local.prepare import Hub as Superuser
from local.prepare import hub_of

ENGINE: Final = "database"
CONNECTION: Final = "ml"
LASTING: Final = "17520h"
"""Longer than any lease of a drill is needed, and twice the time between two rotations."""

TIMES: Final = {"interval": "30d", "grace": "1h"}


@dataclass(frozen=True)
class Sample:
    """The secret's rotation as the catalogue has it, its first version, and what is otherwise than with the real one.

    ``logs_in`` says that it is a login of the database; else an application compares its values.
    """

    rotation: dict[str, Any]
    first: SecretFields
    logs_in: bool = True
    differs: tuple[str, ...] = ()

    @property
    def strategy(self) -> str:
        """That of the drill's secret."""
        return str(self.rotation["strategy"])


@dataclass(frozen=True)
class Maker:
    """Makes the sample with accounts and roles of its own. ``hub`` is asked for leases, as Keyturn would."""

    stack: Stack
    hub: Hub
    names: Names

    def sample(self, secret: Secret) -> Sample:
        """One like the real secret, of which nothing but its declaration is looked at."""
        rotation = secret.rotation
        match rotation:
            case AlternatingUsersSettings():
                return self._alternating(like(rotation))
            case SingleUserSettings(keeps_old_password=False):
                return self._single(like(rotation))
            case VaultDynamicSettings():
                return self._dynamic(like(rotation))
            case VaultStaticRoleSettings():
                return self._static(like(rotation))
            case GeneratedSettings():
                made = {name: generate(policy) for name, policy in rotation.policies.items()}
                return Sample(like(rotation), SecretFields(made), logs_in=False)
            case _:
                return self._in_place_of(rotation.strategy)

    def _alternating(self, rotation: dict[str, Any], differs: tuple[str, ...] = ()) -> Sample:
        prefix, owner = self.names.accounts, self._owner()
        users = [f"{prefix}a", f"{prefix}b"]
        declared = {**rotation, "target": TARGET, "users": users, "owner_role": owner}
        return Sample(declared, accounts.make_user(self.stack, prefix, owner), differs=differs)

    def _single(self, rotation: dict[str, Any]) -> Sample:
        first = accounts.make_user(self.stack, self.names.accounts, self._owner())
        return Sample({**rotation, "target": TARGET, "user": first["username"].reveal()}, first)

    def _dynamic(self, rotation: dict[str, Any]) -> Sample:
        role, owner = self.names.role, self._owner()
        self._superuser.client.secrets.database.create_role(
            name=role,
            db_name=CONNECTION,
            creation_statements=[
                "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
                f'GRANT {owner} TO "{{{{name}}}}"',
                f'ALTER ROLE "{{{{name}}}}" SET role = {owner}',
            ],
            revocation_statements=['DROP ROLE IF EXISTS "{{name}}"'],
            default_ttl="768h",
            max_ttl="768h",
        )
        lease = self.hub.database(ENGINE).issue(role)
        first = lease.fields.merged({"lease_id": lease.lease_id, **accounts.address(self.stack)})
        return Sample({**rotation, "target": TARGET, "mount": ENGINE, "role": role, "interval": "7d"}, first)

    def _static(self, rotation: dict[str, Any]) -> Sample:
        role, made = self.names.role, accounts.make_user(self.stack, self.names.accounts, self._owner())
        settings = {"db_name": CONNECTION, "username": made["username"].reveal(), "rotation_period": LASTING}
        self._superuser.client.write_data(f"{ENGINE}/static-roles/{role}", data=settings)
        first = made.merged(self.hub.database(ENGINE).static_credential(role))
        return Sample({**rotation, "target": TARGET, "mount": ENGINE, "role": role}, first)

    def _in_place_of(self, strategy: str) -> Sample:
        remark = f"{strategy} is not drilled itself: two accounts of the local stack's database took its place"
        return self._alternating({"strategy": "alternating-users", **TIMES}, (remark,))

    def _owner(self) -> str:
        return accounts.make_owner(self.stack, self.names.accounts)

    @property
    def _superuser(self) -> Superuser:
        return hub_of(self.stack)


def like(rotation: Timing) -> dict[str, Any]:
    """The real secret's rotation, with times that let nothing happen by itself while the drill lasts."""
    settings = {name: value for name, value in plain(rotation).items() if name not in Timing.model_fields}
    return {**settings, **TIMES}
