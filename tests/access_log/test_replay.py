"""``keyturn monitor replay``: an audit file of a real OpenBao against the rules of a catalogue."""

import gzip
import json
import re
import shlex
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import VaultError
from typer.main import get_command

from keyturn.access_log.detection.rules.registry import RULES, rule_class
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.cli.app import app
from keyturn.cli.readers import monitor
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.providers.ledger.address import open_ledger
from keyturn.settings.durations import show
from tests.access_log.hub import Hub, read
from tests.cli.command import one_line, run_keyturn, surroundings
from tests.manual.lines import lines_of

CATALOGUE = """
secrets:
  ml/database:
    owner: ml@example.com
    classification: restricted
    rotation: {strategy: generated, interval: 30d, grace: 1h}
monitors:
  everybody: {timezone: Europe/Berlin, weights: {hours: 0}}
  trainers: {principals: ["approle trainer*"], addresses: [10.0.0.0/8], paths: ["ml/*"]}
"""
QUIET = """
monitors:
  everybody: {weights: {hours: 0}, rules: {failed-reads: {count: 3}, root-token: {weight: 0}}}
"""


@pytest.fixture(scope="module")
def audit_file(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hub has written of three that came: one from an odd address, root, and one who guesses."""
    before = len(hub.server.audit_log.read_bytes())
    hub.root.write("sys/config/auditing/request-headers/User-Agent", hmac=False)
    read(hub.approle("trainer"))
    read(hub.root)
    guesser = hvac.Client(url=hub.server.address)
    for _ in range(4):
        with suppress(VaultError):
            guesser.auth.userpass.login("nobody", "a guess")
    read(hub.userpass("ana"))
    file = tmp_path_factory.mktemp("audit") / "audit.log"
    file.write_bytes(hub.server.audit_log.read_bytes()[before:])
    return file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a catalogue and no ledger, whose environment this process has."""
    directory = tmp_path / "catalogue"
    directory.mkdir()
    (directory / "all.yaml").write_text(CATALOGUE)
    (tmp_path / "quiet.yaml").write_text(QUIET)
    settings = surroundings(tmp_path / "home", KEYTURN_CATALOGUE=str(directory))
    for name in ("KEYTURN_CATALOGUE", "KEYTURN_HOME"):
        monkeypatch.setenv(name, settings[name])
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    return tmp_path


def replayed(capsys: pytest.CaptureFixture[str], *files: Path, **options: Any) -> Any:
    """What the command says, as JSON."""
    monitor.replay(list(files), as_json=True, **options)
    return json.loads(capsys.readouterr().out)


def told(alerts: list[dict[str, Any]]) -> list[tuple[str, float, str, list[str]]]:
    return [
        (alert["level"], alert["score"], alert["principal"], [factor["name"] for factor in alert["factors"]])
        for alert in alerts
    ]


BEFORE = [("alert", 0.8, "approle trainer", ["address-range"]), ("alert", 0.8, "token (root policy)", ["root-token"])]


def test_alerts_are_those_of_the_catalogues_rules(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = replayed(capsys, audit_file)
    assert told(data["alerts"]) == BEFORE
    assert (data["accesses"], data["odd"], data["late"], data["comparison"]) == (9, 2, 0, None)
    (event,) = data["alerts"][0]["events"]
    assert (event["path"], event["source"], event["action"]) == ("ml/database", "127.0.0.1", "read")
    assert event["agent"].startswith("python")


def test_no_value_and_no_hash_is_in_an_alert(audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hmac-" in audit_file.read_text()
    monitor.replay([audit_file])
    monitor.replay([audit_file], as_json=True)
    shown = capsys.readouterr().out
    lines = map(json.loads, audit_file.read_text().splitlines())
    logins = {line["auth"]["accessor"] for line in lines if line["auth"].get("accessor")}
    assert logins
    assert not [hashed for hashed in logins if hashed.rpartition(":")[2][:8] in shown]
    assert "hmac" not in shown


def test_other_rules_are_compared(audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    difference = replayed(capsys, audit_file, compare=home / "quiet.yaml")["comparison"]
    assert told(difference["only_before"]) == BEFORE
    assert told(difference["only_after"]) == [("alert", 0.8, "failed login from 127.0.0.1", ["failed-reads"])]
    assert (difference["same"], difference["changed"]) == (0, [])
    monitor.replay([audit_file], compare=home / "quiet.yaml")
    shown = capsys.readouterr().out
    assert "only before" in shown
    assert "only after" in shown


def test_rules_of_a_file_stand_in_for_the_catalogues(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(replayed(capsys, audit_file, rules=home / "quiet.yaml")["alerts"]) == [
        ("alert", 0.8, "failed login from 127.0.0.1", ["failed-reads"])
    ]


def test_a_rotated_file_is_read_once_whether_it_is_named_or_not(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = audit_file.read_bytes().splitlines(keepends=True)[:5], audit_file.read_bytes().splitlines(True)[5:]
    (home / "audit.log.1").write_bytes(b"".join(first))
    (home / "audit.log").write_bytes(b"".join(last))
    alone = replayed(capsys, home / "audit.log")
    both = replayed(capsys, home / "audit.log", home / "audit.log.1", home / "audit.log")
    assert (alone["accesses"], both["accesses"]) == (9, 9)
    assert told(both["alerts"]) == told(alone["alerts"]) == BEFORE
    assert len(both["logs"]) == 1


def test_a_packed_file_can_be_named(audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "audit.log.2.gz").write_bytes(gzip.compress(audit_file.read_bytes()))
    assert told(replayed(capsys, home / "audit.log.2.gz")["alerts"]) == BEFORE


def test_a_copy_of_the_same_log_counts_once(audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(audit_file, home / "second.log")
    data = replayed(capsys, audit_file, home / "second.log")
    assert (data["accesses"], data["duplicates"]) == (9, 9)
    assert told(data["alerts"]) == BEFORE


def test_malformed_lines_are_counted_and_told(audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = audit_file.read_bytes()
    (home / "torn.log").write_bytes(b"{torn\n" + torn + b'{"type":"response","path":"secret/data/"}x}\n')
    data = replayed(capsys, home / "torn.log")
    assert told(data["alerts"]) == BEFORE
    assert "2 of its lines could not be read" in data["logs"][0]["gaps"]


@pytest.mark.parametrize(
    ("time", "impossible"),
    [
        ("0001-01-01T00:00:00Z", 1),
        ("9999-12-31T23:59:59Z", 1),
        ("1969-12-31T23:59:59Z", 1),
        ("2999-01-01T00:00:00Z", 0),
    ],
)
def test_a_line_of_an_absurd_time_hides_nothing_and_makes_nothing_late(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str], time: str, impossible: int
) -> None:
    lines = audit_file.read_text().splitlines(keepends=True)
    read_of = next(line for line in lines if '"response"' in line and "secret/data/ml/database" in line)
    odd = json.dumps(json.loads(read_of) | {"time": time}, separators=(",", ":"))
    (home / "odd.log").write_text(f"{odd}\n{''.join(lines)}")
    data = replayed(capsys, home / "odd.log")
    assert told(data["alerts"])[:2] == BEFORE
    assert (data["late"], data["impossible"], data["accesses"]) == (0, impossible, 10 - impossible)


def test_markup_and_control_characters_stay_text(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = r"<b>[red]\u001b[31m\u202e"
    lines = audit_file.read_text().replace("secret/data/ml/database", f"secret/data/ml/{odd}")
    (home / "odd.log").write_text(lines)
    monitor.replay([home / "odd.log"])
    shown = capsys.readouterr().out
    assert r"ml/<b>[red]\x1b[31m\u202e" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_what_the_ledger_tells_of_revocations_counts(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = json.loads(audit_file.read_text().splitlines()[0])["time"][:26]
    begun = datetime.fromisoformat(first).replace(tzinfo=UTC) - timedelta(minutes=1)
    ledger = open_ledger(str(home / "ledger.db"), origin="test")
    ledger.append(
        [
            Entry(begun, "worker", "promote", Outcome.DONE, secret="ml/database", version=2),
            Entry(begun, "worker", "cut", Outcome.DONE, secret="ml/database"),
        ]
    )
    ledger.close()
    alerts = replayed(capsys, audit_file)["alerts"]
    assert ("high", 1.8, "userpass-ana", ["after-revocation", "retired-version"]) in told(alerts)


def test_what_is_wrong_with_rules_is_told_with_its_place(audit_file: Path, home: Path) -> None:
    (home / "bad.yaml").write_text(
        "secrets: {}\nmonitors:\n  a: {limit: many}\nrules:\n  b: {paths: ['**'], never: 7}\n"
    )
    with pytest.raises(Invalid, match=r"bad\.yaml:3: monitors\.a\.limit"):
        monitor.replay([audit_file], rules=home / "bad.yaml")
    with pytest.raises(Invalid, match="the file can't be read"):
        monitor.replay([audit_file], compare=home / "none.yaml")


def test_a_log_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(Unavailable, match="there is no such file"):
        monitor.replay([home / "audit.log"])


def test_as_a_command(audit_file: Path, home: Path) -> None:
    env = surroundings(home / "home", KEYTURN_CATALOGUE=str(home / "catalogue"), KEYTURN_LEDGER=str(home / "none.db"))
    done = run_keyturn("monitor", "replay", str(audit_file), env=env)
    assert done.returncode == 0, done.stderr
    assert "alert 0.8" in done.stdout
    assert "9 accesses, 2 of them odd" in done.stderr
    one_line(run_keyturn("monitor", "replay", str(home / "none.log"), env=env), "no such file")


GUIDE = (Path(__file__).parents[2] / "docs" / "access-monitoring.md").read_text()
REFERENCE = (Path(__file__).parents[2] / "docs" / "access-monitoring-reference.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def block(page: str, language: str, within: str) -> str:
    """The one block of a page in a language that has these words."""
    (found,) = (text for named, text in BLOCK.findall(page) if named == language and within in text)
    return found


def test_the_guides_settings_and_commands_do_what_it_says(
    audit_file: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = block(GUIDE, "yaml", "keyturn-itself:")
    (home / "catalogue" / "monitors.yaml").write_text(settings)
    (home / "catalogue" / "all.yaml").write_text(CATALOGUE.partition("monitors:")[0])
    (home / "stricter.yaml").write_text(QUIET)
    monkeypatch.chdir(home)
    for command in lines_of("access-monitoring.md", "keyturn monitor"):
        _, *arguments = shlex.split(command.replace("/var/log/openbao/audit.log", str(audit_file)))
        get_command(app)(arguments, standalone_mode=False)
        shown = capsys.readouterr().out
        assert "address-range" in shown, "the trainer comes from no network of its own"
        assert "root-token" in shown


def test_the_guides_program_runs(audit_file: Path) -> None:
    program = block(REFERENCE, "python", "Detector(")
    names: dict[str, Any] = {}
    exec(program.replace("/var/log/openbao/audit.log", str(audit_file)), names)  # noqa: S102
    assert [alert.principal for alert in names["alerts"]] == ["token (root policy)"]


def test_the_guide_names_every_rule_and_setting() -> None:
    lines = [line.strip("|") for line in REFERENCE.splitlines() if line[:2] == "| "]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    rows = {row[0].strip("`"): row for row in cells if len(row) == 5}
    for name in RULES:
        tuning = rule_class(name).tuning
        within = show(tuning.within) if tuning.within else ""
        _, weight, _, count, time = rows[name]
        assert (float(weight) * 1000, count, time) == (tuning.weight, str(tuning.count or ""), within)
    keys = set(re.findall(r"`(\w+)`", REFERENCE.partition("| key | by default | meaning |")[2].partition("\n\n")[0]))
    assert set(MonitorSettings.model_fields) <= keys
