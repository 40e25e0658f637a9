"""The account's rights in a store's namespace, compared with the store's needs.

If the API server cannot list all rules, each call is checked singly. Source: SelfSubjectRulesReview and
SelfSubjectAccessReview of the API reference.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from keyturn.core.errors import Unavailable
from keyturn.core.rights import kubernetes_rights
from keyturn.core.rights.rights import CopyRights, Verdict
from keyturn.providers.answers import reads_answers
from keyturn.providers.kubernetes.client import Doing, Namespace
from keyturn.providers.kubernetes.cluster import NO_ANSWER, settings_for

ASKING: Final = "ask for the rights in"
AT_ONCE: Final = 8
EVERYBODYS: Final = frozenset({"authorization.k8s.io", "authentication.k8s.io"})


@dataclass(frozen=True)
class Call:
    verb: str
    group: str
    resource: str
    name: str = ""

    @property
    def words(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


DANGEROUS: Final = (
    *(Call(verb, "", "secrets") for verb in ("get", "patch", "delete", "update", "deletecollection")),
    Call("create", "", "pods"),
    Call("create", "", "pods/exec"),
    Call("create", "", "serviceaccounts/token"),
    Call("impersonate", "", "users"),
    Call("create", "rbac.authorization.k8s.io", "rolebindings"),
    Call("patch", "apps", "deployments"),
)
ELSEWHERE: Final = Call("list", "", "secrets")


def ask_namespace(
    name: str,
    copies: CopyRights,
    revoking: bool,
    *,
    namespace: str,
    merge: bool = False,
    restart: bool = False,
    workloads: tuple[str, ...] = (),
    server: str | None = None,
    ca_file: str | None = None,
    token_file: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    **others: Any,
) -> Iterator[Verdict]:
    """Needed rights first, then any further ones. Raises Denied and Unavailable."""
    settings = settings_for(
        name, server=server, ca_file=ca_file, token_file=token_file, kubeconfig=kubeconfig, context=context
    )
    place = kubernetes_rights.StoreNamespace(namespace, merge, restart, workloads)
    with closing(Namespace(namespace, settings)) as opened:
        yield from Rights(opened, name, tuple(kubernetes_rights.rules(place, copies))).verdicts()


@reads_answers()
@dataclass(frozen=True)
class Rights:
    namespace: Namespace
    store: str
    needed: tuple[kubernetes_rights.Rule, ...]

    @property
    def name(self) -> str:
        return self.store

    def verdicts(self) -> Iterator[Verdict]:
        rules = self._told()
        if rules is None:
            yield from self._asked_singly()
        else:
            yield from (self._verdict(call, why, _allows(rules, call)) for call, why in self._calls())
            beyond = dict.fromkeys(call for call in _calls_of(rules) if not _allows(self.needed, call))
            yield from (self._beyond(call, True) for call in beyond)
        everywhere = self._may(ELSEWHERE, "")
        yield Verdict(ELSEWHERE.words, "all namespaces", needed=False, allowed=everywhere)

    def _told(self) -> list[kubernetes_rights.Rule] | None:
        """None if the API server does not know all rules."""
        status = self._review("selfsubjectrulesreviews", {"namespace": self.namespace.name})
        if status.get("incomplete"):
            return None
        return [_rule(rule) for rule in status.get("resourceRules") or ()]

    def _asked_singly(self) -> Iterator[Verdict]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            calls = list(self._calls())
            allowed = pool.map(lambda call: self._may(call[0], self.namespace.name), calls)
            yield from (self._verdict(*call, may) for call, may in zip(calls, allowed, strict=True))
            beyond = [call for call in DANGEROUS if not _allows(self.needed, call)]
            allowed = pool.map(lambda call: self._may(call, self.namespace.name), beyond)
            yield from (self._beyond(call, may) for call, may in zip(beyond, allowed, strict=True))

    def _calls(self) -> Iterator[tuple[Call, str]]:
        for rule in self.needed:
            for resource, verb, name in product(rule.resources, rule.verbs, rule.names or ("",)):
                yield Call(verb, rule.groups[0], resource, name), rule.why

    def _may(self, call: Call, namespace: str) -> bool:
        resource, _, part = call.resource.partition("/")
        about = {"namespace": namespace, "verb": call.verb, "group": call.group, "resource": resource}
        beside = {"subresource": part, "name": call.name}
        attributes = {**about, **{key: text for key, text in beside.items() if text}}
        return bool(self._review("selfsubjectaccessreviews", {"resourceAttributes": attributes}).get("allowed"))

    def _review(self, resource: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.namespace.ask(Doing(ASKING, self.store, "create", resource), {"spec": spec})
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, dict):
            raise self._no_answer()
        return status

    def _no_answer(self) -> Unavailable:
        return Unavailable(ASKING, self.store, "what answered is no Kubernetes API", NO_ANSWER)

    def _verdict(self, call: Call, why: str, allowed: bool) -> Verdict:
        return Verdict(call.words, self._at(call), needed=True, allowed=allowed, why=why)

    def _beyond(self, call: Call, allowed: bool) -> Verdict:
        return Verdict(call.words, self._at(call), needed=False, allowed=allowed)

    def _at(self, call: Call) -> str:
        return f"{self.namespace.name}/{call.name}" if call.name else self.namespace.name


def _allows(rules: Iterable[kubernetes_rights.Rule], call: Call) -> bool:
    return any(rule.allows(call.verb, call.group, call.resource, call.name) for rule in rules)


def _rule(document: Mapping[str, Any]) -> kubernetes_rights.Rule:
    groups, resources, verbs, names = (
        tuple(document.get(key) or ()) for key in ("apiGroups", "resources", "verbs", "resourceNames")
    )
    return kubernetes_rights.Rule("", groups, resources, verbs, names)


def _calls_of(rules: Iterable[kubernetes_rights.Rule]) -> Iterator[Call]:
    for rule in rules:
        groups = [group for group in rule.groups if group not in EVERYBODYS]
        for group, resource, verb, name in product(groups, rule.resources, rule.verbs, rule.names or ("",)):
            yield Call(verb, group, resource, name)
