"""The names of logins, and their rights in the hub."""

from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.rights.rights import Section, merged
from keyturn.core.text.suggest import advice
from keyturn.rights import hub_policies
from keyturn.rights.scope import HubScope

LOGINS: Final = {
    "worker": (hub_policies.WORKER,),
    "revoker": (hub_policies.WORKER, hub_policies.REVOKER),
    "notary": (hub_policies.NOTARY,),
    "monitor": (hub_policies.MONITOR,),
    "numbers": (hub_policies.NUMBERS,),
    "pki": (hub_policies.PKI,),
    "planner": (hub_policies.PLANNER,),
    "auditor": (hub_policies.AUDITOR,),
    "granter": (hub_policies.GRANTER,),
    "backup": (hub_policies.BACKUP_LOGIN,),
    "requester": (hub_policies.REQUESTER,),
    "approver": (hub_policies.APPROVER,),
    "viewer": (hub_policies.VIEWER,),
}
"""The policies of each login."""


def needed(scope: HubScope, role: str) -> list[Section]:
    """Return the rights of a login of ``LOGINS``, or of ``consumer:NAME``. Raises Invalid for any other."""
    name = role.removeprefix(f"{hub_policies.CONSUMER}:")
    if name != role and name in scope.consumers:
        return hub_policies.sections(scope, role)
    if role in LOGINS:
        return list(merged(section for made in LOGINS[role] for section in hub_policies.sections(scope, made)))
    logins = [*LOGINS, *(f"{hub_policies.CONSUMER}:{consumer}" for consumer in scope.consumers)]
    raise Invalid("check", f"the rights of {role}", "no login is called so", advice(role, logins, "Say worker"))
