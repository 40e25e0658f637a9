"""``keyturn due`` and ``rotate --compromised``: what is next, what holds it, what is late."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Unavailable
from keyturn.core.ports.hub import EXPIRES_AT, ROTATED_AT
from keyturn.core.schedule.due import Trigger
from keyturn.core.webhook_keys import generate_webhook_key
from keyturn.rotation import steps
from keyturn.rotation.decide import decide
from keyturn.rotation.state.login_checks import check_logins
from keyturn.rotation.state.record_store import load_record, rewrite
from tests.support.hooks import Hooked, raising
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.world import REGION, World

pytestmark = pytest.mark.sampled(3, of="file")

DAY = timedelta(days=1)
WIDTH = 80

runner = CliRunner()


def keyturn(*arguments: str, code: int = 0) -> Result:
    """Run one command in this process, which ends with ``code``; a look at everything with what else is wrong here."""
    result = runner.invoke(app, arguments)
    # No worker runs in these tests, nobody signs the ledger, and other tests leave incidents open.
    assert result.exit_code in ({1, 5} if arguments[0] == "status" else {code}), result.output
    return result


def blames_a_secret(*arguments: str) -> bool:
    """Whether a check of everything ends for a secret or a key, and not for what the installation lacks here."""
    result = runner.invoke(app, ("due", "--check", *arguments))
    assert result.exit_code in (1, 5), result.output
    lacking = ("workers", "incidents", "ledger", "logins")
    return not any(f"error: check {name}:" in result.stderr for name in lacking)


class Calendar:
    """Secrets of several ages, and freezes, as a catalogue on disk."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.now = datetime.now(UTC)
        self.declared: list[Declared] = []
        self.freezes: dict[str, Any] = {}
        self.consumers: dict[str, Any] = {}

    def secret(self, age: timedelta, life: timedelta | None = None, **rotation: Any) -> str:
        """A secret rotated ``age`` ago; its path."""
        made = self.lab.generated()
        marks = {ROTATED_AT: (self.now - age).isoformat()}
        if life:
            marks[EXPIRES_AT] = (self.now - age + life).isoformat()
        self.lab.hub.patch_metadata(made.path, marks)
        made.data["rotation"] = {**made.data["rotation"], **rotation}
        self.declared.append(made)
        return made.path

    def unmade(self) -> str:
        """A secret that has no version; its path."""
        made = self.lab.generated()
        path = f"tests/{fresh()}"
        self.declared.append(Declared(path, made.data, {}))
        return path

    def freeze(self, name: str, *paths: str) -> datetime:
        """A freeze that holds these secrets from yesterday on, for two days; its end."""
        begin, end = (self.now + days * DAY for days in (-1, 1))
        told = {"from": f"{begin:%Y-%m-%dT%H:%M}", "to": f"{end:%Y-%m-%dT%H:%M}", "timezone": "UTC"}
        self.freezes[name] = {**told, "reason": "nobody is here", "paths": list(paths)}
        return end.replace(second=0, microsecond=0)

    def write(self) -> None:
        """As an operator writes it."""
        store = {"kind": "aws-secrets-manager", "region": REGION}
        data = catalogue_data(self.lab.world, tuple(self.declared), store, self.consumers)
        for entry in data["secrets"].values():
            del entry["path"]
        (self.directory / "all.yaml").write_text(yaml.safe_dump({**data, "freezes": self.freezes}))

    def due(self, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """What the command tells, by path, in its order."""
        self.write()
        told = json.loads(keyturn("due", *arguments, "--json", code=code).stdout)["secrets"]
        return {one["path"]: one for one in told}


@pytest.fixture
def calendar(lab: Lab, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calendar:
    """Fresh secrets, and the environment that leads to them."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    directory = tmp_path / "catalogue"
    directory.mkdir()
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(directory))
    return Calendar(lab, directory)


def test_what_is_due_comes_first_then_what_is_next(calendar: Calendar) -> None:
    later, old = calendar.secret(DAY), calendar.secret(40 * DAY)
    ending = calendar.secret(DAY, life=9 * DAY)
    day = calendar.now + 3 * DAY
    weekly = calendar.secret(DAY, interval=None, cron=f"0 3 * * {day:%a}".lower(), timezone="Europe/Berlin")
    new = calendar.unmade()
    for one in calendar.declared:
        one.data["rotation"] = {name: value for name, value in one.data["rotation"].items() if value is not None}
    told = calendar.due()
    assert list(told)[:2] == sorted([old, new])
    assert list(told)[-1] == later
    assert [told[path]["due"] for path in (old, new, ending, weekly, later)] == [
        "TooOld",
        "NeverMade",
        None,
        None,
        None,
    ]
    assert told[later]["at"] == (calendar.now + 29 * DAY).isoformat()
    assert told[ending]["at"] == (calendar.now + 5 * DAY).isoformat()
    assert told[ending]["expires_at"] == (calendar.now + 8 * DAY).isoformat()
    assert told[ending]["reason"].startswith("its life ends ")
    assert datetime.fromisoformat(told[weekly]["at"]).weekday() == day.weekday()
    assert told[later]["rotated_at"] == (calendar.now - DAY).isoformat()
    assert {one["alarm"] for one in told.values()} == {None}
    assert {one["error"] for one in told.values()} == {one["held_by"] for one in told.values()} == {""}
    assert not blames_a_secret()


def test_a_freeze_holds_a_secret_back_and_one_that_is_late_is_an_alarm(calendar: Calendar) -> None:
    held, late = calendar.secret(40 * DAY), calendar.secret(50 * DAY, maximum_age="45d")
    free = calendar.secret(40 * DAY)
    ends = calendar.freeze("christmas", held, late)
    told = calendar.due()
    assert told[free]["due"] == "TooOld"
    for path in (held, late):
        assert (told[path]["due"], told[path]["at"]) == (None, ends.isoformat())
        assert told[path]["held_by"] == f"the freeze christmas until {ends:%Y-%m-%d %H:%M} UTC (nobody is here)"
    assert told[held]["alarm"] is None
    assert told[late]["alarm"]["code"] == "BeyondMaximumAge"
    assert "held by the freeze christmas" in told[late]["alarm"]["message"]

    calendar.due("--check", code=1)
    calendar.due("--check", held)
    result = keyturn("due", "--check", code=1)
    assert f"error: check {late}: rotated " in result.stderr
    assert f"remedy: See what holds it, then rotate it now: `keyturn rotate {late} --now`" in result.stderr
    assert "LATE: rotated" in " ".join(result.stdout.split())
    assert keyturn("status").stdout.count("late, due in") == 1
    begins, span = ends - 2 * DAY, f"{ends - 2 * DAY:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    assert f"freezes: christmas {span} (nobody is here)" in result.stderr
    listed = json.loads(keyturn("due", held, "--json").stdout)["freezes"]
    assert [(each["name"], each["begins"]) for each in listed] == [("christmas", begins.isoformat())]
    assert json.loads(keyturn("due", free, "--json").stdout)["freezes"] == []


def test_an_interrupted_rotation_goes_on_with_the_next_run(calendar: Calendar) -> None:
    path = calendar.secret(DAY)
    opened = calendar.lab.open(calendar.declared[0]).workspace
    steps.stage(opened, path, decide(opened, path, Trigger.FORCE))
    told = calendar.due(path)[path]
    assert told["due"] == "Unfinished"
    assert told["at"] is not None
    shown = " ".join(keyturn("due", path).stdout.split())
    assert "next now" in shown
    assert "the next run continues" in shown


def test_a_window_and_its_next_opening_are_named(calendar: Calendar) -> None:
    tomorrow = calendar.now + DAY
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[tomorrow.weekday()]
    window = {"days": [day], "from": "02:00", "to": "03:00", "timezone": "UTC"}
    path = calendar.secret(40 * DAY, window=window)
    told = calendar.due()[path]
    assert told["at"] == tomorrow.replace(hour=2, minute=0, second=0, microsecond=0).isoformat()
    assert told["held_by"] == f"its window, which opens {tomorrow:%Y-%m-%d} 02:00 UTC"


def test_the_table_fits_80_columns_and_holds_no_value(calendar: Calendar) -> None:
    held = calendar.secret(40 * DAY, maximum_age="39d")
    calendar.secret(DAY, life=9 * DAY)
    calendar.freeze("christmas", held)
    calendar.write()
    shown = keyturn("due").stdout
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert not [one for one in calendar.declared if one.first["value"] in shown]
    assert keyturn("due", held).stdout.count("tests/") == 1


def test_a_wrong_path_is_told_with_the_likely_one(calendar: Calendar) -> None:
    path = calendar.secret(DAY)
    calendar.write()
    assert f"remedy: Did you mean {path}?" in keyturn("due", path[:-1], code=1).stderr


def test_a_compromised_secret_is_replaced_in_a_freeze_and_its_history_says_so(calendar: Calendar) -> None:
    path = calendar.secret(DAY)
    calendar.freeze("christmas", path)
    calendar.write()
    done = json.loads(keyturn("rotate", path, "--compromised", "--local", "--json").stdout)
    assert (done["state"], done["version"]) == ("rotated", 2)
    past = json.loads(keyturn("history", path, "--json").stdout)
    assert past["rotations"][0]["reason"] == "Compromised"
    assert calendar.due()[path]["alarm"] is None


def test_forced_and_compromised_are_two_things(calendar: Calendar) -> None:
    path = calendar.secret(DAY)
    calendar.write()
    keyturn("rotate", path, "--now", "--compromised", "--local", code=2)


def test_what_an_incident_has_ended_is_told_by_due_and_by_status(calendar: Calendar) -> None:
    path = calendar.secret(2 * DAY, interval="1d")
    opened = calendar.lab.open(calendar.declared[0]).workspace
    rewrite(opened, path, replace(load_record(opened, path), frozen="INC-1"))
    assert calendar.due(path)[path]["blocked"].startswith("the incident INC-1 has ended it")
    (told,) = json.loads(keyturn("status", "--json").stdout)["secrets"]
    assert told["ended_by"] == "INC-1"


def test_a_current_that_does_not_log_in_is_a_row_an_alarm_and_a_number(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    lab = calendar.lab
    refused, accepted, away = (lab.alternating() for _ in range(3))
    silent, untried = lab.generated(), lab.generated()
    calendar.declared += [refused, accepted, away, silent, untried]
    opened = lab.open(*calendar.declared).workspace
    lab.sql(f'ALTER ROLE "{refused.users[0]}" PASSWORD %s', "somebody-else-has-set-it")
    check_logins(opened, [refused.path, accepted.path, silent.path])
    gone: Any = Hooked(opened.open_strategy(away.path), accepts=raising(Unavailable("reach", "pg", "no answer")))
    check_logins(replace(opened, open_strategy=lambda path: gone), [away.path])

    told = calendar.due("--check", code=1)
    assert {path: one["login"] and one["login"]["result"] for path, one in told.items()} == {
        refused.path: "refused",
        accepted.path: "accepted",
        away.path: "untried",
        silent.path: "unknown",
        untried.path: None,
    }
    assert told[refused.path]["login"]["alarm"].startswith("CURRENT, version 1, does not log in since ")
    assert told[away.path]["login"]["alarm"] == "", "not before it has been so for a day"
    table = keyturn("due").stdout
    assert "ALARM: CURRENT, version 1, does not log in since" in table
    assert "CURRENT could not be tried since" in table

    status = json.loads(keyturn("status", "--json").stdout)
    assert status["logins"] == {"accepted": 1, "refused": 1, "unknown": 1, "untried": 2}
    done = keyturn("status")
    for words in ("DOES NOT LOG IN", "login can't be tried", "logs in", "no login to test"):
        assert words in done.stdout
    assert f"logins: unknown for 1 of 5 secrets, first {away.path}: CURRENT was never tested" in done.stderr
    assert "last tried" in done.stdout


def test_the_keys_that_keyturn_itself_works_with_are_shown_and_one_that_is_late_is_told(
    calendar: Calendar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar.secret(DAY)
    held, lost = (f"webhooks/{name}/{fresh()}" for name in ("held", "lost"))
    calendar.lab.keep(held, {"key": generate_webhook_key().reveal()})
    calendar.consumers = {
        name: {"url": "http://127.0.0.1:9", "signing_key": path} for name, path in (("held", held), ("lost", lost))
    }
    calendar.due()
    assert not blames_a_secret()
    shown = {key["name"]: key for key in json.loads(keyturn("due", "--json").stdout)["own_keys"]}
    assert (shown[held]["state"], shown[held]["what"], shown[held]["blocked"]) == (
        "in use",
        "signs notices to held",
        "",
    )
    since, due_at = (datetime.fromisoformat(shown[held][name]) for name in ("since", "due_at"))
    assert due_at - since == 90 * DAY
    assert (shown[lost]["state"], shown[lost]["due_at"]) == ("unknown", None)
    assert "Write its webhook key to the field `key`" in shown[lost]["blocked"]

    assert json.loads(keyturn("keys", "rotate-own", held, "--local", "--json").stdout) == {"own_keys": []}
    (turned,) = json.loads(keyturn("keys", "rotate-own", held, "--now", "--local", "--json").stdout)["own_keys"]
    assert (turned["name"], turned["changed"], turned["error"]) == (held, True, "")
    assert "own key" in keyturn("due").stdout
    words = " ".join(keyturn("due").stdout.split())
    assert "signs notices to held, being replaced since" in words
    assert "UTC, replaced by hand" in words
    assert "the signing key of consumer lost is not there" in keyturn("keys", "rotate-own", "--local", code=1).stderr
    assert f"Did you mean {held}?" in keyturn("keys", "rotate-own", held[:-1], "--local", code=1).stderr

    policy = tmp_path / "policy.yaml"
    policy.write_text("own_keys: { webhook_grace: 0s }\n")
    monkeypatch.setenv("KEYTURN_POLICY", str(policy))
    with pytest.MonkeyPatch.context() as later:
        later.setattr("keyturn.rotation.state.context.Workspace.hub_now", lambda workspace: calendar.now + 2 * DAY)
        late = keyturn("due", "--check", code=1)
    assert "has not acknowledged a notice by the new key yet" in late.stderr
    assert "LATE: it was due" in late.stdout
