"""What IAM's simulation comes to: an allowance counts where nothing limits it, and what is not known is not denied."""

from typing import Any

import pytest

from keyturn.core.rights.aws_rights import Place
from keyturn.providers.aws.rights import decision_of, decisions_in, needed_by

PLACE = Place("eu-central-1", "111122223333")
LACKING = (None, "its policies ask for aws:SourceIp, which only a real request has")


@pytest.mark.parametrize(
    ("decision", "part", "result", "expected"),
    [
        ("allowed", {}, {}, (True, "")),
        ("allowed", {"MissingContextValues": ["aws:SourceIp"]}, {}, (True, "")),
        ("allowed", {}, {"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}, (False, "")),
        ("allowed", {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}, {}, (False, "")),
        ("implicitDeny", {}, {}, (False, "")),
        ("implicitDeny", {"MissingContextValues": ["aws:SourceIp"]}, {}, LACKING),
        ("explicitDeny", {"MissingContextValues": ["aws:SourceIp"]}, {}, (False, "")),
    ],
)
def test_what_a_decision_comes_to(
    decision: str, part: dict[str, Any], result: dict[str, Any], expected: tuple[bool | None, str]
) -> None:
    assert decision_of(decision, part, result) == expected


def test_of_places_with_an_arn_each_has_its_own_decision_whatever_all_together_come_to() -> None:
    parts = [{"EvalResourceName": name, "EvalResourceDecision": told} for name, told in (("a", "allowed"), ("b", "no"))]
    result = {"EvalActionName": "ssm:GetParameter", "EvalDecision": "implicitDeny", "ResourceSpecificResults": parts}
    assert [place for _, place, (allowed, _) in decisions_in(result, ["a", "b", "c"]) if allowed] == ["a"]
    assert "c" not in [place for _, place, _ in decisions_in(result, ["a", "b", "c"])]


def test_a_statement_is_asked_about_with_names_and_a_context_that_fulfil_it() -> None:
    question = needed_by(
        {
            "Sid": "DeleteForGood",
            "Action": ["kms:Decrypt"],
            "Resource": ["arn:aws:kms:*:*:key/abc", "arn:aws:secretsmanager:eu-central-1:*:secret:app-??????"],
            "Condition": {"StringLike": {"kms:ViaService": "ssm.*"}},
        },
        PLACE,
    )
    assert question.why == "delete for good"
    assert question.places == (
        "arn:aws:kms:eu-central-1:111122223333:key/abc",
        "arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-AbCdEf",
    )
    assert question.context == {"kms:ViaService": "ssm.eu-central-1.amazonaws.com"}
