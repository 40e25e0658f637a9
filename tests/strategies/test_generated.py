"""Values that no target knows."""

import pytest

from keyturn.core.errors import CandidateRejected
from keyturn.core.passwords import Form, PasswordPolicy
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import Change
from keyturn.strategies.generated import Generated
from tests.contracts.strategy import Case, StrategyContract

POLICIES = {"api_key": PasswordPolicy(Form.URL_SAFE), "signing_key": PasswordPolicy(Form.HEX)}


class TestGenerated(StrategyContract):
    changes = frozenset({"api_key", "signing_key"})
    has_target = False

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
