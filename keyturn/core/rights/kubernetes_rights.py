"""Rights for a store in Kubernetes: RBAC rules and the Role with them.

Source: "Using RBAC Authorization": names restrict a rule, except for creating objects and for listing them.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from keyturn.core.rights.hcl import comment
from keyturn.core.rights.rights import ANYTHING, CopyRights, Document

CORE: Final = ("",)
APPS: Final = ("apps",)
SECRETS: Final = ("secrets",)
WORKLOADS: Final = ("deployments", "statefulsets", "daemonsets")
WORKER: Final = "${KEYTURN_WORKER}"
REVOKER: Final = "${KEYTURN_REVOKER}"
"""The logins' names there, which no catalogue contains; replaced when the documents are applied."""

ABOUT: Final = (
    "What a Keyturn worker may do with the store's Secrets. {worker} is who it is there, such as"
    " system:serviceaccount:NAMESPACE:NAME: `envsubst < {file} | kubectl apply -f -` fills it in."
)
BESIDES: Final = (
    "Revocation needs only a worker's rights: Kubernetes keeps no old versions. {revoker} is its identity there."
)


@dataclass(frozen=True)
class StoreNamespace:
    """The store's namespace and settings; without ``workloads`` all may be restarted."""

    name: str
    merges: bool = False
    restarts: bool = False
    workloads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Allowed verbs on objects of these kinds, with these names or all."""

    why: str
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def allows(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether it allows this, for any object if there is no name."""
        about = ((self.verbs, verb), (self.groups, group), (self.resources, resource))
        allowed = all(ANYTHING in own or word in own for own, word in about)
        return allowed and (not self.names or name in self.names)


def rules(place: StoreNamespace, copies: CopyRights) -> Iterator[Rule]:
    """Yield all rules that these copies require."""
    if not copies.names:
        return
    named = () if any(ANYTHING in name for name in copies.names) else copies.names
    yield Rule(
        "Create Secrets, and list them by their metadata. RBAC can "
        "restrict neither to names, and anyone who may list can"
        " read every value of the namespace: give Keyturn's Secrets a namespace of their own if that matters.",
        CORE,
        SECRETS,
        ("create", "list"),
    )
    yield Rule(
        "Look at its own and write them; delete and recreate the few whose type has to change.",
        CORE,
        SECRETS,
        ("delete", "get", "patch"),
        named,
    )
    if copies.departed and named:
        verbs = ("delete", "get", "patch") if place.merges else ("delete", "get")
        yield Rule("Delete what the catalogue names no more, whatever it is called.", CORE, SECRETS, verbs)
    if place.restarts:
        yield Rule("Find the workloads that use a Secret, and how far they are.", APPS, WORKLOADS, ("list",))
        yield Rule("Restart them.", APPS, WORKLOADS, ("patch",), place.workloads)


def role_documents(place: StoreNamespace, copies: CopyRights) -> Iterator[Document]:
    """Yield the Role with its RoleBinding for everyday work, and the RoleBinding for revocation."""
    if not (needed := tuple(rules(place, copies))):
        return
    role = copies.file.replace("store-", "keyturn-", 1) if copies.file.startswith("store-") else "keyturn"
    about = ABOUT.format(worker=WORKER, file=f"{copies.file}.yaml")
    head = f"{comment(about)}\n{comment(copies.origin)}\n"
    body = "".join(_rule(rule) for rule in needed)
    yield Document(
        f"{copies.file}.yaml",
        f"{head}{_head('Role', role, place.name)}rules:\n{body}---\n{_binding(role, role, place.name, WORKER)}",
    )
    head = f"{comment(BESIDES.format(revoker=REVOKER))}\n{comment(copies.origin)}\n"
    yield Document(f"{copies.file}-revoker.yaml", head + _binding(f"{role}-revoker", role, place.name, REVOKER))


def _head(kind: str, name: str, namespace: str) -> str:
    metadata = f"metadata:\n  name: {json.dumps(name)}\n  namespace: {json.dumps(namespace)}\n"
    return f"apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}"


def _rule(rule: Rule) -> str:
    lines = [
        *(f"  {line}" for line in comment(rule.why).splitlines()),
        f"  - apiGroups: {_listed(rule.groups)}",
        f"    resources: {_listed(rule.resources)}",
        f"    verbs: {_listed(rule.verbs)}",
        *(["    resourceNames:", *(f"      - {json.dumps(name)}" for name in rule.names)] if rule.names else []),
    ]
    return "\n".join(lines) + "\n"


def _binding(name: str, role: str, namespace: str, user: str) -> str:
    to = f"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {json.dumps(role)}\n"
    who = f"subjects:\n  - apiGroup: rbac.authorization.k8s.io\n    kind: User\n    name: {json.dumps(user)}\n"
    return _head("RoleBinding", name, namespace) + to + who


def _listed(texts: Iterable[str]) -> str:
    return json.dumps(list(texts))
