"""Passwords as servers store them, against values that others have computed."""

import pytest

from keyturn.providers.mysql.password_hashes import NATIVE, SHA2, hashed, matches, native, sha2, sha256_crypt

HASHCAT_SALT = bytes.fromhex("F9CC98CE08892924F50A213B6BC571A2C11778C5").decode("latin-1")
HASHCAT_DIGEST = "bTy95Y99eAME1dwEkHOA1ndHGBWz.1bxSSRkuTXFGV/"
"""hashcat's example for mode 7401, "MySQL $A$ (sha256crypt)"; its password is "hashcat"."""


def test_the_native_form_is_what_the_manual_shows() -> None:
    """MySQL 5.7 Reference Manual, "Password Hashing in MySQL"."""
    assert native("mypass") == "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"


@pytest.mark.parametrize(
    ("password", "salt", "rounds", "digest"),
    [
        ("Hello world!", "saltstring", 5000, "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        (
            "we have a short salt string but not a short password",
            "short",
            77777,
            "JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/",
        ),
    ],
)
def test_the_digest_is_that_of_openssl(password: str, salt: str, rounds: int, digest: str) -> None:
    assert sha256_crypt(password.encode(), salt.encode(), rounds) == digest


def test_the_salt_may_be_longer_than_crypts() -> None:
    assert sha256_crypt(b"hashcat", HASHCAT_SALT.encode("latin-1"), 5000) == HASHCAT_DIGEST


def test_the_stored_form_names_its_rounds_in_hexadecimal() -> None:
    stored = sha2("word", "a" * 20, 16)
    assert stored.startswith(f"$A$010${'a' * 20}")
    assert len(stored) == 7 + 20 + 43
    assert matches(stored, "word")


@pytest.mark.parametrize("plugin", [NATIVE, SHA2])
@pytest.mark.parametrize("password", ["x", "pässwörd-✓", "long" * 40])
def test_a_password_matches_what_is_stored_of_it_and_no_other_does(plugin: str, password: str) -> None:
    stored = hashed(plugin, password)
    assert matches(stored, password)
    assert not matches(stored, password + " ")


def test_nothing_stands_in_it_that_quotes_do_not_hold() -> None:
    assert not set("'\"\\%`") & set("".join(hashed(plugin, "p'%\\w") for plugin in (NATIVE, SHA2) for _ in range(50)))


@pytest.mark.parametrize("stored", ["", "invalid", "$A$", "$5$salt$digest", "*"])
def test_what_is_no_stored_password_matches_none(stored: str) -> None:
    assert not matches(stored, "")
