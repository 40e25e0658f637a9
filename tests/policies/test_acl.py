"""Parsing hub policies."""

import pytest

from keyturn.rights.acl import parse_policy, policy_allows


def test_a_template_may_be_anybody() -> None:
    rules = parse_policy('path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }')
    assert policy_allows(rules, "secret/data/ana/db", "read")
    assert not policy_allows(rules, "secret/metadata/ana/db", "read")


@pytest.mark.parametrize(
    "text",
    [
        'path "a" {',
        "path { }",
        'path "a" { capabilities = "read" }',
        '{"path": 1}',
        '"',
        "path 'a' {",
        '{"path": {"a": 1}}',
    ],
)
def test_what_is_no_policy_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_policy(text)
