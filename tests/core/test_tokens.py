"""Tokens are those that scanners know: the checksum is GitHub's and npm's."""

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.text.checksummed_tokens import BASE62, PREFIX, checksum, token, token_flaw

PUBLISHED = (
    ("ghp", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"),
    ("npm", "qkJaB6MffYVzZXWqmcoF49yrUxP3wf", "0LsakP"),
)
"""Tokens that scanners' documentation shows as examples, in parts so that no scanner finds them here."""


@pytest.mark.parametrize(("prefix", "drawn", "expected"), PUBLISHED)
def test_the_checksum_is_the_one_that_github_and_npm_use(prefix: str, drawn: str, expected: str) -> None:
    assert checksum(drawn) == expected
    assert token(prefix, drawn) == f"{prefix}_{drawn}{expected}"
    assert token_flaw(f"{prefix}_{drawn}{expected}", prefix, 30) is None


@given(st.text(BASE62, max_size=100))
def test_a_checksum_is_six_digits_that_give_the_number_back(drawn: str) -> None:
    said = checksum(drawn)
    assert re.fullmatch("[0-9A-Za-z]{6}", said)
    assert sum(BASE62.index(digit) * 62**place for place, digit in enumerate(reversed(said))) == zlib.crc32(
        drawn.encode()
    )


def test_a_small_checksum_has_leading_zeros() -> None:
    assert checksum("") == "000000"


@pytest.mark.parametrize("prefix", ["kt", "kt_live", "Acme2_test_x"])
def test_a_legal_prefix(prefix: str) -> None:
    assert re.fullmatch(PREFIX, prefix)


@pytest.mark.parametrize("prefix", ["", "k", "_kt", "kt_", "kt__live", "2kt", "kt-live", "kt live", "kt\n", "x" * 41])
def test_an_illegal_prefix(prefix: str) -> None:
    assert not re.fullmatch(PREFIX, prefix)
