"""Who may do what: bearer tokens, and rules as RBAC has them.

Source: "Using RBAC Authorization": rules are added up, a rule without resource names is about all of them, and one
with names allows neither to create, whose name is not known yet, nor to list without a selector of that name.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from local.emulators.kubernetes.messages import Refusal, Request
from local.emulators.rights import Documents

READ: Final = frozenset({"get", "list"})
ALL: Final = "*"


@dataclass(frozen=True)
class Asked:
    """What somebody wants to do; without a ``name`` to all that there are, or to one that is not there yet."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""


@dataclass(frozen=True)
class Rule:
    """What a Role's rule allows, in its own words; ``names`` are empty where it is about every object.

    Without a ``namespace`` it is a ClusterRole's, and holds in each.
    """

    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str] = frozenset()
    namespace: str = ""

    def allows(self, asked: "Asked") -> bool:
        """Whether it allows this, of any object where there is no name."""
        wanted = ((self.verbs, asked.verb), (self.groups, asked.group), (self.resources, asked.resource))
        here = self.namespace in ("", asked.namespace) and (not self.names or asked.name in self.names)
        return here and all(ALL in own or word in own for own, word in wanted)

    def document(self) -> dict[str, list[str]]:
        """As reviews and Roles tell it."""
        own = {"verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources, "resourceNames": self.names}
        return {key: sorted(texts) for key, texts in own.items() if texts}


@dataclass(frozen=True)
class Account:
    """A service account: its token, and the rules of its Roles; None for all that there is."""

    user: str
    token: str = field(repr=False)
    rules: frozenset[Rule] | None = None

    def may(self, asked: Asked) -> bool:
        """Whether its rules allow this."""
        return self.rules is None or any(rule.allows(asked) for rule in self.rules)


def rules(**verbs: Iterable[str]) -> frozenset[Rule]:
    """Rules about all objects, told as ``secrets=("get", "list")``."""
    return frozenset(
        Rule(frozenset({ALL}), frozenset({resource}), frozenset(allowed)) for resource, allowed in verbs.items()
    )


def rules_of(role: Mapping[str, Any]) -> frozenset[Rule]:
    """The rules of a Role, as its document has them."""
    return frozenset(_rule(rule, role["metadata"]["namespace"]) for rule in role["rules"])


def rules_in(documents: Documents) -> frozenset[Rule]:
    """The rules of all Roles among these documents."""
    texts = (text for name, text in documents.items() if name.endswith(".yaml"))
    found = (document for text in texts for document in yaml.safe_load_all(text) if document)
    return frozenset(rule for role in found if role.get("kind") == "Role" for rule in rules_of(role))


def _rule(rule: Mapping[str, Any], namespace: str) -> Rule:
    groups, resources, verbs = (frozenset(rule[key]) for key in ("apiGroups", "resources", "verbs"))
    return Rule(groups, resources, verbs, frozenset(rule.get("resourceNames") or ()), namespace)


def signed_in(accounts: Iterable[Account], request: Request) -> Account:
    """Whose token the request carries. Raises :class:`Refusal` (401) without a known one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    for account in accounts:
        if scheme.lower() == "bearer" and hmac.compare_digest(account.token.encode(), token.strip().encode()):
            return account
    raise Refusal(401, "Unauthorized")


def allow(account: Account, asked: Asked) -> None:
    """Raises :class:`Refusal` (403) where the account's rules lack the verb."""
    if account.may(asked):
        return
    what = f'{asked.resource} "{asked.name}"' if asked.name else asked.resource
    raise Refusal(
        403,
        f'{what} is forbidden: User "{account.user}" cannot {asked.verb} resource "{asked.resource}" '
        f'in API group "{asked.group}" in the namespace "{asked.namespace}"',
        name=asked.name,
        kind=asked.resource,
    )
