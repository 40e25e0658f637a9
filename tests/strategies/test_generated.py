"""Values that no target knows."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from keyturn.core.errors import CandidateRejected
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.checksummed_tokens import token
from keyturn.core.text.passwords import Form, PasswordPolicy
from keyturn.strategies.generated import Generated, GeneratedSettings
from tests.contracts.strategy import Case, StrategyContract

POLICIES = {
    "api_key": PasswordPolicy(Form.URL_SAFE),
    "signing_key": PasswordPolicy(Form.HEX),
    "login": PasswordPolicy(Form.PASSWORD),
    "id": PasswordPolicy(Form.UUID, minimum_entropy=122),
    "phrase": PasswordPolicy(Form.PASSPHRASE),
    "access_token": PasswordPolicy(Form.TOKEN, prefix="acme_live"),
}
PAGE = Path(__file__).parents[2] / "docs" / "strategies" / "generated.md"
TIMES = {"strategy": "generated", "interval": "30d", "grace": "1h"}


class TestGenerated(StrategyContract):
    changes = frozenset(POLICIES)
    has_target = False
    has_place = False

    @pytest.fixture
    def case(self) -> Case:
        strategy = Generated("apps/contract", POLICIES)
        current = SecretFields({**strategy.mint(None), "endpoint": "https://api.example.com"})
        return Case(strategy, current, bool, lambda candidate: candidate.merged({"signing_key": "not hexadecimal"}))

    @pytest.mark.parametrize(
        ("candidate", "said"),
        [
            pytest.param(
                lambda case: SecretFields({"api_key": case.change().candidate["api_key"]}), "lacks", id="lacks"
            ),
            pytest.param(lambda case: case.current, "serves already", id="old"),
        ],
    )
    def test_a_candidate_that_is_no_replacement_is_rejected(self, case: Case, candidate: object, said: str) -> None:
        assert callable(candidate)
        with pytest.raises(CandidateRejected, match=said):
            case.strategy.verify(Change("apps/contract", 1, candidate(case), case.current))

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("api_key", "short", "43 characters of URL-safe Base64"),
            ("login", "short", "it has 5 characters, not 32"),
            ("id", "short", "it is not a UUID"),
            ("phrase", "zoo-zoo", "it has 2 words, not 12"),
            ("access_token", token("acme_test", "x" * 30), "does not begin with its prefix"),
            ("access_token", f"acme_live_{'x' * 36}", "checksum does not fit"),
        ],
    )
    def test_a_value_of_another_form_is_rejected_with_its_field(
        self, case: Case, field: str, value: str, said: str
    ) -> None:
        change = case.change()
        with pytest.raises(CandidateRejected, match=said) as caught:
            case.strategy.verify(Change("apps/contract", 1, change.candidate.merged({field: value}), case.current))
        assert caught.value.name == f"apps/contract:{field}"
        assert value not in str(caught.value)


def opened(settings: dict[str, Any]) -> Generated:
    nothing: Any = None
    return GeneratedSettings.model_validate({**TIMES, **settings}).open("apps/key", nothing)


def test_one_field_has_its_rules_beside_the_strategy() -> None:
    made = opened({"field": "token", "form": "token", "prefix": "kt_live", "length": 40})
    assert made.policies == {"token": PasswordPolicy(Form.TOKEN, 40, prefix="kt_live")}
    assert opened({}).policies == {"value": PasswordPolicy()}


def test_several_fields_have_rules_of_their_own() -> None:
    made = opened({"fields": {"a": {"form": "passphrase", "separator": "."}, "b": {"form": "token", "prefix": "kt"}}})
    assert made.policies == {
        "a": PasswordPolicy(Form.PASSPHRASE, separator="."),
        "b": PasswordPolicy(Form.TOKEN, prefix="kt"),
    }


@pytest.mark.parametrize("beside", [{"separator": "."}, {"prefix": "kt"}, {"form": "hex"}, {"field": "a"}])
def test_rules_stand_in_one_place(beside: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=f"fields is given together with {next(iter(beside))}"):
        opened({"fields": {"a": {}}, **beside})


def blocks(language: str) -> list[str]:
    """The examples of the strategy's page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)


def test_the_examples_of_the_page_are_sound_settings() -> None:
    secrets = [secret for block in blocks("yaml") for secret in yaml.safe_load(block)["secrets"].values()]
    made = [GeneratedSettings.model_validate(secret["rotation"]).open("a", None) for secret in secrets]  # type: ignore[arg-type]
    assert len(made) == 2
    assert {policy.form for one in made for policy in one.policies.values()} == set(Form) - {Form.UUID}


def test_the_pages_table_says_what_each_form_holds() -> None:
    told = dict(re.findall(r"^\| `([a-z-]+)` \| .* \| ([0-9]+) \|$", PAGE.read_text(), flags=re.M))
    prefix = {Form.TOKEN: "acme"}
    policies = {form: PasswordPolicy(form, minimum_entropy=1, prefix=prefix.get(form)) for form in Form}
    assert told == {form.value: str(int(policy.entropy())) for form, policy in policies.items()}


def test_the_pages_rule_for_scanners_finds_the_tokens_and_nothing_longer() -> None:
    written = re.search(r"^regex = \'\'\'(.*)\'\'\'$", blocks("toml")[0], flags=re.M)
    assert written
    values = [opened({"form": "token", "prefix": prefix}).mint(None)["value"] for prefix in ("acme_live", "acme_test")]
    assert all(re.search(written[1], f'key = "{value.reveal()}"') for value in values)
    assert not re.search(written[1], values[0].reveal() + "0")
    exec(blocks("python")[0], {})  # noqa: S102
