"""Pruning never removes the newest intact backup chain."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.ports.backups import StoredObject
from keyturn.recovery.chains import StoredChain, list_chains
from keyturn.recovery.pruning import ChainFault, Pruning, Retention, find_fault, plan_pruning, remove_chain
from tests.recovery.conftest import UNSIGNED, Setting

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ONE = Retention(last=1, daily=0, weekly=0, monthly=0)
LOST = ChainFault(Invalid("read", "a part", "it is gone"), lost=True)
UNOPENED = ChainFault(Invalid("open", "a chain", "nobody here has its key"))


def chain(days: float, *, finished: bool = True) -> StoredChain:
    """One that was begun so many days ago."""
    at = NOW - timedelta(days=days)
    name = f"{at:%Y%m%dT%H%M%SZ}-00000000"
    stored = StoredObject(f"{name}/00000000.part", 1, at)
    manifests = (StoredObject(f"{name}/00000000.manifest", 1, at),) if finished else ()
    return StoredChain(name, manifests, (stored,))


def planned(days: Mapping[float, ChainFault | None], retention: Retention = ONE) -> tuple[list[float], Pruning]:
    """The ages of those that go, the oldest first."""
    chains = {chain(age).name: age for age in sorted(days, reverse=True)}
    plan = plan_pruning([chain(age) for age in chains.values()], retention, lambda it: days[chains[it.name]], NOW)
    assert {item.name for item in plan.remove} | plan.keep.keys() == set(chains)
    return [chains[item.name] for item in plan.remove], plan


def test_the_newest_and_those_of_days_weeks_and_months_stay() -> None:
    ages = [*(hours / 24 for hours in range(0, 24 * 9, 6)), 20, 50, 51]
    gone, plan = planned(dict.fromkeys(ages), Retention(last=2, daily=3, weekly=2, monthly=3))
    kept = sorted(age for age in ages if age not in gone)
    assert kept[:2] == [0, 0.25], "the last two"
    assert {(NOW - timedelta(days=age)).date() for age in kept} >= {NOW.date() - timedelta(days=d) for d in (0, 1, 2)}
    assert 50 in kept
    assert 51 in gone, "not the newest of its month"
    assert len(plan.keep) == len(kept) < 10


@pytest.mark.attack
def test_an_incomplete_chain_does_not_replace_an_intact_one() -> None:
    gone, plan = planned({0: LOST, 1: None, 2: None})
    assert gone == [2]
    assert plan.keep[chain(1).name] == "one of the last"
    assert "it is gone" in plan.keep[chain(0).name]


def test_one_that_has_lost_parts_goes_once_a_newer_one_holds_and_it_would_have_gone_anyway() -> None:
    assert planned({0: None, 1: LOST})[0] == [1]
    assert planned({0: None, 1: LOST}, Retention(2, 0, 0, 0))[0] == []


def test_nothing_goes_where_none_holds_and_what_nobody_can_open_stays() -> None:
    assert planned({0: LOST, 1: UNOPENED, 2: LOST})[0] == []
    assert planned({0: None, 1: UNOPENED, 2: None})[0] == [2]


@pytest.mark.attack
def test_the_continued_chain_is_kept_although_newer_ones_exist() -> None:
    older, newer, other = chain(2), chain(0.1), chain(1)
    increment = StoredObject(f"{older.name}/00000001.manifest", 1, NOW)
    older = replace(older, manifests=(*older.manifests, increment))
    plan = plan_pruning([older, other, newer], ONE, lambda _: None, NOW)
    assert plan.remove == [other]


def test_one_that_was_never_finished_goes_after_an_hour() -> None:
    begun, left, good = chain(0.01, finished=False), chain(1, finished=False), chain(2)
    plan = plan_pruning([good, left, begun], ONE, lambda _: None, NOW)
    assert [item.name for item in plan.remove] == [left.name]
    assert plan.keep[begun.name] == "it is being written"


def test_a_part_that_is_gone_or_cut_short_is_found_without_reading_any(setting: Setting) -> None:
    setting.write("ml/database", "first")
    maker = setting.maker()
    for _ in range(2):
        maker.make_base()
    older, newer = list_chains(setting.place)
    assert find_fault(setting.place, newer, setting.keys, UNSIGNED) is None
    content = setting.place.get(newer.objects[0].name)
    setting.place.remove(newer.objects[0].name)
    for problem in ("it is gone", "it is not as long as it was"):
        _, broken = list_chains(setting.place)
        fault = find_fault(setting.place, broken, setting.keys, UNSIGNED)
        assert fault is not None
        assert fault.lost
        assert problem in str(fault.error)
        setting.place.remove(newer.objects[0].name)
        setting.place.put(newer.objects[0].name, content[:-1])
    plan = plan_pruning(
        list_chains(setting.place), ONE, lambda it: find_fault(setting.place, it, setting.keys, UNSIGNED), NOW
    )
    assert older.name in plan.keep
    assert plan.remove == []
    remove_chain(setting.place, older)
    assert [it.name for it in list_chains(setting.place)] == [newer.name]
