"""Who may do what: bearer tokens, and rules as RBAC has them."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from deployments.local.emulators.kubernetes.messages import Refusal, Request

READ: Final = frozenset({"get", "list"})


@dataclass(frozen=True)
class Account:
    """A service account: its token, and the verbs that it has on each resource; None for all of them."""

    user: str
    token: str = field(repr=False)
    rules: frozenset[tuple[str, str]] | None = None

    def may(self, verb: str, resource: str) -> bool:
        """Whether its rules allow this."""
        return self.rules is None or (resource, verb) in self.rules


def rules(**verbs: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The rules of a Role, told as ``secrets=("get", "list")``."""
    return frozenset((resource, verb) for resource, allowed in verbs.items() for verb in allowed)


def signed_in(accounts: Iterable[Account], request: Request) -> Account:
    """Whose token the request carries. Raises :class:`Refusal` (401) without a known one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    for account in accounts:
        if scheme.lower() == "bearer" and hmac.compare_digest(account.token.encode(), token.strip().encode()):
            return account
    raise Refusal(401, "Unauthorized")


def allow(account: Account, verb: str, resource: str, group: str, namespace: str, name: str) -> None:
    """Raises :class:`Refusal` (403) where the account's rules lack the verb."""
    if account.may(verb, resource):
        return
    what = f'{resource} "{name}"' if name else resource
    raise Refusal(
        403,
        f'{what} is forbidden: User "{account.user}" cannot {verb} resource "{resource}" '
        f'in API group "{group}" in the namespace "{namespace}"',
        name=name,
        kind=resource,
    )
