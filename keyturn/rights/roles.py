"""The names of logins, and their rights in the hub."""

from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.rights.rights import Section, merged
from keyturn.core.text.suggest import advice
from keyturn.rights import hub
from keyturn.rights.scope import HubScope

LOGINS: Final = {
    "worker": (hub.WORKER,),
    "revoker": (hub.WORKER, hub.REVOKER),
    "notary": (hub.NOTARY,),
    "monitor": (hub.MONITOR,),
    "numbers": (hub.NUMBERS,),
    "pki": (hub.PKI,),
    "planner": (hub.PLANNER,),
    "auditor": (hub.AUDITOR,),
    "granter": (hub.GRANTER,),
    "backup": (hub.BACKUP_LOGIN,),
    "requester": (hub.REQUESTER,),
    "approver": (hub.APPROVER,),
    "viewer": (hub.VIEWER,),
}
"""The policies of each login."""


def needed(scope: HubScope, role: str) -> list[Section]:
    """Return the rights of a login of ``LOGINS``, or of ``consumer:NAME``. Raises Invalid for any other."""
    name = role.removeprefix(f"{hub.CONSUMER}:")
    if name != role and name in scope.consumers:
        return hub.sections(scope, role)
    if role in LOGINS:
        return list(merged(section for made in LOGINS[role] for section in hub.sections(scope, made)))
    logins = [*LOGINS, *(f"{hub.CONSUMER}:{consumer}" for consumer in scope.consumers)]
    raise Invalid("check", f"the rights of {role}", "no login is called so", advice(role, logins, "Say worker"))
