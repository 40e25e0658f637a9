"""The detection benchmark is reproducible from its seed, ordered and labelled."""

import hashlib
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pytest

from benchmarks.lab.attacks import SCENARIOS, Attack, plan
from benchmarks.lab.calendar import Calendar, local, moment
from benchmarks.lab.changes import before
from benchmarks.lab.export import audit_line
from benchmarks.lab.measure import Observer, Report, Run, wilson
from benchmarks.lab.operator import LabPolicies, history
from benchmarks.lab.people import revocations
from benchmarks.lab.rights import Scope
from benchmarks.lab.traffic import events
from benchmarks.lab.world import World, build
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.hub_reads import HubReads
from keyturn.core.ports.access import CHANGE, LOGIN, READ, Access
from keyturn.core.text.audit_lines import AuditMount
from tests.support.sigma import Pack

DAYS, WARM_UP = 9, 3


def a_lab(seed: int, principals: int = 220, days: int = DAYS) -> World:
    return build(seed, Calendar.drawn(days, WARM_UP, seed), principals, 3_000)


def judged(world: World, attacks: list[Attack], happened: list[tuple[Access, str]]) -> Run:
    observer = Observer(Detector(LabPolicies(world), history(world), live=True))
    observer.watch(happened)
    return observer.result(5, attacks, WARM_UP, DAYS)


def played(world: World) -> tuple[list[Attack], list[tuple[Access, str]]]:
    attacks = plan(world, 1)
    return attacks, list(events(world, [attack.bursts(world) for attack in attacks]))


@pytest.fixture(scope="module")
def lab() -> World:
    return a_lab(5)


@pytest.fixture(scope="module")
def run(lab: World) -> tuple[list[Attack], list[tuple[Access, str]]]:
    return played(lab)


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


def test_a_hub_grants_what_it_serves_by_a_policy_that_the_login_was_given(
    run: tuple[list[Attack], list[tuple[Access, str]]],
) -> None:
    """Or by one that was written since."""
    given: dict[str, set[str]] = {}
    written: set[str] = set()
    checked = 0
    for access, label in run[1]:
        if access.system != "hub" or access.denied:
            assert access.action != READ or not access.granted
        elif access.action == CHANGE:
            written.add(access.path.removeprefix("policies/"))
        elif access.action == LOGIN:
            given[access.login] = set(access.granted.split(","))
        elif access.action == READ and not label and access.login in given:
            checked += 1
            assert access.granted in given[access.login] | written, access
    assert checked > 10_000


def test_a_program_reads_what_its_policy_has_to_list_only_after_that_was_written(lab: World) -> None:
    services = (fleet.principal for fleet in lab.fleets)
    principal = next(each for each in services if each.scope == Scope.OWN and each.system == "hub")
    secret = next(secret for secret in principal.team.restricted if secret not in principal.secrets)
    written = before(lab, principal, secret, 0.0, 90_000.0)
    changed = [(at, details[1]) for at, details, _ in written if details[7] == CHANGE]
    assert f"policies/app-{principal.short}" in {path for _, path in changed}
    assert 0 <= changed[0][0] <= 90_000 - 300 + 3
    open_to_all = replace(principal, scope=Scope.LAB)
    assert before(lab, open_to_all, secret, 0.0, 90_000.0) == []


def test_a_person_logs_in_once_in_a_tokens_life_and_nobody_logs_in_for_a_stolen_token(
    run: tuple[list[Attack], list[tuple[Access, str]]],
) -> None:
    reads = Counter(access.login for access, label in run[1] if not label and access.principal.startswith("oidc-"))
    logins = Counter(access.login for access, _ in run[1] if access.action == LOGIN and not access.denied)
    assert max(reads.values()) > 10
    assert all(logins[login] == 1 for login in reads if login in logins)
    stolen = {label for access, label in run[1] if label.startswith("stolen-token") and access.action == LOGIN}
    assert not stolen


def test_leaked_secrets_are_revoked_where_nobody_attacks() -> None:
    world, revoked = a_lab(1, 60, 3), []
    world.listeners.append(lambda at, secret, revoking: revoked.append((secret, at if revoking else math.inf)))
    bursts = revocations(world, Random("1"))  # noqa: S311  the lab is made up
    while len(revoked) < 2:
        next(bursts)
    assert [secret.ends for secret, _ in revoked] == [at for _, at in revoked]


def test_nobody_is_a_victim_twice_but_the_platform(run: tuple[list[Attack], list[tuple[Access, str]]]) -> None:
    victims = Counter(attack.victim.name for attack in run[0] if attack.victim.kind not in {"sync", "backup"})
    assert set(victims.values()) == {1}


def test_each_script_has_a_family_a_source_and_a_sentence() -> None:
    assert len(SCENARIOS) >= 30
    for scenario in SCENARIOS.values():
        assert scenario.family
        assert scenario.source
        assert scenario.does


def test_the_page_tells_every_script_and_its_source() -> None:
    page = Path("benchmarks/detection.md").read_text()
    for scenario in SCENARIOS.values():
        assert f"| {scenario.family} | `{scenario.name}` | {scenario.does} | {scenario.source} |" in page


def test_a_lab_that_is_too_small_for_its_attacks_is_refused() -> None:
    with pytest.raises(ValueError, match="too small for"):
        plan(a_lab(1, 30), 5)


def test_clocks_change_within_a_run() -> None:
    """America changes on the seventh day of a run, Europe on the twenty-eighth."""
    assert local("America/Los_Angeles", 7, 9) - local("America/Los_Angeles", 5, 9) == 2 * 86400 - 3600
    assert local("Europe/Zurich", 28, 9) - local("Europe/Zurich", 26, 9) == 2 * 86400 - 3600


GUARDED = {"keyturn_guarded_paths": ["secret/data/none"], "keyturn_guarded_readers": []}
LOUD = {
    "aws-parameters",
    "backup-login-elsewhere",
    "dormant-account-elsewhere",
    "guesses-a-password",
    "guesses-paths",
    "insider-enumerates",
    "old-version-from-elsewhere",
    "poisoned-pipeline",
    "root-token-exports",
    "service-token-on-the-internet",
    "stolen-token-read-elsewhere-at-once",
}


@pytest.mark.attack
def test_the_detector_finds_what_is_loud_within_a_minute_and_a_half(
    lab: World, run: tuple[list[Attack], list[tuple[Access, str]]]
) -> None:
    result = judged(lab, *run)
    by_name = {attack.scenario.name: result.delays.get(attack.label, math.inf) for attack in run[0]}
    missed = {name for name in LOUD if by_name[name] > 90}
    assert not missed
    data = Report([result]).data()
    assert data["findable"]["attacks"] + data["families"]["mimicry"]["attacks"] == len(SCENARIOS)
    assert data["families"]["root token"]["recall"] == 1


def test_nothing_is_found_where_nothing_is_told_and_a_label_elsewhere_is_no_excuse(
    lab: World, run: tuple[list[Attack], list[tuple[Access, str]]]
) -> None:
    """Without any attack's label all alerts of the same events are false alarms."""
    result = judged(lab, [], [(access, "") for access, _ in run[1]])
    assert not result.delays
    assert len(result.false) == result.alerts > len(LOUD)
    assert result.precision == 0


def test_an_event_comes_back_from_the_audit_line_that_is_made_of_it(
    run: tuple[list[Attack], list[tuple[Access, str]]],
) -> None:
    reads = HubReads(AuditMount("secret"), logins=True)
    kinds = {
        (access.action, access.denied, access.root, access.version is None, label): access
        for access, label in run[1]
        if access.system == "hub" and not access.principal.startswith("wrapping")
    }
    assert len(kinds) > len(SCENARIOS)
    assert {action for action, *_ in kinds} == {READ, LOGIN, CHANGE}
    for access in kinds.values():
        assert reads.access(msgspec.json.encode(audit_line(access))) == access


REPLAYED = {
    "guesses-a-password": "openbao_many_logins_failed.yml",
    "guesses-paths": "openbao_many_reads_refused.yml",
    "insider-enumerates": "openbao_many_secrets_read.yml",
    "reads-a-decoy": "openbao_decoy_read.yml",
    "root-token-exports": "openbao_root_token_read.yml",
    "service-token-on-the-internet": "openbao_read_from_outside.yml",
}


def test_the_pack_for_siems_finds_the_published_techniques_in_the_labs_lines(
    lab: World, run: tuple[list[Attack], list[tuple[Access, str]]]
) -> None:
    """And none of its rules that need no list of usual readers is of a busy hour without an attack."""
    decoys = [f"secret/data/{decoy.path}" for decoy in lab.decoys]
    pack = Pack(Path("deployments/detections"), {"keyturn_decoys": decoys, **GUARDED})
    for name, file in REPLAYED.items():
        lines = [audit_line(access) for access, label in run[1] if label == f"{name}#1"]
        assert file in pack.fired(lines), name
    ordinary = [access for access, label in run[1] if not label and access.system == "hub"]
    busy = [audit_line(access) for access in ordinary if access.at.hour == 15 and access.source.startswith("10.")]
    assert len(busy) > 500
    assert pack.fired(busy[:500]) == set()


def test_the_interval_of_a_part_is_wilsons() -> None:
    assert [round(edge, 3) for edge in wilson(9, 10)] == [0.596, 0.982]
    assert wilson(0, 0) == (0.0, 1.0)
