"""The lab that detection is measured in: the same from the same seed, in order, and labelled."""

import hashlib
from collections import Counter

import msgspec
import pytest

from benchmarks.lab.attacks import SCENARIOS, Attack, plan
from benchmarks.lab.calendar import Calendar, local, moment
from benchmarks.lab.traffic import events
from benchmarks.lab.world import World, build
from keyturn.core.access import Access

DAYS, WARM_UP = 9, 3


def a_lab(seed: int, principals: int = 220, days: int = DAYS) -> World:
    return build(seed, Calendar.drawn(days, WARM_UP, seed), principals, 3_000)


def played(world: World) -> tuple[list[Attack], list[tuple[Access, str]]]:
    attacks = plan(world, 1)
    return attacks, list(events(world, [attack.bursts(world) for attack in attacks]))


@pytest.fixture(scope="module")
def run() -> tuple[list[Attack], list[tuple[Access, str]]]:
    return played(a_lab(5))


def digest(happened: list[tuple[Access, str]]) -> str:
    return hashlib.sha256(msgspec.json.encode(happened)).hexdigest()


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    few = [digest(list(events(a_lab(seed, 40, 3)))) for seed in (1, 1, 2)]
    assert few[0] == few[1] != few[2]


def test_events_are_in_the_order_of_time(run: tuple[list[Attack], list[tuple[Access, str]]]) -> None:
    times = [access.at for access, _ in run[1]]
    assert times == sorted(times)
    assert times[0].date() < times[-1].date() <= moment(DAYS * 86400).date()


def test_every_event_of_an_attack_is_there_and_no_other_carries_its_label(
    run: tuple[list[Attack], list[tuple[Access, str]]],
) -> None:
    attacks, happened = run
    counted = Counter(label for _, label in happened if label)
    assert counted == {attack.label: attack.events for attack in attacks}
    assert {attack.scenario.name for attack in attacks} == set(SCENARIOS)


def test_labels_tell_whose_events_they_are_and_from_when_to_when(
    run: tuple[list[Attack], list[tuple[Access, str]]],
) -> None:
    attacks, happened = run
    labelled = {attack.label: attack for attack in attacks}
    for access, label in happened:
        if label:
            attack = labelled[label]
            assert access.principal in attack.principals
            assert access.system in attack.systems
            assert moment(attack.first) <= access.at <= moment(attack.last)


def test_nobody_is_a_victim_twice_but_the_platform(run: tuple[list[Attack], list[tuple[Access, str]]]) -> None:
    victims = Counter(attack.victim.name for attack in run[0] if attack.victim.kind not in {"sync", "backup"})
    assert set(victims.values()) == {1}


def test_each_script_has_a_family_a_source_and_a_sentence() -> None:
    assert len(SCENARIOS) >= 30
    for scenario in SCENARIOS.values():
        assert scenario.family
        assert scenario.source
        assert scenario.does


def test_a_lab_that_is_too_small_for_its_attacks_is_refused() -> None:
    with pytest.raises(ValueError, match="too small for"):
        plan(a_lab(1, 30), 5)


def test_clocks_change_within_a_run() -> None:
    """America changes on the seventh day of a run, Europe on the twenty-eighth."""
    assert local("America/Los_Angeles", 7, 9) - local("America/Los_Angeles", 5, 9) == 2 * 86400 - 3600
    assert local("Europe/Zurich", 28, 9) - local("Europe/Zurich", 26, 9) == 2 * 86400 - 3600
