"""What every strategy must do, against the real target: one suite over all that fill :class:`Strategy`.

A strategy's test module writes ``class TestItsName(StrategyContract)`` with the fixture ``case`` and the facts
about its kind, and adds the cases that only it has.
"""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from keyturn.core.errors import CandidateRejected, Invalid, Superseded, UnsupportedOperation
from keyturn.core.ports.strategies import AdjustsFields, Change, RemovesOrphans, Renews, Strategy
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import SecretFields


@dataclass(frozen=True)
class Case:
    """A strategy over a fresh credential that serves now.

    ``works`` tries a version as an application does; ``spoilt`` gives a candidate that the target must refuse.
    ``session`` uses a version for as long as it is entered, where the target tells of uses. ``stranger`` is what
    the secret would hold if somebody had written another account's credential into it. ``opened`` opens a session as
    an application does, and gives what tells whether it still works, where a cut ends sessions. ``revoker`` is the
    strategy as whoever revokes opens it, where a worker's login has fewer rights.
    """

    strategy: Strategy
    current: SecretFields
    works: Callable[[SecretFields], bool]
    spoilt: Callable[[SecretFields], SecretFields]
    session: Callable[[SecretFields], AbstractContextManager[object]] | None = None
    stranger: SecretFields | None = None
    opened: Callable[[SecretFields], AbstractContextManager[Callable[[], bool]]] | None = None
    revoker: Strategy | None = None

    @property
    def by_place(self) -> Strategy:
        """What ends by place: whoever revokes."""
        return self.revoker or self.strategy

    def existing_ids(self) -> Sequence[str]:
        """What is at the target before a mint that makes something there."""
        orphans = capability(self.strategy, RemovesOrphans)
        return orphans.existing_ids() if orphans else ()

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Remove what a dead mint has left; nothing where none can leave anything."""
        if orphans := capability(self.strategy, RemovesOrphans):
            orphans.remove_orphans(before, credentials)

    def change(self, sequence: int = 5) -> Change:
        """A new candidate for the contract to work with."""
        return Change("apps/contract", sequence, self.strategy.mint(self.current), self.current)

    def installed(self, sequence: int = 5) -> Change:
        """One that the target accepts."""
        change = self.change(sequence)
        self.strategy.install(change)
        return change

    def replacement(self, sequence: int = 7) -> Change:
        """A candidate in the place of what was cut, guarded and installed; none serves next to it."""
        self.strategy.preflight(None, None)
        change = Change("apps/contract", sequence, self.strategy.mint(None), None)
        self.strategy.preflight(None, change.candidate)
        self.strategy.install(change)
        return change


UNUSABLE = SecretFields({"endpoint": "https://api.example.com"})
"""A version that names no credential."""

SECRET = (
    *("password", "value", "private_key", "secret_access_key", "client_secret", "token", "api_key", "key"),
    *("account_key", "connection_string", "credentials_json"),
)
"""The fields that no message may show, as the strategies name them."""


class StrategyContract:
    """The cases, and the facts that differ."""

    changes: ClassVar[frozenset[str]]
    """The fields of a candidate."""
    steady: ClassVar[frozenset[str]] = frozenset({"username"})
    """Those among them that need not be new each time."""
    has_target: ClassVar[bool] = True
    """Whether something outside knows the credential, and can refuse it."""
    overlaps: ClassVar[bool] = True
    """Whether the old credential still works beside the new one, as the strategy says itself."""
    puts_back: ClassVar[bool] = True
    """Whether CURRENT works again after an abandonment, where a candidate ends it."""
    fenced: ClassVar[bool] = False
    """Whether the target refuses an older sequence number."""
    has_place: ClassVar[bool] = True
    """Whether the target tells everything of the secret, so that it can be ended though no version names it."""
    ends_sessions: ClassVar[bool] = False
    """Whether a cut ends the sessions that are open, and tells how many; then the case has ``opened``."""

    answers: ClassVar[bool] = True
    """Whether the strategy asks its target if it accepts a credential."""

    @property
    def can_ask(self) -> bool:
        """Whether anybody can tell that a credential is accepted."""
        return self.has_target and self.answers

    @pytest.fixture
    def case(self) -> Case:
        """The strategy under test, and a credential in force."""
        raise NotImplementedError

    def test_a_candidate_holds_only_what_changes_and_each_is_new(self, case: Case) -> None:
        first, second = case.strategy.mint(case.current), case.strategy.mint(case.current)
        assert set(first) == set(second) == self.changes == set(case.strategy.credential_fields)
        for field in self.changes - self.steady:
            assert len({first[field], second[field], case.current.get(field)}) == 3

    def test_minting_leaves_what_serves_alone(self, case: Case) -> None:
        case.strategy.mint(case.current)
        assert case.works(case.current)

    def test_a_first_version_needs_no_current(self, case: Case) -> None:
        candidate = case.strategy.mint(None)
        change = Change("apps/contract", 5, candidate, None)
        case.strategy.install(change)
        case.strategy.verify(change)
        assert case.works(case.current.merged(candidate))

    def test_installing_twice_is_the_same_as_once(self, case: Case) -> None:
        change = case.installed()
        case.strategy.install(change)
        case.strategy.verify(change)
        assert case.works(case.current.merged(change.candidate))

    def test_what_serves_works_until_the_end_where_both_can_be_in_force(self, case: Case) -> None:
        change = case.installed()
        case.strategy.verify(change)
        assert case.works(case.current) is self.overlaps is case.strategy.overlaps

    def test_a_wrong_candidate_is_rejected_without_a_word_of_its_value(self, case: Case) -> None:
        change = case.installed()
        wrong = Change(change.path, change.sequence, case.spoilt(change.candidate), change.current)
        with pytest.raises(CandidateRejected) as caught:
            case.strategy.verify(wrong)
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
        for field in self.changes - self.steady - {"username", "lease_id"}:
            assert wrong.candidate[field].reveal() not in told
            assert change.candidate[field].reveal() not in told
        assert caught.value.hint

    def test_after_an_abandonment_only_current_works(self, case: Case) -> None:
        change = case.installed()
        given_up = Change(change.path, change.sequence + 1, change.candidate, change.current)
        case.strategy.abandon(given_up)
        case.strategy.abandon(given_up)
        assert case.works(case.current) is self.puts_back
        assert not (self.has_target and case.works(case.current.merged(change.candidate)))

    def test_what_was_never_installed_can_be_abandoned(self, case: Case) -> None:
        case.strategy.abandon(case.change())
        assert case.works(case.current)

    def test_after_an_abandonment_another_candidate_takes_its_place(self, case: Case) -> None:
        change = case.installed()
        case.strategy.abandon(Change(change.path, 6, change.candidate, change.current))
        again = case.installed(7)
        case.strategy.verify(again)
        assert case.works(case.current.merged(again.candidate))

    def test_the_old_credential_ends_and_the_new_one_stays(self, case: Case) -> None:
        change = case.installed()
        ends = case.strategy.credential_id(case.current)
        case.strategy.retire(ends, change.sequence)
        case.strategy.retire(ends, change.sequence)
        assert not (self.has_target and case.works(case.current))
        assert case.works(case.current.merged(change.candidate))

    def test_ending_nothing_is_quiet(self, case: Case) -> None:
        case.strategy.retire({}, 5)
        assert case.works(case.current)

    def test_what_ends_a_credential_is_named_without_values(self, case: Case) -> None:
        ends: Mapping[str, str] = case.strategy.credential_id(case.current)
        told = json.dumps(dict(ends))
        secret = [field for field in ("password", "value") if field in case.current]
        assert not [field for field in secret if case.current[field].reveal() in told]

    def test_an_older_sequence_is_superseded(self, case: Case) -> None:
        newer = case.installed(8)
        older = Change(newer.path, 7, case.spoilt(newer.candidate), newer.current)
        if self.fenced:
            for verb in (case.strategy.install, case.strategy.abandon):
                with pytest.raises(Superseded):
                    verb(older)
        assert case.works(case.current.merged(newer.candidate))

    def test_what_is_done_next_is_numbered_above_what_stands_at_the_target(self, case: Case) -> None:
        assert case.strategy.last_sequence() < 8
        change = case.installed(8)
        stands = 8 if self.fenced else 0
        assert case.strategy.last_sequence() == stands
        assert not self.fenced or case.strategy.last_sequence([case.current.merged(change.candidate)]) == stands

    def test_sweeping_spares_what_was_there_and_what_is_known(self, case: Case) -> None:
        before = case.existing_ids()
        change = case.installed()
        case.remove_orphans(before, [case.current, change.candidate])
        assert case.works(case.current.merged(change.candidate))
        assert case.works(case.current) is self.overlaps

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        before, orphan = case.existing_ids(), case.strategy.mint(case.current)
        case.remove_orphans(before, [case.current])
        assert case.works(case.current)
        assert not (self.has_target and case.works(case.current.merged(orphan)))

    def test_the_guard_lets_the_secrets_own_credentials_pass(self, case: Case) -> None:
        case.strategy.preflight(None, None)
        case.strategy.preflight(case.current, None)
        case.strategy.preflight(case.current, case.strategy.mint(case.current))
        assert case.works(case.current)

    def test_the_guard_refuses_another_accounts_credential(self, case: Case) -> None:
        if case.stranger is None:
            pytest.skip("nothing in the secret names an account")
        candidate = case.strategy.mint(case.current)
        for current, next_one in ((case.stranger, None), (case.stranger, candidate)):
            with pytest.raises(Invalid) as caught:
                case.strategy.preflight(current, next_one)
            assert caught.value.hint
        assert case.works(case.current)

    def test_use_of_the_old_credential_is_seen_while_it_lasts(self, case: Case) -> None:
        if case.session is None:
            pytest.skip("the target tells nothing of uses")
        case.installed()
        ends, since = case.strategy.credential_id(case.current), datetime.now(UTC) - timedelta(seconds=1)
        with case.session(case.current):
            assert case.strategy.in_use(ends, since)
        assert case.strategy.in_use({}, since) == ()

    def test_keeping_it_alive_changes_nothing(self, case: Case) -> None:
        if renewing := capability(case.strategy, Renews):
            renewing.renew(case.strategy.credential_id(case.current))
            renewing.renew({})
        assert case.works(case.current)

    def test_what_is_left_to_change_after_the_end_is_fields_of_current(self, case: Case) -> None:
        adjusts = capability(case.strategy, AdjustsFields)
        left = adjusts.cleanup_fields(case.current) if adjusts else None
        assert left is None or set(left) <= set(case.current)

    # an emergency: the credential is ended at once

    def test_what_is_in_force_is_honoured(self, case: Case) -> None:
        change = case.installed()
        accepted = True if self.can_ask else None
        assert case.strategy.accepts(case.current.merged(change.candidate)) is accepted
        assert case.strategy.accepts(case.current) is (accepted and self.overlaps)

    def test_trying_whether_it_is_honoured_changes_nothing(self, case: Case) -> None:
        first, second = case.strategy.accepts(case.current), case.strategy.accepts(case.current)
        assert first is second is (True if self.can_ask else None)
        assert case.works(case.current)

    def test_nobody_can_tell_whether_a_version_without_a_credential_is_honoured(self, case: Case) -> None:
        assert case.strategy.accepts(UNUSABLE) is None

    def test_a_cut_ends_the_credential_that_serves_at_once(self, case: Case) -> None:
        case.strategy.revoke(case.current, 6)
        assert case.works(case.current) is not self.has_target
        assert case.strategy.accepts(case.current) is (False if self.can_ask else None)

    def test_a_cut_ends_a_candidate_that_is_installed_too(self, case: Case) -> None:
        candidate = case.current.merged(case.installed().candidate)
        case.strategy.revoke(candidate, 6)
        assert case.works(candidate) is not self.has_target
        assert case.strategy.accepts(candidate) is (False if self.can_ask else None)

    def test_cutting_twice_is_quiet_and_finds_nothing_more(self, case: Case) -> None:
        case.strategy.revoke(case.current, 6)
        assert case.strategy.revoke(case.current, 6).sessions == 0
        assert not (self.has_target and case.works(case.current))

    def test_cutting_a_version_without_a_credential_is_quiet_and_changes_nothing(self, case: Case) -> None:
        assert case.strategy.revoke(UNUSABLE, 6).sessions == 0
        assert case.works(case.current)

    def test_open_sessions_end_with_the_cut_and_are_counted(self, case: Case) -> None:
        if not self.ends_sessions:
            assert case.strategy.revoke(case.current, 6).sessions == 0
            return
        assert case.opened is not None
        with case.opened(case.current) as one, case.opened(case.current) as other:
            assert one()
            assert other()
            assert case.strategy.revoke(case.current, 6).sessions == 2
            assert not one()
            assert not other()

    def test_what_was_cut_can_be_replaced(self, case: Case) -> None:
        case.strategy.revoke(case.current, 6)
        change = case.replacement()
        case.strategy.verify(change)
        assert case.works(case.current.merged(change.candidate))
        assert case.strategy.accepts(case.current.merged(change.candidate)) is (True if self.can_ask else None)
        assert not (self.has_target and case.works(case.current))

    def test_what_was_cut_beside_an_open_rotation_can_be_replaced(self, case: Case) -> None:
        old = [case.current, case.current.merged(case.installed().candidate)]
        for version in old:
            case.strategy.revoke(version, 6)
        change = case.replacement()
        case.strategy.verify(change)
        assert case.works(case.current.merged(change.candidate))
        assert not (self.has_target and any(map(case.works, old)))

    def test_no_run_from_before_a_cut_puts_the_credential_in_force_again(self, case: Case) -> None:
        change = case.installed(5)
        old = [case.current, case.current.merged(change.candidate)]
        for version in old:
            case.strategy.revoke(version, 6)
        if self.fenced:
            for verb in (case.strategy.install, case.strategy.abandon):
                with pytest.raises(Superseded):
                    verb(change)
        assert not (self.has_target and any(map(case.works, old)))

    def test_a_cut_by_an_older_run_leaves_what_a_newer_one_has_installed_alone(self, case: Case) -> None:
        if not self.fenced:
            pytest.skip("nothing at the target tells which run is the newer one")
        newer = case.current.merged(case.installed(8).candidate)
        with pytest.raises(Superseded) as caught:
            case.strategy.revoke(newer, 7)
        assert not told_of(caught.value, newer)
        assert case.works(newer)
        case.strategy.revoke(newer, 8)
        assert not case.works(newer)

    # by place: what no version that can be read tells of

    def test_everything_of_the_secret_is_found_and_ended_though_no_version_names_it(self, case: Case) -> None:
        candidate = case.current.merged(case.installed().candidate)
        if not self.has_place:
            with pytest.raises(UnsupportedOperation) as caught:
                list(case.by_place.find_everything([]))
            assert caught.value.problem
            return
        for name in case.by_place.find_everything([]):
            case.by_place.revoke_found(name, 6)
        assert not any(map(case.works, (case.current, candidate)))

    def test_what_is_spared_is_not_found_and_works_on(self, case: Case) -> None:
        newer = case.current.merged(case.installed().candidate)
        found = self.found(case, newer)
        for name in found:
            case.by_place.revoke_found(name, 6)
        assert case.works(newer)
        assert not (found and case.works(case.current))
        assert not set(found) & set(self.found(case, newer))

    def test_a_late_cut_of_what_was_found_ends_nothing_that_was_put_in_force_since(self, case: Case) -> None:
        found = self.found(case)
        for name in found:
            case.by_place.revoke_found(name, 6)
        newer = case.current.merged(case.replacement(8).candidate)
        for name in found:
            with suppress(Superseded):
                case.by_place.revoke_found(name, 6)
        assert case.works(newer)

    def test_what_is_found_shows_no_value(self, case: Case) -> None:
        found = " ".join(self.found(case))
        assert not [name for name in SECRET if name in case.current and case.current[name].reveal() in found]

    def found(self, case: Case, *spared: SecretFields) -> list[str]:
        """What the target tells; nothing where it reports nothing."""
        return list(case.by_place.find_everything(spared)) if self.has_place else []

    # and what comes after

    def test_give_up_what_was_open_before_a_cut_revives_nothing(self, case: Case) -> None:
        change = case.installed(5)
        old = [case.current, case.current.merged(change.candidate)]
        for version in old:
            case.strategy.revoke(version, 6)
        case.strategy.abandon(Change(change.path, 6, change.candidate, None))
        assert not (self.has_target and any(map(case.works, old)))

    def test_give_up_a_replacement_revives_nothing(self, case: Case) -> None:
        case.strategy.revoke(case.current, 6)
        case.strategy.abandon(case.replacement())
        assert not (self.has_target and case.works(case.current))
        again = case.replacement(8)
        case.strategy.verify(again)
        assert case.works(case.current.merged(again.candidate))

    def test_what_outlives_a_cut_is_told_without_values(self, case: Case) -> None:
        outlives = " ".join(case.strategy.revoke(case.current, 6).outlives)
        assert not [name for name in SECRET if name in case.current and case.current[name].reveal() in outlives]


def told_of(error: Exception, fields: SecretFields) -> list[str]:
    """The secret fields that the error's text or traceback shows."""
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    return [name for name in SECRET if name in fields and fields[name].reveal() in told]
