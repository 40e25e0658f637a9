"""Leases of the hub's engines, whichever engine gave them: listing them, and ending them.

Source: "/sys/leases" in the API of Vault and of OpenBao. Listing needs ``list`` and ``sudo`` on sys/leases/lookup.
"""

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.providers.vault_calls import Calls


def leases_below(calls: Calls, prefix: str) -> list[str]:
    """The ids of all leases below a prefix, in its folders too; none is no error."""
    folders, found = [f"{prefix.strip('/')}/"], list[str]()
    while folders:
        folder = folders.pop()
        for name in calls.list(folder, f"sys/leases/lookup/{folder}"):
            (folders if name.endswith("/") else found).append(folder + name)
    return sorted(found)


def revoke_lease(calls: Calls, lease_id: str) -> None:
    """End a lease and what it gave, before this returns. Absent is success. Raises Unavailable where it goes on."""
    try:
        calls.post("revoke", lease_id, "sys/leases/revoke", {"lease_id": lease_id, "sync": True})
    except NotFound:
        return
    except Invalid:
        # Whatever the target answers the engine, or that it does not, comes as this.
        hint = "See the hub's log: the target must answer, and the role's revocation_statements must work"
        raise Unavailable("revoke", lease_id, "the engine could not end what it gave", hint) from None
