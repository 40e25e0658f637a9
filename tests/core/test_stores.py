"""Ownership marks of a copy survive their conversion to tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.ports.stores import OwnershipTags

MARKS = OwnershipTags("ml/database", 12, "ab" * 32)


@given(
    source=st.from_regex(r"[a-z0-9@_/-]{1,40}", fullmatch=True),
    version=st.integers(0, 10**9),
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)
def test_marks_survive_tags(source: str, version: int, digest: str) -> None:
    marks = OwnershipTags(source, version, digest)
    assert OwnershipTags.from_tags(marks.to_tags()) == marks


def test_other_tags_do_not_matter() -> None:
    assert OwnershipTags.from_tags({**MARKS.to_tags(), "team": "ml"}) == MARKS


@pytest.mark.parametrize(
    "changed",
    [
        {"keyturn-managed-by": "somebody else"},
        {"keyturn-source": "ml/database"},
        {"keyturn-source": "ml/database@"},
        {"keyturn-source": "@12"},
        {"keyturn-source": "ml/database@twelve"},
        {"keyturn-source": "ml/database@-1"},
    ],
)
def test_malformed_marks_are_nobodys(changed: dict[str, str]) -> None:
    assert OwnershipTags.from_tags({**MARKS.to_tags(), **changed}) is None


def test_no_tags_are_nobodys() -> None:
    assert OwnershipTags.from_tags({}) is None
