"""What ``SHOW GRANTS`` says, as MariaDB 11.8 and the manual of MySQL 8.0 show it."""

from keyturn.providers.mysql.grants import User, parse_grants, quote_name

ANNA = User("anna", "%")
BERT = User("bert", "10.%")

MARIADB = (
    "GRANT `owner` TO `anna`@`%`",
    "GRANT `keeper` TO `anna`@`%` WITH ADMIN OPTION",
    "GRANT PROCESS, SHOW DATABASES ON *.* TO `anna`@`%` IDENTIFIED BY PASSWORD '*65109C8F' REQUIRE SSL"
    " WITH GRANT OPTION MAX_USER_CONNECTIONS 5",
    "GRANT SELECT (`x`, `y`), INSERT (`x`), UPDATE ON `app`.`t` TO `anna`@`%`",
    "GRANT EXECUTE ON PROCEDURE `app`.`pi` TO `anna`@`%`",
    "SET DEFAULT ROLE `owner` FOR `anna`@`%`",
)
MYSQL = (
    "GRANT USAGE ON *.* TO `anna`@`%`",
    "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `anna`@`%`",
    "GRANT SELECT, INSERT ON `app`.* TO `anna`@`%` WITH GRANT OPTION",
    "REVOKE INSERT ON `app`.* FROM `anna`@`%`",
    "GRANT `owner`@`%`,`rds_superuser_role`@`%` TO `anna`@`%`",
)


def test_every_right_of_mariadbs_answer_is_told_and_no_password() -> None:
    assert parse_grants(MARIADB, ANNA).rights() == {
        "the role `owner`",
        "the default role `owner`",
        "the role `keeper`",
        "the role `keeper` with admin option",
        "PROCESS on *.*",
        "SHOW DATABASES on *.*",
        "GRANT OPTION on *.*",
        "SELECT (`x`, `y`) on `app`.`t`",
        "INSERT (`x`) on `app`.`t`",
        "UPDATE on `app`.`t`",
        "EXECUTE on PROCEDURE `app`.`pi`",
    }


def test_every_right_of_mysqls_answer_is_told() -> None:
    assert parse_grants(MYSQL, ANNA, ["`owner`@`%`"]).rights() == {
        "BACKUP_ADMIN on *.*",
        "CLONE_ADMIN on *.*",
        "SELECT on `app`.*",
        "INSERT on `app`.*",
        "GRANT OPTION on `app`.*",
        "the role `owner`@`%`",
        "the default role `owner`@`%`",
        "the role `rds_superuser_role`@`%`",
    }


def test_the_statements_give_another_user_the_same() -> None:
    for lines in (MARIADB, MYSQL):
        grants = parse_grants(lines, ANNA)
        given = parse_grants((grant.statement(BERT) for grant in grants.granted), BERT, grants.default_roles)
        assert given == grants
    assert "65109C8F" not in "".join(grant.statement(BERT) for grant in parse_grants(MARIADB, ANNA).granted)


def test_it_acts_as_a_role_that_is_its_default() -> None:
    grants = parse_grants(MARIADB, ANNA)
    assert grants.acts_as("`owner`")
    assert not grants.acts_as("`keeper`")


def test_a_name_with_a_backtick_stays_one_identifier() -> None:
    odd = User("o`dd", "%")
    assert odd.quoted == "`o``dd`@`%`"
    assert parse_grants([f"GRANT {quote_name('r`ole')} TO {odd.quoted}"], odd).rights() == {"the role `r``ole`"}
