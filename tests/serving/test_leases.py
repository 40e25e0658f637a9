"""Who has a part: one process at a time, by the hub's word and one's own clock alone."""

from dataclasses import dataclass
from typing import Any

import pytest

from keyturn.core.errors import Superseded, Unavailable
from keyturn.core.ports.hub import State
from keyturn.serving.leases import LAPSE, SERVE, PartLease, load_lease
from keyturn.serving.parts import SAFE, PartHealth, Tenure
from tests.support.lab import Lab, fresh


@dataclass
class Hand:
    """A clock that is moved by hand."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class Pair:
    """Two processes that want the same part, each with a clock of its own."""

    lab: Lab
    part: str

    def __post_init__(self) -> None:
        self.clock, self.other_clock = Hand(), Hand(5.0)
        self.lease = PartLease(self.lab.hub, self.part, "first", "a", self.clock)
        self.other = PartLease(self.lab.hub, self.part, "second", "b", self.other_clock)


@pytest.fixture
def pair(lab: Lab) -> Pair:
    return Pair(lab, fresh())


def test_one_has_it_for_as_long_as_it_is_renewed(pair: Pair) -> None:
    assert pair.lease.take() == 1
    for _ in range(3):
        assert pair.other.take() is None
        pair.other_clock.move(LAPSE - 1)
        pair.lease.renew(PartHealth(12.34, "it waits"))
    state = load_lease(pair.lab.hub, pair.part)
    assert (state.holder, state.host, state.held) == ("first", "a", True)
    assert state.health == PartHealth(12.3, "it waits")


def test_what_stands_still_by_the_watchers_own_clock_is_taken_over_and_its_holder_is_refused(pair: Pair) -> None:
    pair.lease.take()
    pair.clock.move(100 * LAPSE)
    assert pair.other.take() is None, "it has not watched for long enough, whatever the holder's clock says"
    pair.other_clock.move(LAPSE)
    assert pair.other.take() == 2
    with pytest.raises(Superseded):
        pair.lease.renew()
    assert pair.lease.take() is None
    pair.lease.give_back()
    assert load_lease(pair.lab.hub, pair.part).holder == "second"


def test_what_is_given_back_is_taken_at_once(pair: Pair) -> None:
    pair.lease.take()
    pair.lease.give_back()
    assert load_lease(pair.lab.hub, pair.part).held is False
    assert pair.other.take() == 2


def test_a_renewal_whose_answer_was_lost_is_ours_all_the_same(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.lease.take()
    write = pair.lab.hub.write_state

    def lost(*arguments: Any, **more: Any) -> int:
        write(*arguments, **more)
        raise Unavailable("write", "it", "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(pair.lab.hub, "write_state", lost)
        with pytest.raises(Unavailable):
            pair.lease.renew()
    pair.lease.renew()
    assert pair.other.take() is None


def test_two_who_come_at_the_same_moment_do_not_both_get_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = pair.lab.hub.read_state, list[State | None]()

    def before_the_other(path: str) -> State | None:
        state = read(path)
        if not seen:
            seen.append(state)
            assert pair.other.take() == 1
        return state

    monkeypatch.setattr(pair.lab.hub, "read_state", before_the_other)
    assert pair.lease.take() is None


@pytest.mark.parametrize("data", [{}, {"holder": 1}, {"holder": "x", "host": "h", "number": "many"}])
def test_an_entry_that_somebody_else_has_written_is_nobodys(pair: Pair, data: dict[str, Any]) -> None:
    pair.lab.hub.write_state(f"{SERVE}/{pair.part}", data, cas=0)
    assert pair.lease.take() == 1


def test_an_entry_that_somebody_has_deleted_ends_the_tenure_and_is_taken_anew(pair: Pair) -> None:
    pair.lease.take()
    pair.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(f"{SERVE}/{pair.part}", mount_point="keyturn")
    with pytest.raises(Superseded):
        pair.lease.renew()
    assert pair.lease.take() == 1


def test_whoever_could_not_renew_stops_before_another_may_begin() -> None:
    clock = Hand()
    tenure = Tenure("part", 1, clock, lambda: None)
    assert SAFE < LAPSE
    clock.move(SAFE)
    tenure.insist()
    clock.move(0.1)
    with pytest.raises(Superseded):
        tenure.insist()
    assert tenure.ended.is_set()
    tenure.renewed(clock())
    assert tenure.over, "what has ended stays so"


def test_whoever_was_frozen_asks_the_hub_before_what_can_not_be_taken_back(pair: Pair) -> None:
    number = pair.lease.take()
    assert number
    tenure = Tenure(pair.part, number, pair.clock, pair.lease.renew)
    tenure.confirm()
    # A machine that is frozen does not notice: its own clock stands still.
    pair.other.take()
    pair.other_clock.move(LAPSE)
    pair.other.take()
    with pytest.raises(Superseded):
        tenure.confirm()
