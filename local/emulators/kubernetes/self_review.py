"""What whoever asks may do: SelfSubjectAccessReview and SelfSubjectRulesReview of authorization.k8s.io/v1.

Everybody who has signed in may ask (the ClusterRole ``system:basic-user``). Source: "Checking API Access" and the API
reference of both.
"""

from typing import Any, Final

from local.emulators.kubernetes.access import ALL, Account, Asked, Rule
from local.emulators.kubernetes.messages import Refusal

Tree = dict[str, Any]

GROUP: Final = "authorization.k8s.io"
ACCESS: Final = ("apis", GROUP, "v1", "selfsubjectaccessreviews")
RULES: Final = ("apis", GROUP, "v1", "selfsubjectrulesreviews")

ASKING: Final = Rule(
    frozenset({GROUP}), frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews"}), frozenset({"create"})
)
EVERYTHING: Final = Rule(frozenset({ALL}), frozenset({ALL}), frozenset({ALL}))


def access_review(account: Account, document: Tree) -> Tree:
    """Whether the account may do one thing. Raises :class:`Refusal` where it asks about nothing."""
    spec = document.get("spec") or {}
    about = spec.get("resourceAttributes")
    if not isinstance(about, dict):
        raise Refusal(422, "spec.resourceAttributes: Invalid value: exactly one of both must be specified")
    resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
    words = (str(about.get(key, "")) for key in ("namespace", "name"))
    asked = Asked(about.get("verb", ""), about.get("group", ""), resource, *words)
    return _review("SelfSubjectAccessReview", spec, {"allowed": account.may(asked)})


def rules_review(account: Account, document: Tree, *, incomplete: bool) -> Tree:
    """The rules that the account has in a namespace; ``incomplete`` where another authorizer has more."""
    spec = document.get("spec") or {}
    if not spec.get("namespace"):
        raise Refusal(400, "no namespace on request")
    rules = (EVERYTHING,) if account.rules is None else tuple(account.rules)
    here = [rule.document() for rule in rules if rule.namespace in ("", spec["namespace"])]
    listed = [] if incomplete else here
    error = {"evaluationError": "webhook authorizer does not support user rule resolution"} if incomplete else {}
    status = {"resourceRules": [ASKING.document(), *listed], "nonResourceRules": [], "incomplete": incomplete, **error}
    return _review("SelfSubjectRulesReview", spec, status)


def _review(kind: str, spec: Tree, status: Tree) -> Tree:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {}, "spec": spec, "status": status}
