"""A fingerprint never passes as the signature of a plan."""

import json
from datetime import UTC, datetime

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.fingerprint import derived_key, fingerprint
from keyturn.core.plan import Plan, read_plan, write_plan
from keyturn.core.sensitive import Sensitive

KEY = Sensitive("0b" * 32)
PLAN = write_plan(Plan(datetime(2026, 1, 1, tzinfo=UTC), ("a/b",), (), False), KEY)


@pytest.mark.parametrize("prefix", ["", "keyturn plan\n", "keyturn plan signing 1"])
def test_a_value_whose_fingerprint_would_sign_a_plan_signs_none(prefix: str) -> None:
    body = json.loads(PLAN)["plan"] | {"paths": ["somebody/else"]}
    value = Sensitive(prefix + json.dumps(body, sort_keys=True, separators=(",", ":")))
    forged = json.dumps({"plan": body, "signature": fingerprint(KEY, value)})
    with pytest.raises(Invalid, match="its signature is wrong"):
        read_plan(forged, KEY, "plan.json")


def test_an_unchanged_plan_is_accepted() -> None:
    assert read_plan(PLAN, KEY, "plan.json").paths == ("a/b",)


def test_a_derived_key_matches_the_standard() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(hashes.SHA256(), length=32, salt=None, info=b"a purpose").derive(KEY.reveal().encode())
    assert derived_key(KEY, "a purpose").reveal() == key.hex()
    assert derived_key(KEY, "another").reveal() != key.hex()


def test_a_plan_that_was_signed_with_a_replaced_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(Invalid, match=r"a key that has been replaced since.*keyturn plan --out FILE"):
        read_plan(PLAN, Sensitive("0c" * 32), "plan.json", [KEY])
