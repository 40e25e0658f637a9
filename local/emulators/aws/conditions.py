"""Conditions of IAM policies, which moto takes for fulfilled.

A statement applies where all its conditions hold, and a condition on something that the request does not have does
not hold ("IAM JSON policy elements: Condition operators"). Known are ``DateLessThan`` of ``aws:TokenIssueTime``, which
only requests of sessions have, ``StringEquals`` and ``StringLike`` of ``iam:PermissionsBoundary``, the boundary of the
user whom a request is about, ``StringEquals`` of the tags of a secret or parameter and of those that a request lays on
it, ``StringLike`` of ``s3:prefix``, and ``secretsmanager:ForceDeleteWithoutRecovery``. With any other condition an
allowance does not apply, and a denial does. A boundary is remembered, and takes nothing away from its user. Statements
about secrets, parameters, queues, topics and buckets apply by the ARNs that they name, which moto does not look at; a
request for several is weighed by the first.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.iam import access_control
from moto.iam.models import User, iam_backends
from moto.iam.responses import IamResponse

from local.emulators.aws import resources

ISSUED: Final = "aws:TokenIssueTime"
BOUNDARY: Final = "iam:PermissionsBoundary"
Context = Mapping[str, str]


def install() -> None:
    """Weigh conditions, and let users have boundaries; call it once, before the first request."""
    access_control.IAMRequestBase.check_action_permitted = _weighing(  # type: ignore[method-assign]
        access_control.IAMRequestBase.check_action_permitted
    )
    IamResponse.put_user_permissions_boundary = _bound  # type: ignore[attr-defined]


def _weighing(check: Callable[..., None]) -> Callable[..., None]:
    def weighed(request: access_control.IAMRequestBase, resource: str) -> None:
        key, context = request._access_key, _context(request, resource)
        collected = key.collect_policies()
        key.collect_policies = lambda: [_applying(policy, context) for policy in collected]  # type: ignore[method-assign]
        check(request, resource)

    return weighed


def _context(request: access_control.IAMRequestBase, resource: str) -> Context:
    """What is known of a request: when its session began, and the boundary of the user whom it is about."""
    context = {}
    if issued := getattr(request._access_key, "issued", None):
        context[ISSUED] = issued.isoformat()
    users = {user.arn: user for accounts in iam_backends.values() for user in accounts["aws"].users.values()}
    if boundary := getattr(users.get(resource), "boundary", None):
        context[BOUNDARY] = boundary
    return context | resources.told_by(request)


def _applying(policy: Any, context: Context) -> str:
    """The policy with the statements alone that apply to a request, without their conditions."""
    document = access_control.IAMPolicy(policy)._policy_json
    statements = document["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    applying = [
        {**_as_moto_names(statement), "Condition": {}, **({"Resource": "*"} if resources.ARN in context else {})}
        for statement in listed
        if applies(statement, context) and resources.is_about(statement, context)
    ]
    return json.dumps({**document, "Statement": applying})


def _as_moto_names(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the service `tag` under the name of its address, as moto has it."""
    named = statement.get("Action", [])
    actions = [named] if isinstance(named, str) else named
    return {**statement, "Action": [re.sub("^tag:", "tagging:", action) for action in actions]}


def applies(statement: Mapping[str, Any], context: Context) -> bool:
    """Whether all its conditions hold."""
    for operator, wanted in statement.get("Condition", {}).items():
        for key, value in wanted.items():
            holds = HOLDS.get((operator, key)) or HOLDS.get((operator, key.partition("/")[0]))
            if holds is None:
                return bool(statement["Effect"] == "Deny")
            if key not in context and operator.endswith("IfExists"):
                continue
            if key not in context or not holds(context[key], value):
                return False
    return True


def _before(text: str, value: Any) -> bool:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) < datetime.fromisoformat(value)


def _equal(text: str, value: Any) -> bool:
    return text in (value if isinstance(value, list) else [value])


def _like(text: str, value: Any) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in (value if isinstance(value, list) else [value]))


HOLDS: Final[Mapping[tuple[str, str], Callable[[str, Any], bool]]] = {
    ("DateLessThan", ISSUED): _before,
    ("StringEquals", BOUNDARY): _equal,
    ("StringLike", BOUNDARY): _like,
    ("StringLike", resources.PREFIX): _like,
    ("StringLike", "kms:ViaService"): _like,
    ("ForAnyValue:StringEquals", "kms:ResourceAliases"): _equal,
    ("StringEquals", resources.REQUEST_TAG): _equal,
    ("StringEquals", resources.RESOURCE_TAG): _equal,
    ("BoolIfExists", resources.FORCED): _equal,
}


def _bound(request: IamResponse) -> ActionResult:
    """PutUserPermissionsBoundary."""
    user: User = request.backend.get_user(request._get_param("UserName"))
    user.boundary = request._get_param("PermissionsBoundary")  # type: ignore[attr-defined]
    return ActionResult({})
