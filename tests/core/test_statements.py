"""SQL in templates: no value changes the statement that it is put into."""

import pytest

from keyturn.core.text import statements


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("ALTER USER app SET PASSWORD = '{{x}}'", True),
        ("  create or replace user app", True),
        ("drop role x", True),
        ("SHOW USERS LIKE 'x'", True),
        ("select 1", True),
        ("UPDATE t\nSET a = 1", True),
        ("DELETE FROM t", True),
        ("create a key for {{path}}", False),
        ("Delete me", False),
        ("Update by keyturn", False),
        ("mutation($d: String) { create }", False),
        ("{ viewer { id } }", False),
        ("selected", False),
        ("keyturn {{path}} {{unique}}", False),
    ],
)
def test_a_statement_is_known_by_how_it_begins(text: str, sql: bool) -> None:
    assert statements.is_statement(text) is sql


def test_quotes_are_followed_through_the_statement() -> None:
    text = """ALTER USER "{{a}}" SET x = 'it''s {{b}}', y = {{c}}, z = 'a "{{d}}' -- {{e}}"""
    assert list(statements.placeholders(text)) == [("a", True), ("b", True), ("c", False), ("d", True), ("e", False)]


@pytest.mark.parametrize("value", ["a'b", 'a"b', "a\\b", "a\nb", "a;b", "a*b", "", "\u00fc", "a\x00"])
@pytest.mark.parametrize("text", ["SELECT '{{x}}'", 'ALTER USER "{{x}}"', "ALTER USER {{x}}"])
def test_a_value_that_may_end_its_place_is_refused(text: str, value: str) -> None:
    with pytest.raises(statements.UnsafeValue) as caught:
        statements.fill(text, lambda _: value)
    assert caught.value.name == "x"
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("value", ["a b", "a-b", "a.b", "--", "/x", "a=b"])
def test_without_quotes_a_value_is_one_word(value: str) -> None:
    assert statements.fill("SELECT '{{x}}'", lambda _: value) == f"SELECT '{value}'"
    with pytest.raises(statements.UnsafeValue):
        statements.fill("SELECT {{x}}", lambda _: value)


def test_other_texts_hold_anything() -> None:
    assert statements.fill("for {{x}}", lambda _: "a'; DROP") == "for a'; DROP"
