"""Comparing two MySQL users' privileges from ``SHOW GRANTS``."""

import pytest

from keyturn.providers.mysql.grants import Grants, User, parse_grants
from keyturn.providers.mysql.privileges import AccountGrants, like, missing_grants, reaches

ANNA, BERT = User("anna", "%"), User("bert", "10.%")

ROLES = {
    "`owner`": parse_grants(["GRANT SELECT, INSERT ON `app`.* TO `owner`", "GRANT `base` TO `owner`"], "`owner`"),
    "`base`": parse_grants(["GRANT EXECUTE ON PROCEDURE `app`.`p` TO `base`"], "`base`"),
    "`empty`": Grants((), frozenset()),
}


def account(user: User, *lines: str) -> AccountGrants:
    return AccountGrants(parse_grants([f"{line} {user.quoted}" for line in lines], user), ROLES.__getitem__)


def lacks(held: AccountGrants, model: AccountGrants) -> list[str]:
    return [right.what for right in missing_grants(held, model, "`owner`")]


def test_what_one_lacks_is_told_with_the_statement_that_gives_it() -> None:
    model = account(ANNA, "GRANT SELECT, INSERT ON `app`.* TO", "GRANT DROP ON `b`.* TO")
    (first, second) = missing_grants(account(BERT, "GRANT INSERT ON `app`.* TO"), model, "`owner`")
    assert (first.what, first.remedy) == ("DROP on `b`.*", "GRANT DROP ON `b`.* TO `owner`")
    assert second.what == "SELECT on `app`.*"
    assert lacks(account(BERT, "GRANT ALL PRIVILEGES ON `app`.* TO"), model) == ["DROP on `b`.*"]
    assert lacks(model, model) == []


def test_a_right_counts_however_it_comes_to_the_account() -> None:
    model = account(ANNA, "GRANT SELECT ON `app`.`t` TO", "GRANT EXECUTE ON PROCEDURE `app`.`p` TO")
    through_roles = account(BERT, "GRANT `owner` TO", "SET DEFAULT ROLE `owner` FOR")
    assert lacks(through_roles, model) == []
    assert lacks(account(BERT, "GRANT `owner` TO"), model) == [
        "EXECUTE on PROCEDURE `app`.`p`",
        "SELECT on `app`.`t`",
    ]


def test_a_role_is_missed_where_it_gives_something() -> None:
    model = account(ANNA, "GRANT `owner` TO", "GRANT `empty` TO", "SET DEFAULT ROLE `owner` FOR")
    assert lacks(account(BERT, "GRANT SELECT ON `app`.* TO"), model) == [
        "the default role `base`",
        "the default role `owner`",
    ]
    assert lacks(account(BERT, "GRANT ALL PRIVILEGES ON *.* TO"), model) == []
    asked_for = account(ANNA, "GRANT `owner` TO")
    assert lacks(account(BERT), asked_for) == ["the role `base`", "the role `owner`"]
    assert lacks(account(BERT, "GRANT `owner` TO"), asked_for) == []


def test_a_right_on_columns_is_covered_by_more_columns_or_all() -> None:
    model = account(ANNA, "GRANT SELECT (`x`) ON `app`.`t` TO")
    assert lacks(account(BERT, "GRANT SELECT (`x`, `y`) ON `app`.`t` TO"), model) == []
    assert lacks(account(BERT, "GRANT SELECT ON `app`.`t` TO"), model) == []
    assert lacks(account(BERT, "GRANT SELECT (`y`) ON `app`.`t` TO"), model) == ["SELECT (`x`) on `app`.`t`"]
    assert lacks(model, account(ANNA, "GRANT SELECT ON `app`.`t` TO")) == ["SELECT on `app`.`t`"]


def test_the_right_to_grant_is_a_right_of_its_own() -> None:
    model = account(ANNA, "GRANT SELECT ON `app`.* TO")
    passing_on = AccountGrants(
        parse_grants(["GRANT SELECT ON `app`.* TO `anna`@`%` WITH GRANT OPTION"], ANNA), ROLES.__getitem__
    )
    assert lacks(model, passing_on) == ["GRANT OPTION on `app`.*"]
    assert lacks(account(BERT, "GRANT ALL PRIVILEGES ON *.* TO"), passing_on) == ["GRANT OPTION on `app`.*"]


@pytest.mark.parametrize(
    ("wide", "narrow", "is_so"),
    [
        ("*.*", "`app`.`t`", True),
        ("`app`.*", "`app`.`t`", True),
        ("`app`.*", "PROCEDURE `app`.`p`", True),
        ("`app`.*", "`other`.`t`", False),
        ("`app`.`t`", "`app`.*", False),
        ("`app`.*", "*.*", False),
        ("`app%`.*", "`app_one`.`t`", True),
        ("`app\\_one`.*", "`app_one`.`t`", True),
        ("`app\\_one`.*", "`appxone`.`t`", False),
    ],
)
def test_a_grant_reaches_what_lies_below_it(wide: str, narrow: str, is_so: bool) -> None:
    assert reaches(wide, narrow) is is_so


def test_a_database_is_matched_as_by_like() -> None:
    assert like("app_%", "app1x")
    assert not like("app", "App2")
