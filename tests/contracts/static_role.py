"""The suite of strategies for an account whose one password an engine of the hub holds."""

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.ports.strategies import Change
from tests.contracts.strategy import Case, StrategyContract


class StaticRoleContract(StrategyContract):
    """Run for each engine. The case's ``stranger`` has the account ``stranger``."""

    changes = frozenset({"username", "password"})
    overlaps = False
    puts_back = False

    # The engine holds one password, which is what a mint gives: where it is new already, it is not changed again.

    def test_a_candidate_holds_only_what_changes_and_each_is_new(self, case: Case) -> None:
        first = case.strategy.mint(case.current)
        second = case.strategy.mint(first)
        assert set(first) == set(second) == self.changes
        assert len({fields["password"] for fields in (case.current, first, second)}) == 3
        assert len({fields["username"] for fields in (case.current, first, second)}) == 1

    def test_minting_leaves_what_serves_alone(self, case: Case) -> None:
        """It can't where CURRENT is what the engine holds; where the engine has gone on, it changes nothing more."""
        candidate = case.strategy.mint(case.current)
        assert not case.works(case.current)
        assert case.strategy.mint(case.current) == candidate
        assert case.works(candidate)

    def test_after_an_abandonment_only_current_works(self, case: Case) -> None:
        """Nothing is put back and nothing is changed: another run may have taken the same password over."""
        change = case.installed()
        given_up = Change(change.path, change.sequence + 1, change.candidate, change.current)
        case.strategy.abandon(given_up)
        assert not case.works(case.current)
        assert case.works(change.candidate)

    def test_what_was_never_installed_can_be_abandoned(self, case: Case) -> None:
        case.strategy.abandon(change := case.change())
        assert case.works(change.candidate)

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """It leaves it: the engine holds no other password, and the next mint takes it up."""
        before, orphan = case.existing_ids(), case.strategy.mint(case.current)
        case.remove_orphans(before, [case.current])
        assert case.strategy.mint(case.current) == orphan

    def test_the_guard_lets_the_secrets_own_credentials_pass(self, case: Case) -> None:
        case.strategy.preflight(None, None)
        case.strategy.preflight(case.current, None)
        case.strategy.preflight(case.current, case.current)
        assert case.works(case.current)

    def test_the_guard_refuses_another_accounts_credential(self, case: Case) -> None:
        assert case.stranger is not None
        for pair in ((case.stranger, None), (case.stranger, case.current), (case.current, case.stranger)):
            with pytest.raises(Invalid, match="stranger") as caught:
                case.strategy.preflight(*pair)
            assert caught.value.hint
        assert case.works(case.current)

    def test_ending_nothing_is_quiet(self, case: Case) -> None:
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        case.strategy.retire({}, 5)
        assert case.works(case.current)
