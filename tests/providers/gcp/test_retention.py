"""Which old Google versions are disabled or destroyed after a new one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.secretmanager_v1.types import SecretVersion

from keyturn.providers.gcp.versions import DESTROY, DISABLE, to_retire

START = datetime(2026, 1, 1, tzinfo=UTC)
ON, OFF = SecretVersion.State.ENABLED, SecretVersion.State.DISABLED


def version(number: int, day: float, state: Any = OFF, **fields: Any) -> SecretVersion:
    name = f"projects/1/secrets/x/versions/{number}"
    return SecretVersion(name=name, create_time=START + timedelta(days=day), state=state, **fields)


ADDED = version(9, 30, ON)


def chosen(
    *older: SecretVersion,
    latest: SecretVersion = ADDED,
    aliased: tuple[int, ...] = (),
    destroy_after: timedelta | None = timedelta(days=7),
) -> dict[int, str]:
    """What is done to which version once the ninth has been added on day 30."""
    listed = [SecretVersion.pb(one) for one in (ADDED, *older)]
    steps = to_retire(listed, ADDED, latest, aliased, destroy_after)
    return {int(one.name.rpartition("/")[2]): step for step, one in steps}


def test_what_was_disabled_longer_ago_than_the_wait_is_destroyed() -> None:
    older = (version(8, 24), version(7, 23), version(6, 22.5), version(5, 1), version(4, 0))
    assert chosen(*older) == {5: DESTROY, 4: DESTROY}
    assert chosen(*older, destroy_after=timedelta(days=7.2)) == {4: DESTROY}
    assert chosen(*older, destroy_after=timedelta(days=6)) == {6: DESTROY, 5: DESTROY, 4: DESTROY}
    assert chosen(*older, destroy_after=None) == {}


def test_a_version_made_long_ago_and_disabled_just_now_is_not_destroyed_yet() -> None:
    """It was replaced by the eighth, and stayed enabled until the ninth."""
    assert chosen(version(8, 1), version(7, 0)) == {}


@pytest.mark.parametrize("wait", [None, timedelta(0)])
@pytest.mark.parametrize("state", [ON, OFF])
def test_the_direct_predecessor_is_left_alone(state: SecretVersion.State, wait: timedelta | None) -> None:
    assert chosen(version(8, 0, state), version(7, 0, ON), destroy_after=wait) == {7: DISABLE}


def test_what_is_older_than_a_predecessor_that_is_gone_is_disabled() -> None:
    assert chosen(version(7, 23, ON)) == {7: DISABLE}


def test_an_enabled_version_is_never_destroyed_at_once() -> None:
    assert chosen(version(8, 24), version(7, 2, ON), version(5, 1, ON)) == {7: DISABLE, 5: DISABLE}


def test_the_gap_that_a_destroyed_version_left_only_makes_the_wait_longer() -> None:
    assert chosen(version(8, 29), version(3, 2), version(2, 1)) == {}


@pytest.mark.parametrize("newer", [version(10, 31, ON), version(10, 31)])
def test_what_another_writer_added_since_is_left_alone(newer: SecretVersion) -> None:
    listed = [SecretVersion.pb(one) for one in (newer, ADDED, version(8, 24, ON), version(7, 23, ON), version(6, 1))]
    steps = list(to_retire(listed, ADDED, newer, (), timedelta(0)))
    assert [(step, one.name[-2:]) for step, one in steps] == [(DISABLE, "/7"), (DESTROY, "/6")]


def test_what_the_service_still_calls_the_latest_is_left_alone() -> None:
    before = version(7, 23, ON)
    assert chosen(version(8, 24, ON), before, version(6, 22, ON), latest=before) == {6: DISABLE}


def test_aliased_versions_are_left_alone() -> None:
    older = (version(8, 24), version(7, 23, ON), version(6, 3, ON), version(5, 2), version(4, 1))
    assert chosen(*older, aliased=(7, 5)) == {6: DISABLE, 4: DESTROY}


def test_what_is_scheduled_for_destruction_is_left_to_it() -> None:
    scheduled = version(6, 0, scheduled_destroy_time=START + timedelta(days=40))
    assert chosen(version(8, 2), version(7, 1), scheduled, version(5, 0)) == {5: DESTROY}
