"""What the catalogue says of generated values, and what it can't say."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.core.text.passwords import Form, PasswordPolicy, generate, password_flaw
from keyturn.settings.passwords import PasswordSettings

EVERY = [
    ({}, PasswordPolicy()),
    ({"form": "hex", "length": 16}, PasswordPolicy(Form.HEX, 16)),
    ({"form": "url-safe"}, PasswordPolicy(Form.URL_SAFE)),
    ({"form": "uuid", "minimum_entropy": 122}, PasswordPolicy(Form.UUID, minimum_entropy=122)),
    ({"form": "passphrase"}, PasswordPolicy(Form.PASSPHRASE)),
    ({"form": "passphrase", "separator": " "}, PasswordPolicy(Form.PASSPHRASE, separator=" ")),
    ({"form": "token", "prefix": "kt_live"}, PasswordPolicy(Form.TOKEN, prefix="kt_live")),
    (
        {"length": 40, "alphabet": "abcdefghijklmnop0123", "classes": ["digit"]},
        PasswordPolicy(Form.PASSWORD, 40, "abcdefghijklmnop0123", ("digit",)),
    ),
]


@pytest.mark.parametrize(("said", "meant"), EVERY, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_settings_become_the_policy_that_they_say(said: dict[str, Any], meant: PasswordPolicy) -> None:
    policy = PasswordSettings.model_validate(said).policy
    assert policy == meant
    assert password_flaw(policy, generate(policy)) is None


def test_every_form_can_be_said() -> None:
    assert {meant.form for _, meant in EVERY} == set(Form)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"form": "passphrase", "length": 8}, "88 bits of entropy, and minimum_entropy asks for 128"),
        ({"form": "passphrase", "separator": "and"}, "one character between them"),
        ({"form": "passphrase", "separator": "\n"}, "one character between them"),
        ({"form": "token"}, "begins with a prefix"),
        ({"form": "token", "prefix": "kt_live_"}, "not a legal one"),
        ({"form": "token", "prefix": "kt", "length": 20}, "119 bits of entropy"),
        ({"form": "hex", "separator": "-"}, "separator doesn't apply to the form hex"),
        ({"prefix": "kt"}, "prefix doesn't apply to the form password"),
    ],
)
def test_rules_that_can_not_be_kept_are_refused(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        PasswordSettings.model_validate(said)


def test_the_editors_schema_and_the_loader_agree_on_prefixes() -> None:
    pattern = PasswordSettings.model_json_schema()["properties"]["prefix"]["anyOf"][0]["pattern"]
    for prefix in ("kt", "kt_live", "k", "kt_", "_kt", "kt__live", "kt-live", "x" * 40, "x" * 41):
        try:
            PasswordSettings.model_validate({"form": "token", "prefix": prefix})
            loads = True
        except ValidationError:
            loads = False
        assert bool(re.search(pattern, prefix)) is loads
