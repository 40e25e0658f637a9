"""Rate limits stop a flood of requests, and never delay one secret's revocation."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue.operator.hourly_limits import LimitSettings
from keyturn.cli.commands import acting_command
from keyturn.core.actor import Acting, PastRules, acting, past_rules
from keyturn.core.errors import Invalid, OverLimit
from keyturn.core.hourly_limits import Happening, free_again, with_happening
from keyturn.core.notifications.channel import Announcement
from keyturn.core.ports.ledger import Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.incidents.store import find_incident
from keyturn.revocation.selector import Selection
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.support.lab import Declared, Lab, fresh
from tests.support.people import person

pytestmark = pytest.mark.sampled(4, of="file")

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SMALL = LimitSettings(
    incidents=2, incidents_of_one_login=4, incidents_of_one_secret=3, rotations=4, rotations_of_one_secret=2
)


@pytest.fixture(autouse=True)
def nothing_counted(lab: Lab) -> None:
    """Nobody has asked for anything within the hour."""
    for kind in ("incidents", "rotations"):
        lab.keep(f"limits/{kind}", {"limits": "[]"})


@pytest.fixture
def through_prefect() -> Iterator[None]:
    """What is done here was asked for at the Prefect server."""
    token = acting.set(Acting("emergency-revoke 1", "user somebody", by_others=True))
    yield
    acting.reset(token)


@pytest.fixture
def on_purpose() -> Iterator[None]:
    """Whoever is at work says why limits are exceeded."""
    token = past_rules.set(PastRules(over_limit="a breach, ticket 4711"))
    yield
    past_rules.reset(token)


def opened(lab: Lab, *secrets: Declared) -> Workspace:
    """A workspace with small limits."""
    return replace(lab.open(*secrets).workspace, limits=SMALL)


def begin(workspace: Workspace, *secrets: Declared, incident: str = "") -> Incident:
    """Begin an incident over these."""
    return run.begin(
        workspace,
        Selection(tuple(sorted(one.path for one in secrets))),
        incident=incident or fresh(),
        reason="leaked",
        mode=Mode.REPLACE,
        selector="what was asked for",
        triggered_at=workspace.clock(),
        consent=Consent(),
    )


def notes(workspace: Workspace, action: str) -> list[tuple[Outcome, str]]:
    """What the ledger records about an action."""
    ledger: Any = workspace.ledger
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    return [(entry.outcome, entry.note) for entry in entries if entry.action == action]


# --- incidents


@pytest.mark.usefixtures("through_prefect")
def test_a_flood_through_prefect_is_limited(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(3)]
    workspace = opened(lab, *secrets)
    for secret in secrets[:2]:
        begin(workspace, secret)
    refused = fresh()
    with pytest.raises(OverLimit, match=r"2 incidents were begun within the hour.*possible again at .* UTC"):
        begin(workspace, secrets[2], incident=refused)
    assert find_incident(workspace, refused) is None
    assert lab.current(secrets[2]) == secrets[2].first
    assert notes(workspace, "over limit")[-1][0] is Outcome.DENIED


def test_a_flood_by_others_does_not_block_a_persons_single_revocation(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(3)]
    workspace = opened(lab, *secrets)
    token = acting.set(Acting("emergency-revoke 1", "user somebody", by_others=True))
    try:
        for _ in range(2):
            begin(workspace, secrets[0])
        with pytest.raises(OverLimit):
            begin(workspace, secrets[0])
    finally:
        acting.reset(token)
    ana = person(lab, "ana").workspace(workspace)
    assert begin(ana, secrets[0]).closed_at is None, "also of the very secret that the others flood"


def test_each_login_has_its_own_limit(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(5)]
    workspace = opened(lab, *secrets)
    ana, bea = (person(lab, name).workspace(workspace) for name in ("ana", "bea"))
    for secret in secrets[:4]:
        begin(ana, secret)
    with pytest.raises(OverLimit, match="4 incidents over single secrets were begun by this login"):
        begin(ana, secrets[4])
    begin(bea, secrets[4])


def test_repeated_revocations_of_one_secret_are_limited(lab: Lab) -> None:
    secret = lab.generated()
    ana = person(lab, "ana").workspace(opened(lab, secret))
    for _ in range(3):
        run.finish(ana, begin(ana, secret).id)
    with pytest.raises(OverLimit, match=f"3 incidents over {secret.path} were begun"):
        begin(ana, secret)


def test_a_revocation_of_several_secrets_counts_for_each_of_them(lab: Lab) -> None:
    pairs = [[lab.generated(), lab.generated()] for _ in range(3)]
    workspace = opened(lab, *(one for pair in pairs for one in pair))
    ana, bea = (person(lab, name).workspace(workspace) for name in ("ana", "bea"))
    begin(ana, *pairs[0])
    begin(bea, *pairs[1])
    with pytest.raises(OverLimit):
        begin(ana, *pairs[2])


@pytest.mark.usefixtures("through_prefect")
def test_an_open_incident_continues_beyond_the_limit(lab: Lab) -> None:
    secret = lab.generated()
    workspace = opened(lab, secret)
    first = begin(workspace, secret)
    begin(workspace, secret, incident=first.id)
    assert begin(workspace, secret, incident=first.id).id == first.id


@pytest.mark.usefixtures("through_prefect", "on_purpose")
def test_an_override_of_the_limit_continues_and_is_reported(lab: Lab) -> None:
    secrets, told = [lab.generated() for _ in range(3)], list[Announcement]()
    channel: Any = type("Pager", (), {"send": staticmethod(told.append)})()
    workspace = replace(opened(lab, *secrets), channel=channel)
    for secret in secrets:
        begin(workspace, secret)
    (outcome, note) = notes(workspace, "over limit")[-1]
    assert outcome is Outcome.DONE
    assert "on purpose: a breach, ticket 4711" in note
    assert ["a breach, ticket 4711" in one.body for one in told] == [True]


@pytest.mark.usefixtures("through_prefect")
def test_an_unreadable_count_is_not_trusted(lab: Lab) -> None:
    secret = lab.generated()
    workspace = opened(lab, secret)
    lab.keep("limits/incidents", {"limits": "[[1,"})
    with pytest.raises(Invalid, match="malformed"):
        begin(workspace, secret)
    assert lab.current(secret) == secret.first


def test_an_unreadable_count_does_not_block_a_single_revocation(lab: Lab) -> None:
    secret = lab.generated()
    lab.keep("limits/incidents", {"limits": "[[1,"})
    assert begin(opened(lab, secret), secret).closed_at is None


def test_no_prefect_run_can_override_a_limit() -> None:
    root = Path(__file__).parents[2]
    texts = [file.read_text() for part in ("flows", "tasks", "blocks") for file in (root / part).rglob("*.py")]
    assert len(texts) > 20
    assert not [word for word in ("past_rules", "over_limit", "break_glass") for text in texts if word in text]


def test_a_prefect_run_does_not_count_as_a_persons_request() -> None:
    from flows.support.common import at_work

    assert at_work().by_others
    assert not acting_command("revoke").by_others


# --- rotations


@pytest.mark.parametrize("trigger", [Trigger.FORCE, Trigger.EVENT, Trigger.COMPROMISE])
def test_repeated_rotations_of_one_secret_on_request_are_limited(lab: Lab, trigger: Trigger) -> None:
    secret = lab.generated()
    workspace = opened(lab, secret)
    for _ in range(2):
        rotate(workspace, secret.path, trigger, end_previous=trigger is Trigger.FORCE)
    before = lab.current(secret)
    with pytest.raises(OverLimit, match=r"2 rotations of it were asked for within the hour"):
        rotate(workspace, secret.path, trigger, end_previous=trigger is Trigger.FORCE)
    assert lab.current(secret) == before
    assert load_record(workspace, secret.path).open is None


def test_repeated_rotations_of_a_workspace_are_limited(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(5)]
    workspace = opened(lab, *secrets)
    for secret in secrets[:4]:
        rotate(workspace, secret.path, Trigger.FORCE)
    with pytest.raises(OverLimit, match=r"4 rotations were asked for within the hour"):
        rotate(workspace, secrets[4].path, Trigger.FORCE)
    assert lab.current(secrets[4]) == secrets[4].first
    later = workspace.clock() + timedelta(minutes=61)
    rotate(replace(workspace, hub_clock=lambda: later), secrets[4].path, Trigger.FORCE)


def test_requests_do_not_use_up_the_schedules_limit(lab: Lab) -> None:
    secrets = [lab.generated(interval="30d") for _ in range(5)]
    workspace = opened(lab, *secrets)
    for secret in secrets[:4]:
        rotate(workspace, secret.path, Trigger.FORCE)
    later = workspace.clock() + timedelta(days=40)
    due = replace(workspace, clock=lambda: later)
    assert rotate(due, secrets[4].path, Trigger.SCHEDULE).version == 2


def test_replacements_in_a_revocation_are_not_limited(lab: Lab) -> None:
    secret = lab.generated()
    workspace = opened(lab, secret)
    for _ in range(2):
        rotate(workspace, secret.path, Trigger.FORCE, end_previous=True)
    before = lab.current(secret)
    assert run.finish(workspace, begin(workspace, secret).id).open is False
    assert lab.current(secret)["value"] != before["value"]


@pytest.mark.usefixtures("on_purpose")
def test_an_override_of_the_rotation_limit_continues_and_is_in_the_ledger(lab: Lab) -> None:
    secret = lab.generated()
    workspace = opened(lab, secret)
    for _ in range(3):
        rotate(workspace, secret.path, Trigger.FORCE, end_previous=True)
    assert notes(workspace, "over limit")[-1][0] is Outcome.DONE


# --- the count


def test_entries_older_than_an_hour_or_dated_far_ahead_do_not_count() -> None:
    ages = (timedelta(hours=1), timedelta(minutes=59), timedelta(minutes=-70))
    happenings = [Happening(NOW - age) for age in ages]
    assert free_again(happenings, 2, NOW) is None
    assert free_again(happenings, 1, NOW) == NOW + timedelta(minutes=1)


def test_the_reported_time_is_the_first_at_which_the_limit_allows_it() -> None:
    happenings = [Happening(NOW - timedelta(minutes=age), count) for age, count in ((50, 3), (40, 2), (10, 4))]
    for limit in range(1, 12):
        again = free_again(happenings, limit, NOW)
        assert (again is None) is (limit > 9)
        assert again is None or free_again(happenings, limit, again) is None
        assert again is None or free_again(happenings, limit, again - timedelta(seconds=1))


def test_repeated_requests_within_a_minute_count_once() -> None:
    counting = list[Happening]()
    for second in range(50):
        counting = with_happening(counting, Happening(NOW + timedelta(seconds=second)))
    assert [one.count for one in counting] == [50]
    assert [Happening.from_data(one.to_data()) for one in counting] == counting
