"""Whether CURRENT logs in is tried once a day, and what could not be tried is never said to work."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.errors import Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.login_checks import (
    DAY,
    Login,
    LoginCheck,
    check_logins,
    current_check,
    hour_of,
    is_login_due,
    last_turn,
    load_checks,
)
from tests.revocation.site import Site
from tests.rotation.helpers import Worker
from tests.support.hooks import Hooked, raising
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(3, of="file")

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
KINDS = ["alternating", "single", "dynamic"]


def known(workspace: Workspace, secret: Declared) -> LoginCheck:
    """What the hub keeps of the secret."""
    return load_checks(workspace, [secret.path])[secret.path]


def at(workspace: Workspace, later: timedelta) -> Workspace:
    """The same, when that much time has passed."""
    now = workspace.clock() + later
    return replace(workspace, clock=lambda: now)


def change_password(lab: Lab, fields: Mapping[str, Any]) -> None:
    """What a DBA does behind Keyturn's back."""
    lab.sql(f'ALTER ROLE "{fields["username"]}" PASSWORD %s', f"{fields['password']}-changed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_password_changed_by_a_dba_shows_and_so_does_its_repair(lab: Lab, kind: str) -> None:
    secret: Declared = getattr(lab, kind)()
    workspace = lab.open(secret).workspace
    if kind == "dynamic":
        rotate(workspace, secret.path, Trigger.FORCE)
    first = check_logins(workspace, [secret.path])[secret.path]
    assert (first.result, first.alarm(workspace.clock())) == (Login.ACCEPTED, "")

    change_password(lab, lab.current(secret))
    later = at(workspace, DAY)
    second = check_logins(later, [secret.path])[secret.path]
    assert (second.result, second.since, second.accepted_at) == (Login.REFUSED, later.clock(), first.tried_at)
    said = second.alarm(later.clock())
    assert said.startswith(
        f"CURRENT, version {second.version}, does not log in since {later.clock():%Y-%m-%d %H:%M} UTC"
    )
    assert f"the last login that worked was at {first.tried_at:%Y-%m-%d %H:%M} UTC" in said

    hour_later = at(later, timedelta(hours=1))
    third = check_logins(hour_later, [secret.path])[secret.path]
    assert (third.result, third.since) == (Login.REFUSED, second.since), "since when stays"
    rotate(hour_later, secret.path, Trigger.FORCE)
    assert current_check(load_checks(workspace), secret.path, third.version + 1) is None, "it is another credential"
    mended = check_logins(at(hour_later, timedelta(hours=1)), [secret.path])[secret.path]
    assert (mended.result, mended.alarm(mended.tried_at)) == (Login.ACCEPTED, "")


def test_the_ledger_tells_where_it_turns_and_not_each_try(lab: Lab) -> None:
    site = Site.of(lab, lab.alternating())
    path = site.secret.path
    for hours in (0, 25):
        check_logins(at(site.workspace, timedelta(hours=hours)), [path])
    change_password(lab, lab.current(site.secret))
    for hours in (50, 51, 52):
        check_logins(at(site.workspace, timedelta(hours=hours)), [path])
    told = [(one.outcome, one.note) for one in site.entries() if one.action == "check login"]
    assert told == [("failed", "CURRENT: refused")]


def test_a_target_that_does_not_answer_is_not_a_login_that_works_and_an_alarm_after_a_day(lab: Lab) -> None:
    secret = lab.alternating()
    workspace = lab.open(secret).workspace
    first = check_logins(workspace, [secret.path])[secret.path]
    gone = Unavailable("log in to", "pg", "it does not answer")
    dead = replace(at(workspace, DAY), open_strategy=lambda path: _mute(workspace, path, gone))
    check = check_logins(dead, [secret.path])[secret.path]
    assert (check.result, check.accepted_at) == (Login.UNTRIED, first.tried_at)
    assert "it does not answer" in check.why
    assert check.alarm(dead.clock()) == ""
    assert "could not be tried since" in check.alarm(dead.clock() + DAY)
    assert check_logins(at(workspace, DAY * 2), [secret.path])[secret.path].result is Login.ACCEPTED


def _mute(workspace: Workspace, path: str, error: Exception) -> Any:
    return Hooked(workspace.open_strategy(path), accepts=raising(error))


def test_a_version_that_the_hub_does_not_give_was_not_tried_and_a_secret_without_one_has_no_row(lab: Lab) -> None:
    secret, new = lab.alternating(), lab.alternating()
    workspace = lab.open(secret, new).workspace
    lab.root.secrets.kv.v2.delete_latest_version_of_secret(secret.path, mount_point="secret")
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(new.path, mount_point="secret")
    tried = check_logins(workspace, [secret.path, new.path])
    assert (tried[secret.path].result, tried[secret.path].why) == (Login.UNTRIED, "the hub does not give version 1")
    assert new.path not in tried


def test_where_nobody_can_tell_that_is_said(lab: Lab) -> None:
    secret = lab.generated()
    workspace = lab.open(secret).workspace
    check = check_logins(workspace, [secret.path])[secret.path]
    assert (check.result, check.alarm(workspace.clock() + DAY * 9)) == (Login.UNKNOWN, "")


def test_a_secret_in_the_middle_of_a_rotation_or_held_by_a_revocation_is_no_alarm(lab: Lab) -> None:
    secret = lab.single()
    worker = Worker(lab.open(secret).workspace, secret.path)
    worker.installed()
    assert not lab.logs_in(lab.current(secret)), "the account has its new password"
    assert check_logins(worker.workspace, [secret.path]) == {}

    site = Site.of(lab, lab.alternating())
    site.begin()
    assert check_logins(site.workspace, [site.secret.path]) == {}


def test_a_rotation_that_overtakes_the_try_makes_it_no_verdict(lab: Lab) -> None:
    secret = lab.single()
    workspace = lab.open(secret).workspace
    inner = workspace.open_strategy(secret.path)

    class Overtaken:
        def accepts(self, credential: SecretFields) -> bool | None:
            rotate(workspace, secret.path, Trigger.FORCE)
            return inner.accepts(credential)

    overtaken: Any = Overtaken()
    assert check_logins(replace(workspace, open_strategy=lambda path: overtaken), [secret.path]) == {}
    assert check_logins(workspace, [secret.path])[secret.path].result is Login.ACCEPTED


def test_one_that_fails_in_a_way_nobody_foresaw_stops_no_other_and_tells_no_value(lab: Lab) -> None:
    bad, good = lab.alternating(), lab.alternating()
    workspace = lab.open(bad, good).workspace
    password = lab.current(bad)["password"]

    def opened(path: str) -> Any:
        return _mute(workspace, path, RuntimeError(password)) if path == bad.path else workspace.open_strategy(path)

    tried = check_logins(replace(workspace, open_strategy=opened), [bad.path, good.path])
    assert (tried[bad.path].result, tried[good.path].result) == (Login.UNTRIED, Login.ACCEPTED)
    assert "unexpected RuntimeError" in tried[bad.path].why
    assert password not in str(tried)


def test_a_run_looks_only_at_those_whose_turn_it_is_and_writes_once_an_hour_of_turns(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(6)]
    workspace = lab.open(*secrets).workspace
    paths = [secret.path for secret in secrets]
    assert set(check_logins(workspace, paths)) == set(paths)
    writes: list[str] = []

    def counted(path: str, *_: Any, **__: Any) -> None:
        writes.append(path)

    watched = replace(workspace, hub=Hooked(workspace.hub, write_state=counted))
    assert check_logins(watched, paths) == {}
    assert writes == []
    tried = check_logins(at(watched, DAY), paths)
    assert set(tried) == set(paths)
    assert sorted(writes) == sorted({f"logins/{hour_of(path):02}" for path in paths})


def test_two_runs_that_write_one_entry_lose_nothing(lab: Lab) -> None:
    secrets = [lab.generated() for _ in range(40)]
    one, other = next((a, b) for a in secrets for b in secrets if a != b and hour_of(a.path) == hour_of(b.path))
    workspace = lab.open(one, other).workspace
    raced: list[bool] = []

    def meanwhile(path: str, *_: Any, **__: Any) -> None:
        if path.startswith("logins/") and not raced:
            raced.append(True)
            check_logins(workspace, [other.path])

    check_logins(replace(workspace, hub=Hooked(workspace.hub, write_state=meanwhile)), [one.path])
    assert {one.path, other.path} <= set(load_checks(workspace, [one.path]))


@given(st.text(min_size=1, max_size=20), st.datetimes(timezones=st.just(UTC), min_value=datetime(2020, 1, 1)))
def test_each_secret_has_one_turn_a_day_at_the_same_minute(path: str, now: datetime) -> None:
    turn = last_turn(path, now)
    assert timedelta(0) <= now - turn < DAY
    assert last_turn(path, now + DAY) == turn + DAY
    assert turn.hour == hour_of(path)
    check = LoginCheck(Login.ACCEPTED, 1, now, now)
    assert not is_login_due(check, path, now)
    assert is_login_due(check, path, turn + DAY)


def test_turns_are_spread_over_the_day() -> None:
    hours = [hour_of(f"team/secret-{number}") for number in range(2400)]
    assert min(hours.count(hour) for hour in range(24)) > 60
    assert is_login_due(None, "any", NOON)
