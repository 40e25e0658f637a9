"""IAM's simulation of the policies that a user or a role has, which moto lacks.

Source: "SimulatePrincipalPolicy", "EvaluationResult" and "ResourceSpecificResult" in the IAM API reference. What a
request would be about is told by its context alone: tags and boundaries of what is there are not looked up. Statements
name what is missing in the context, whether they would decide or not. Not known are boundaries and organizations.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.iam import access_control
from moto.iam.exceptions import NoSuchEntity
from moto.iam.responses import IamResponse

from local.emulators.aws.conditions import applies

ALLOWED, DENIED, EXPLICIT = "allowed", "implicitDeny", "explicitDeny"
ANY: Final = "*"
Statement = Mapping[str, Any]


def install() -> None:
    """Answer SimulatePrincipalPolicy; call it before the first request."""
    IamResponse.simulate_principal_policy = _simulate  # type: ignore[attr-defined]


class _User(access_control.IAMUserAccessKey):
    """A user whose policies are collected, without a key."""

    def __init__(self, account_id: str, partition: str, name: str) -> None:
        self.account_id = account_id
        self.partition = partition
        self._owner_user_name = name


class _Role(access_control.AssumedRoleAccessKey):
    """A role whose policies are collected, without a session."""

    def __init__(self, account_id: str, partition: str, name: str) -> None:
        self.account_id = account_id
        self.partition = partition
        self._owner_role_name = name


def _simulate(request: IamResponse) -> ActionResult:
    source = request._get_param("PolicySourceArn")
    name = source.rpartition("/")[2]
    there = request.backend.get_user(name) if ":user/" in source else request.backend.get_role(name)
    if there.arn != source:
        raise NoSuchEntity(f"{source} does not exist.")
    kind = _User if ":user/" in source else _Role
    policies = kind(request.current_account, request.partition, name).collect_policies()
    statements = [statement for policy in policies for statement in statements_of(policy)]
    entries = request._get_param("ContextEntries", [])
    context = {entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in entries}
    places = request._get_param("ResourceArns", [ANY])
    results = [_result(statements, call, places, context) for call in request._get_param("ActionNames")]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def statements_of(policy: Any) -> Iterator[Statement]:
    """The statements of a policy, as moto keeps it."""
    statements = access_control.IAMPolicy(policy)._policy_json["Statement"]
    yield from statements if isinstance(statements, list) else [statements]


def _result(
    statements: Sequence[Statement], call: str, places: Sequence[str], context: Mapping[str, str]
) -> dict[str, Any]:
    missing = sorted({key for statement in statements for key in _keys(statement)} - context.keys())
    if list(places) == [ANY]:
        decision = _decision(statements, call, ANY, context)
        return {
            "EvalActionName": call,
            "EvalResourceName": ANY,
            "EvalDecision": decision,
            "MissingContextValues": missing,
        }
    parts = [
        {
            "EvalResourceName": place,
            "EvalResourceDecision": _decision(statements, call, place, context),
            "MissingContextValues": missing,
        }
        for place in places
    ]
    decisions = {part["EvalResourceDecision"] for part in parts}
    worst = next(decision for decision in (EXPLICIT, DENIED, ALLOWED) if decision in decisions)
    template = "arn:${Partition}:" + call.partition(":")[0]
    return {
        "EvalActionName": call,
        "EvalResourceName": template,
        "EvalDecision": worst,
        "MissingContextValues": missing,
        "ResourceSpecificResults": parts,
    }


def _decision(statements: Sequence[Statement], call: str, place: str, context: Mapping[str, str]) -> str:
    effects = {
        statement["Effect"]
        for statement in statements
        if _names(statement, "Action", call.lower()) and _names(statement, "Resource", place)
        if applies(statement, context)
    }
    return EXPLICIT if "Deny" in effects else ALLOWED if "Allow" in effects else DENIED


def _names(statement: Statement, element: str, text: str) -> bool:
    listed = statement.get(element, [])
    patterns = [listed] if isinstance(listed, str) else listed
    return any(fnmatchcase(text, pattern.lower() if element == "Action" else pattern) for pattern in patterns)


def _keys(statement: Statement) -> Iterator[str]:
    for wanted in statement.get("Condition", {}).values():
        yield from wanted
