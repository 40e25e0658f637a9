"""Compliance checks fail on problems, and never pass on missing evidence."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from keyturn.access_log.readers import LogRead
from keyturn.catalogue.exceptions import CheckName
from keyturn.core.errors import NotFound
from keyturn.core.ports.access import Coverage
from keyturn.evidence.checks import CHECKS
from keyturn.evidence.facts import Facts, LedgerMark, Part
from keyturn.evidence.frameworks import FRAMEWORKS, find_framework
from keyturn.evidence.model import WEIGHT, ControlVerdict, worst
from tests.evidence.scene import API, DATABASE, DRILL, LOOKED, SINCE, UNTIL, VENDOR, WEB, House, secret

PASS, FAIL, ABSENT, UNSEEN = (
    ControlVerdict.PASS,
    ControlVerdict.FAIL,
    ControlVerdict.NOT_APPLICABLE,
    ControlVerdict.UNSEEN,
)
DAY = timedelta(days=1)


def with_secret(facts: Facts, path: str, **changes: Any) -> Facts:
    """The facts with one secret changed."""
    return replace(facts, secrets=tuple(replace(s, **changes) if s.path == path else s for s in facts.secrets))


def with_ledger(facts: Facts, **changes: Any) -> Facts:
    """The facts with another ledger."""
    return replace(facts, ledger=replace(facts.ledger, **changes))


def with_mark(facts: Facts, **mark: Any) -> Facts:
    """The facts with one more entry in the ledger."""
    added = LedgerMark(**{"sequence": 72, "at": UNTIL - DAY, "outcome": "done", **mark})
    return with_ledger(facts, marks=(*facts.ledger.marks, added))


def without_marks(facts: Facts, action: str) -> Facts:
    """The facts of a ledger that tells nothing of an action."""
    return with_ledger(facts, marks=tuple(mark for mark in facts.ledger.marks if mark.action != action))


EXPECTED: Mapping[str, ControlVerdict] = {
    **dict.fromkeys(CHECKS, PASS),
    "accesses-reviewed": FAIL,
    "nothing-unmanaged": FAIL,
    "people-passwords": ABSENT,
    "revocation-tested": ABSENT,
}


def test_every_check_comes_to_what_the_house_is_like(home: House) -> None:
    assert {name: check(home.facts).verdict for name, check in CHECKS.items()} == EXPECTED


WRONG: Mapping[str, tuple[str, Any]] = {
    "by hand, without an exception": ("rotation-automated", lambda f: replace(f, exceptions=())),
    "late": ("rotation-in-time", lambda f: with_secret(f, DATABASE, late="beyond its maximum age")),
    "lost": ("rotation-in-time", lambda f: with_secret(f, DATABASE, missing="version 5 is deleted")),
    "never made": ("rotation-in-time", lambda f: with_secret(f, DATABASE, version=0)),
    "ended": ("rotation-in-time", lambda f: with_secret(f, DATABASE, ended_by="INC-2")),
    "too old meanwhile": ("rotated-in-period", lambda f: with_secret(f, DATABASE, limit=20 * DAY)),
    "too old since": ("rotated-in-period", lambda f: with_secret(f, API, limit=3 * DAY)),
    "no limit": ("limits-declared", lambda f: with_secret(f, DATABASE, limit=None, interval=None)),
    "old one alive": ("old-credentials-ended", lambda f: with_secret(f, DATABASE, retiring_since=LOOKED - 3 * DAY)),
    "refused": ("logins-work", lambda f: with_secret(f, DATABASE, login="refused")),
    "drifted": ("copies-in-step", lambda f: replace(f, copies=(replace(f.copies[0], wrong="drifted"), *f.copies[1:]))),
    "ended certificate": ("certificates-in-time", lambda f: with_secret(f, WEB, expires_at=LOOKED - DAY)),
    "dying certificate": ("certificates-in-time", lambda f: with_secret(f, WEB, expires_at=LOOKED + 2 * DAY)),
    "endless certificate": ("certificates-in-time", lambda f: with_secret(f, WEB, expires_at=None)),
    "old key": ("cryptoperiods", lambda f: with_secret(f, WEB, rotated_at=LOOKED - 731 * DAY)),
    "own key overdue": ("own-keys-in-time", lambda f: replace(f, keys=(replace(f.keys[0], late=True),))),
    "own key old": ("own-keys-in-time", lambda f: replace(f, keys=(replace(f.keys[0], since=LOOKED - 1096 * DAY),))),
    "changed ledger": ("ledger-whole", lambda f: with_ledger(f, problems=("entry 3 is missing",))),
    "changed records": ("records-kept", lambda f: with_ledger(f, problems=("entry 3 is missing",))),
    "who is missing": ("actions-attributed", lambda f: with_ledger(f, incomplete=1)),
    "open incident": ("incidents-closed", lambda f: without_marks(f, "close incident")),
    "given up": ("incidents-closed", lambda f: with_mark(f, action="give up incident", note="INC-1: enough")),
    "no restore drill": ("restore-tested", lambda f: without_marks(f, "restore drill")),
    "a drill that proved less": (
        "restore-tested",
        lambda f: with_mark(f, action="restore drill", note=DRILL.replace("proven", "NOT proven")),
    ),
    "a drill that failed": (
        "restore-tested",
        lambda f: with_mark(without_marks(f, "restore drill"), action="restore drill", outcome="failed"),
    ),
    "overdue": (
        "second-person",
        lambda f: replace(f, glass=(replace(f.glass[0], reviewed_by="", review_by="2026-02-02T00:00:00+00:00"),)),
    ),
    "no record of a broken glass": (
        "second-person",
        lambda f: with_mark(f, action="break glass", note="BG-2: revoke path b; night"),
    ),
    "unreviewed": ("second-person", lambda f: replace(f, glass=(replace(f.glass[0], reviewed_by=""),))),
    "nobody watches": ("reads-watched", lambda f: with_ledger(f, marks=(f.ledger.having("access-segment")[0],))),
    "exception over": (
        "exceptions-in-force",
        lambda f: replace(f, exceptions=(replace(f.exceptions[0], until=LOOKED - DAY),)),
    ),
    "finding is true": ("cloud-scanner-explained", lambda f: with_secret(f, API, late="beyond its maximum age")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_fails(home: House, case: str) -> None:
    name, change = WRONG[case]
    assert EXPECTED[name] is PASS
    assert CHECKS[name](change(home.facts)).verdict is FAIL


def test_restoring_in_time_is_not_met_where_no_restore_was_tested(home: House) -> None:
    [control] = [control for control in find_framework("gdpr").controls if control.id == "32(1)(c)"]
    verdicts = [CHECKS[name](home.facts).verdict for name in control.checks]
    untested = without_marks(home.facts, "restore drill")
    assert worst(verdicts) is PASS
    assert worst([CHECKS[name](untested).verdict for name in control.checks]) is FAIL


REHEARSED: Mapping[str, tuple[Any, ControlVerdict]] = {
    "rehearsed": ({"action": "rehearse", "note": "refused after 0.42 s; sessions ended after 0.42 s"}, PASS),
    "drilled": ({"action": "drill", "note": "DRILL-1; proven; the credential was refused after 3.10 s"}, PASS),
    "too slow": ({"action": "rehearse", "note": "refused after 61.00 s"}, FAIL),
    "never refused": ({"action": "rehearse", "note": "NOT refused within 120 s"}, FAIL),
    "failed": ({"action": "rehearse", "outcome": "failed", "note": "Denied: refused after 0.42 s"}, FAIL),
    "of another secret": ({"action": "rehearse", "secret": API, "note": "refused after 0.42 s"}, FAIL),
    "only begun": ({"action": "rehearse", "outcome": "begun"}, FAIL),
}


@pytest.mark.parametrize("case", REHEARSED)
def test_an_objective_of_a_revocation_is_met_by_a_measurement_alone(home: House, case: str) -> None:
    mark, verdict = REHEARSED[case]
    objective = with_secret(home.facts, DATABASE, dead_within=timedelta(minutes=1))
    result = CHECKS["revocation-tested"](with_mark(objective, **{"secret": DATABASE, **mark}))
    assert result.verdict is verdict
    unread = replace(objective, unseen={Part.LEDGER: "it is away"})
    assert CHECKS["revocation-tested"](unread).verdict is UNSEEN


HIDDEN: Mapping[Part, tuple[str, ...]] = {
    Part.LEDGER: (
        "ledger-whole",
        "actions-attributed",
        "records-kept",
        "rotated-in-period",
        "values-shown",
        "incidents-closed",
        "restore-tested",
        "reads-watched",
        "cloud-scanner-explained",
    ),
    Part.COPIES: ("copies-in-step",),
    Part.STORES: ("nothing-unmanaged",),
    Part.ACCESSES: ("accesses-known", "accesses-reviewed", "unused-listed"),
    Part.KEYS: ("own-keys-in-time",),
    Part.GLASS: ("second-person",),
}


@pytest.mark.parametrize("part", HIDDEN)
def test_what_could_not_be_looked_at_never_passes(home: House, part: Part) -> None:
    hidden = replace(home.facts, unseen={part: "the hub does not answer"}, unmanaged=())
    for name in HIDDEN[part]:
        result = CHECKS[name](hidden)
        assert result.verdict is UNSEEN, name
        assert "the hub does not answer" in " ".join(result.found)


@pytest.mark.parametrize("began", [SINCE + 30 * DAY, UNTIL + DAY], ids=["within", "after"])
@pytest.mark.attack
def test_times_before_the_ledger_never_pass(home: House, began: datetime) -> None:
    young = with_ledger(home.facts, began_at=began, marks=(), before={}, pushes={})
    for name in ("actions-attributed", "incidents-closed", "rotated-in-period", "values-shown"):
        result = CHECKS[name](young)
        assert (result.verdict, result.found[0][:16]) == (UNSEEN, "The ledger began"), name
    assert CHECKS["cloud-scanner-explained"](young).verdict is UNSEEN
    assert CHECKS["actions-attributed"](with_ledger(young, incomplete=1)).verdict is FAIL


ENDED = LogRead("hub audit file a", Coverage(1, SINCE, UNTIL - 2 * DAY))
GAP = LogRead("hub audit file a", Coverage(1, SINCE, UNTIL, ("it begins later",)))

UNKNOWN: Mapping[str, tuple[str, Any]] = {
    "a secret": ("rotation-in-time", lambda f: with_secret(f, DATABASE, error="denied")),
    "an old credential": ("old-credentials-ended", lambda f: with_secret(f, DATABASE, error="denied")),
    "an inventory": ("inventory-made", lambda f: with_secret(f, DATABASE, error="denied")),
    "a certificate": ("certificates-in-time", lambda f: with_secret(f, WEB, error="denied")),
    "a copy": ("copies-in-step", lambda f: replace(f, copies=(replace(f.copies[0], unknown="it is away"),))),
    "an own key": ("own-keys-in-time", lambda f: replace(f, keys=(replace(f.keys[0], state="unknown"),))),
    "a login": ("logins-work", lambda f: with_secret(f, DATABASE, login="untried")),
    "a login of last week": ("logins-work", lambda f: with_secret(f, DATABASE, login_at=LOOKED - 7 * DAY)),
    "who it was": ("actions-attributed", lambda f: with_ledger(f, unnamed=1)),
    "no trail": ("reads-watched", lambda f: without_marks(f, "access-segment")),
    "a trail that began later": (
        "reads-watched",
        lambda f: with_ledger(f, marks=f.ledger.having("access-segment")[1:]),
    ),
    "no log": ("accesses-known", lambda f: replace(f, accesses=replace(f.accesses, logs=()))),
    "a log with a gap": ("accesses-known", lambda f: replace(f, accesses=replace(f.accesses, logs=(GAP,)))),
    "a log that ends too early": (
        "accesses-known",
        lambda f: replace(f, accesses=replace(f.accesses, logs=(ENDED,))),
    ),
    "unused after its end": ("unused-listed", lambda f: replace(f, accesses=replace(f.accesses, logs=(ENDED,)))),
    "readers in a gap": (
        "accesses-reviewed",
        lambda f: replace(f, accesses=replace(f.accesses, logs=(GAP,), readers=f.accesses.readers[1:])),
    ),
    "unused in a gap": ("unused-listed", lambda f: replace(f, accesses=replace(f.accesses, logs=(GAP,)))),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_nobody_can_tell_is_unseen(home: House, case: str) -> None:
    name, change = UNKNOWN[case]
    assert CHECKS[name](change(home.facts)).verdict is UNSEEN


def test_an_exception_in_force_is_told_and_one_that_is_over_excuses_nothing(home: House) -> None:
    result = CHECKS["rotation-automated"](home.facts)
    assert (result.verdict, result.numbers["excepted"]) == (PASS, 1)
    assert "partners@example.com answers until 2026-04-30" in result.remarks[0]
    over = replace(home.facts, exceptions=(replace(home.facts.exceptions[0], until=LOOKED),))
    assert CHECKS["rotation-automated"](over).verdict is FAIL
    assert "rotation-in-time" not in home.facts.exceptions[0].checks
    late = with_secret(home.facts, VENDOR, late="beyond its maximum age")
    assert CHECKS["rotation-in-time"](late).verdict is FAIL


@pytest.mark.parametrize("age", [10, 400])
def test_a_persons_password_is_never_praised_for_being_rotated(home: House, age: int) -> None:
    person = secret("people/ana", person=True, strategy="generated", rotated_at=LOOKED - age * DAY)
    alone = replace(home.facts, secrets=(person,), copies=())
    for name in ("rotation-automated", "rotation-in-time", "rotated-in-period", "people-passwords"):
        result = CHECKS[name](alone)
        assert result.verdict is ABSENT, name
        assert "NIST SP 800-63B-4" in " ".join(result.remarks), name


def test_a_trail_that_only_began_says_since_when(home: House) -> None:
    later = with_ledger(home.facts, marks=home.facts.ledger.having("access-segment")[1:])
    assert "begins on 2026-03-31" in " ".join(CHECKS["reads-watched"](later).found)


def test_of_several_checks_the_worst_decides() -> None:
    assert worst([]) is ABSENT
    assert [worst([*WEIGHT[place:], ABSENT]) for place in range(len(WEIGHT))] == [FAIL, UNSEEN, PASS, ABSENT]


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=lambda framework: framework.id)
def test_a_framework_is_data_whose_checks_there_are(framework: Any) -> None:
    assert framework.source
    ids = [control.id for control in framework.controls]
    assert len(set(ids)) == len(ids)
    for control in framework.controls:
        assert control.checks
        assert set(control.checks) <= set(CHECKS)
        assert control.asked.endswith(".")


def test_every_check_answers_a_control_and_every_exception_a_check() -> None:
    asked_for = {name for f in FRAMEWORKS.values() for control in f.controls for name in control.checks}
    assert asked_for == set(CHECKS)
    assert set(get_args(CheckName)) <= set(CHECKS)
    with pytest.raises(NotFound, match="find framework pcj"):
        find_framework("pcj")
