"""The current login's rights in AWS, from IAM's own policy simulation; no call is tried.

The simulation ignores the policies of secrets, keys and sessions. Source: "SimulatePrincipalPolicy" in the IAM API
reference.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.stores import MANAGED_BY, TAG_MANAGED_BY
from keyturn.core.rights import aws_rights
from keyturn.core.rights.aws_rights import Place, Statement, statements_of
from keyturn.core.rights.rights import ANYTHING, PROBE, AccountRights, CopyRights, Document, Verdict
from keyturn.providers.aws import client as aws
from keyturn.providers.aws.client import (
    NO_PERMISSION,
    SDK_CONFIG,
    AwsSettings,
    items_of,
    open_session,
    translate_aws_errors,
)

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

DOING: Final = "ask for the rights at"
MOST_PLACES: Final = 50
SUFFIX: Final = "AbCdEf"
SESSION: Final = re.compile(r"arn:(aws[a-z-]*):sts::([0-9]{12}):assumed-role/([^/]+)/.*")

Context = Mapping[str, str]
RESOURCE_TAG: Final = f"aws:ResourceTag/{TAG_MANAGED_BY}"
REQUEST_TAG: Final = f"aws:RequestTag/{TAG_MANAGED_BY}"
FORCED: Final = "secretsmanager:ForceDeleteWithoutRecovery"
NEUTRAL: Final[Context] = {
    RESOURCE_TAG: "none",
    REQUEST_TAG: "none",
    FORCED: "true",
    "kms:ViaService": "none",
    "kms:ResourceAliases": "alias/none",
    "iam:PermissionsBoundary": "none",
}
"""Default values for the policies' context keys. IAM would not decide without them."""
TYPES: Final = {FORCED: "boolean", "kms:ResourceAliases": "stringList"}
OURS: Final[Context] = {RESOURCE_TAG: MANAGED_BY}


Decision = tuple[bool | None, str]
"""Whether a call is allowed, and why that is unknown."""


@dataclass(frozen=True)
class Question:
    calls: tuple[str, ...]
    places: tuple[str, ...]
    context: Context = field(default_factory=dict)
    needed: bool = False
    why: str = ""


Beyond = Callable[[Place], Iterator[Question]]


def ask_secrets_manager(
    name: str,
    copies: CopyRights,
    revoking: bool,
    *,
    kms_key_id: str | None = None,
    replicas: Sequence[aws_rights.Replica] = (),
    recovery_window: object = None,
    **login: Any,
) -> Iterator[Verdict]:
    """Raises Denied if the login may not simulate, Unavailable without an answer."""
    documents = aws_rights.of_secrets_manager(copies, kms_key_id=kms_key_id, replicas=replicas, **_place(login))

    def beyond(place: Place) -> Iterator[Question]:
        others, own = place.secret(PROBE), [place.secret(each) for each in copies.names[:1]]
        yield _question("secretsmanager", OF_OTHERS, [others], {FORCED: "false"})
        yield _question("secretsmanager", ("PutSecretValue", "DeleteSecret"), own, {FORCED: "false"})
        yield _question("secretsmanager", OF_RESOURCES, own, OURS)
        yield _question("secretsmanager", ("DeleteSecret",), own, OURS)

    with closing(_Simulation(name, AwsSettings(**login))) as simulation:
        yield from simulation.verdicts(documents, copies.origin, revoking, beyond)


OF_OTHERS: Final = ("GetSecretValue", "PutSecretValue", "UpdateSecret", "TagResource", "DeleteSecret")
OF_RESOURCES: Final = ("PutResourcePolicy", "DeleteResourcePolicy", "RotateSecret", "ListSecretVersionIds")


def ask_parameter_store(
    name: str,
    copies: CopyRights,
    revoking: bool,
    *,
    kms_key_id: str | None = None,
    type: str = "",
    tier: str = "",
    **login: Any,
) -> Iterator[Verdict]:
    documents = aws_rights.of_parameter_store(copies, kms_key_id=kms_key_id, **_place(login))

    def beyond(place: Place) -> Iterator[Question]:
        own = [place.parameter(each) for each in copies.names[:1]]
        yield _question("ssm", OF_OTHER_PARAMETERS, [place.parameter(PROBE)])
        yield _question("ssm", ("PutParameter", "DeleteParameter", "GetParameterHistory"), own)
        yield _question("ssm", ("GetParameterHistory", "LabelParameterVersion", "UnlabelParameterVersion"), own, OURS)

    with closing(_Simulation(name, AwsSettings(**login))) as simulation:
        yield from simulation.verdicts(documents, copies.origin, revoking, beyond)


OF_OTHER_PARAMETERS: Final = ("GetParameter", "GetParameters", "GetParameterHistory", "PutParameter", "DeleteParameter")


def ask_iam(name: str, accounts: AccountRights, revoking: bool, **login: Any) -> Iterator[Verdict]:
    documents = aws_rights.of_iam(accounts, **_place(login))

    def beyond(place: Place) -> Iterator[Question]:
        own = [arn for each in accounts.names[:1] for arn in place.user(each)[:1]]
        yield _question("iam", ("PutUserPolicy", "AttachUserPolicy", "DeleteUserPermissionsBoundary"), own)
        yield _question("iam", ("CreateLoginProfile", "UpdateLoginProfile", "DeleteUser"), own)

    with closing(_Simulation(name, AwsSettings(**login))) as simulation:
        yield from simulation.verdicts(documents, accounts.origin, revoking, beyond)


def powers(place: Place) -> Iterator[Question]:
    of_users = ("CreateAccessKey", "PutUserPolicy", "AttachUserPolicy", "CreateLoginProfile")
    yield _question("iam", of_users, place.user(PROBE)[:1])
    role = f"arn:{place.partition}:iam::{place.account}:role/{PROBE}"
    yield _question("iam", ("PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy", "PassRole"), [role])
    yield _question("sts", ("AssumeRole",), [role])
    yield _question("kms", ("Decrypt", "PutKeyPolicy", "ScheduleKeyDeletion"), [place.key(PROBE)])


def _question(service: str, calls: Sequence[str], places: Sequence[str], context: Context | None = None) -> Question:
    return Question(tuple(f"{service}:{call}" for call in calls), tuple(places), context or {})


def _place(login: Mapping[str, Any]) -> dict[str, Any]:
    return {"region": login.get("region"), "role_arn": login.get("role_arn")}


class _Simulation:
    def __init__(self, name: str, settings: AwsSettings) -> None:
        self._name = name
        self._settings = settings
        # An endpoint of AWS's serves only one service.
        elsewhere = None if ".amazonaws.com" in (settings.endpoint_url or "") else settings.endpoint_url
        with translate_aws_errors(DOING, name):
            session = open_session(settings)
            self._iam: IAMClient = session.client(
                "iam", region_name=settings.region, endpoint_url=elsewhere, config=SDK_CONFIG
            )
            self._sts = session.client("sts", region_name=settings.region, endpoint_url=elsewhere, config=SDK_CONFIG)

    def close(self) -> None:
        self._iam.close()
        self._sts.close()

    def verdicts(
        self, documents: Iterable[Document], origin: str, revoking: bool, beyond: "Beyond"
    ) -> Iterator[Verdict]:
        caller = self._caller()
        account = caller.split(":")[4]
        if caller.endswith(":root"):
            yield Verdict(ANYTHING, caller, needed=False, allowed=True)
            return
        principal = self._principal(caller)
        named = [document for document in documents if revoking or "-revoker" not in document.name]
        statements = [statement for document in named for statement in statements_of(document, origin)]
        place = Place(self._settings.region, account)
        dangers = (question for ask in (beyond, powers) for question in ask(place))
        for question in (
            *(needed_by(statement, place) for statement in statements),
            *(left for danger in dangers for left in _beside(statements, danger, place)),
        ):
            for start in range(0, len(question.places), MOST_PLACES):
                yield from self._answers(principal, question, question.places[start : start + MOST_PLACES])

    def _caller(self) -> str:
        with translate_aws_errors(DOING, self._name):
            return str(aws.field(self._sts.get_caller_identity(), "Arn", DOING, self._name))

    def _principal(self, caller: str) -> str:
        """The user or role whose policies count; a session omits its role's path."""
        if not (session := SESSION.fullmatch(caller)):
            if ":user/" in caller:
                return caller
            raise Invalid(DOING, self._name, f"{caller} is no user and no role", "Sign in as the role that works there")
        partition, account, role = session.groups()
        declared = self._settings.role_arn or ""
        if declared.rpartition("/")[2] == role and declared.split(":")[4] == account:
            return declared
        return f"arn:{partition}:iam::{account}:role/{role}"

    def _answers(self, principal: str, question: Question, places: Sequence[str]) -> Iterator[Verdict]:
        decisions = {(call, place): decision for call, place, decision in self._asked(principal, question, places)}
        for call in question.calls:
            for place in places:
                allowed, flaw = decisions.get((call, place), (None, "AWS has not answered for it"))
                yield Verdict(call, place, question.needed, allowed, flaw or question.why)

    def _asked(self, principal: str, question: Question, places: Sequence[str]) -> Iterator[tuple[str, str, Decision]]:
        pages = self._iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=principal,
            ActionNames=list(question.calls),
            ResourceArns=list(places),
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [text], "ContextKeyType": TYPES.get(key, "string")}  # type: ignore[typeddict-item]
                for key, text in {**NEUTRAL, **question.context}.items()
            ],
        )
        with translate_aws_errors(DOING, self._name):
            try:
                for result in items_of(pages, "EvaluationResults", DOING, self._name):
                    yield from decisions_in(result, places)
            except ClientError as error:
                self._explain(error, principal)
                raise

    def _explain(self, error: ClientError, principal: str) -> None:
        code = error.response["Error"]["Code"]
        if code in NO_PERMISSION:
            hint = f"Allow iam:SimulatePrincipalPolicy on {principal}, for itself"
            raise Denied(DOING, self._name, "the login may not ask what it may do", hint) from None
        if code == "NoSuchEntity":
            hint = "Name the role with its path in role_arn"
            raise Invalid(DOING, self._name, f"IAM does not know {principal}", hint) from None


def decisions_in(result: Mapping[str, Any], places: Sequence[str]) -> Iterator[tuple[str, str, Decision]]:
    """IAM's decisions for one call on each resource; those without an ARN share one decision."""
    call = result["EvalActionName"]
    specific = result.get("ResourceSpecificResults") or ()
    for part in specific:
        yield call, part["EvalResourceName"], decision_of(part["EvalResourceDecision"], part, result)
    if not specific:
        yield from ((call, place, decision_of(result["EvalDecision"], result, result)) for place in places)


def decision_of(decision: str, part: Mapping[str, Any], result: Mapping[str, Any]) -> Decision:
    """IAM's decision; if context values are missing, only an allowance is conclusive."""
    limits = (
        result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True),
        part.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True),
    )
    if decision == "allowed":
        return all(limits), ""
    if decision == "implicitDeny" and all(limits) and (lacking := ", ".join(part.get("MissingContextValues", ()))):
        return None, f"its policies ask for {lacking}, which only a real request has"
    return False, ""


def needed_by(statement: Statement, place: Place) -> Question:
    why = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", statement["Sid"]).lower()
    places = tuple(dict.fromkeys(_sample(arn, place) for arn in statement["Resource"]))
    return Question(tuple(statement["Action"]), places, dict(_fulfilling(statement, place)), True, why)


def _fulfilling(statement: Statement, place: Place) -> Iterator[tuple[str, str]]:
    for operator, wanted in statement.get("Condition", {}).items():
        for key, text in wanted.items():
            yield key, _sample(text, place) if operator == "StringLike" else text


def _sample(pattern: str, place: Place) -> str:
    if pattern == ANYTHING:
        return pattern
    if not pattern.startswith("arn:"):
        return pattern.replace(ANYTHING, f"{place.region}.amazonaws.com")
    parts = pattern.replace("??????", SUFFIX).split(":", 5)
    parts[3], parts[4] = parts[3].replace(ANYTHING, place.region), parts[4].replace(ANYTHING, place.account)
    return ":".join(parts).replace(ANYTHING, PROBE)


def _beside(statements: Sequence[Statement], danger: Question, place: Place) -> Iterator[Question]:
    context = {**NEUTRAL, **danger.context}
    for arn in (_sample(arn, place) for arn in danger.places):
        allowed = {call for call in danger.calls for each in statements if _allows(each, call, arn, context)}
        if calls := [call for call in danger.calls if call not in allowed]:
            yield Question(tuple(calls), (arn,), danger.context)


def _allows(statement: Statement, call: str, arn: str, context: Context) -> bool:
    account = arn.split(":")[4]
    named = any(fnmatchcase(arn, pattern.replace("::*:", f"::{account}:")) for pattern in statement["Resource"])
    conditions = statement.get("Condition", {}).values()
    fulfilled = all(fnmatchcase(context[key], text) for wanted in conditions for key, text in wanted.items())
    return call in statement["Action"] and named and fulfilled
