"""Keyed fingerprints, and the form in which stores hold a secret."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.fingerprint import fingerprint, payload, shown
from keyturn.core.sensitive import SecretFields, Sensitive


def test_a_payload_is_one_json_object_with_sorted_keys_and_no_spaces() -> None:
    fields = SecretFields({"b": "pässwörd ☃", "a": 1, "c": {"z": None, "y": True}})
    assert payload(fields).reveal() == '{"a":1,"b":"pässwörd ☃","c":{"y":true,"z":null}}'


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_fields_does_not_matter(names: list[str]) -> None:
    fields = SecretFields({name: name.upper() for name in names})
    assert payload(fields).reveal() == '{"a":"A","b":"B","c":"C","d":"D"}'


def test_a_fingerprint_is_hmac_sha256() -> None:
    expected = hmac.new(b"key", "wört".encode(), hashlib.sha256).hexdigest()
    assert fingerprint(Sensitive("key"), Sensitive("wört")) == expected


def test_another_key_gives_another_fingerprint() -> None:
    value = Sensitive("short")
    assert fingerprint(Sensitive("one"), value) != fingerprint(Sensitive("two"), value)


def test_people_see_twelve_digits() -> None:
    assert shown("0123456789abcdef" * 4) == "0123456789ab"
