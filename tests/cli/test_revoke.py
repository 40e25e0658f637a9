"""`keyturn revoke` against a real hub, database and store."""

import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
import yaml
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.running import watch
from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import Sensitive
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.storage.waiting import record_waiting, waiting_in_hub
from keyturn.providers.ledger.address import open_ledger
from keyturn.revocation import run
from keyturn.wiring.ledger import named_ledger
from local.emulators.aws import LocalAws
from local.pager import Pager
from local.prepare import WORKER
from local.support.ports import free_port
from tests.cli.command import WIDTH, at_terminal, fits, run_keyturn, run_python
from tests.faults.disk import Disk
from tests.support.announcements import load_apprise
from tests.support.consumer import Consumer
from tests.support.hooks import Hooked, raising
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.world import REGION, World

pytestmark = pytest.mark.sampled(10, of="file")


runner = CliRunner()


def keyturn(*arguments: str, given: str | bytes | None = None) -> Result:
    """Run one command in this process, with nobody at a terminal."""
    return runner.invoke(app, arguments, input=given)


def told(*arguments: str, code: int = 0, given: str | None = None) -> Any:
    """Run one command with --json, which ends with ``code``; its data."""
    result = keyturn(*arguments, "--json", given=given)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@dataclass(frozen=True)
class Shop:
    """A catalogue of two secrets, with a store, a target and a consumer, as files."""

    lab: Lab
    catalogue: Path
    database: Declared
    keys: Declared
    consumer: Consumer
    store: LocalAws
    reports: Path

    @property
    def paths(self) -> list[str]:
        return sorted((self.database.path, self.keys.path))

    def values(self) -> set[str]:
        """Every value that was there at the start, and those that are now."""
        found = {self.lab.world.hub_token, self.database.first["password"], self.keys.first["value"]}
        return found | {self.lab.current(self.database)["password"], self.lab.current(self.keys)["value"]}

    def move_store(self, port: int, from_port: int = 0) -> None:
        """Let the catalogue look for the store at another port."""
        file = self.catalogue / "all.yaml"
        file.write_text(file.read_text().replace(f":{from_port or self.store.port}", f":{port}"))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def consumer() -> Iterator[tuple[Consumer, str]]:
    key = f"whsec_{secrets.token_hex(24)}"
    with Consumer(Sensitive(key)) as listening:
        yield listening, key


@pytest.fixture
def pager() -> Iterator[Pager]:
    """Where the person on call is told."""
    listening = Pager(free_port())
    yield listening
    listening.close()


@pytest.fixture
def shop(
    lab: Lab,
    world: World,
    aws: LocalAws,
    consumer: tuple[Consumer, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """Fresh secrets with copies, and the environment that leads to them and to no Prefect server."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "AWS_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    listening, key = consumer
    name = fresh()
    lab.hub.write_state(f"webhooks/app/{name}", {"key": key}, cas=0)
    database = lab.alternating(destinations=[{"store": "memory", "name": f"{name}-db"}], consumers=["app"])
    keys = lab.generated(destinations=[{"store": "memory", "name": f"{name}-keys"}], consumers=["app"])
    directory = tmp_path / "catalogue"
    directory.mkdir()
    store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.endpoint_url}
    data = catalogue_data(
        world, (database, keys), store, {"app": {"url": listening.url, "signing_key": f"webhooks/app/{name}"}}
    )
    for entry in data["secrets"].values():
        entry.pop("path", None)
    (directory / "all.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    for variable, value in {
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
        "KEYTURN_CATALOGUE": str(directory),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "PREFECT_HOME": str(tmp_path / "no-prefect"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws.credentials),
        "AWS_CONFIG_FILE": str(aws.directory / "no-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": str(WIDTH),
    }.items():
        monkeypatch.setenv(variable, value)
    made = Shop(lab, directory, database, keys, listening, aws, tmp_path / "state" / "keyturn" / "incidents")
    assert keyturn("sync", "--local").exit_code == 0
    return made


def copy_of(shop: Shop, secret: Declared) -> dict[str, Any]:
    """What the store serves of a secret."""
    return dict(json.loads(text_of(shop, secret)))


def text_of(shop: Shop, secret: Declared) -> str:
    """The same as it stands there."""
    client = boto3.Session().client("secretsmanager", REGION, endpoint_url=shop.store.endpoint_url)
    name = secret.data["destinations"][0]["name"]
    return str(client.get_secret_value(SecretId=name)["SecretString"])


def untouched(shop: Shop) -> bool:
    """Whether both secrets are as they were at the start, and nobody was told anything."""
    lab = shop.lab
    same = lab.current(shop.database) == shop.database.first and lab.current(shop.keys) == shop.keys.first
    records = [lab.hub.read_state(f"rotations/{path}") for path in shop.paths]
    return same and lab.logs_in(shop.database.first) and records == [None, None]


# --- the whole way


def test_one_named_secret_is_ended_replaced_and_proven_without_a_question(shop: Shop) -> None:
    path, incident = shop.database.path, fresh()
    session = shop.lab.connect(shop.database.first)
    done = told("revoke", path, "--reason", "leaked in a log", "--incident", incident, "--local")
    assert (done["id"], done["state"], done["left"], done["run"]) == (incident, "closed", [], None)
    assert (done["reason"], done["mode"], done["selector"]) == ("leaked in a log", "replace", path)
    (secret,) = done["secrets"]
    assert (secret["path"], secret["version"], secret["old_versions"], secret["sessions"]) == (path, 2, [1], 1)
    assert 0 < secret["seconds"]["refused"] < secret["seconds"]["clear"]

    after = shop.lab.current(shop.database)
    assert not shop.lab.logs_in(shop.database.first)
    assert shop.lab.logs_in(after)
    assert copy_of(shop, shop.database) == after
    assert shop.consumer.versions(path)[-1:] == [2], "of the first one they may have heard by the sync"
    assert shop.lab.current(shop.keys) == shop.keys.first
    with pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_people_are_told_what_ended_first_then_what_it_is_about_and_where_the_report_is(shop: Shop) -> None:
    path = shop.database.path
    result = keyturn("revoke", path, "--reason", "leaked", "--incident", "INC-7", "--local")
    assert result.exit_code == 0, result.output
    said = result.stderr.splitlines()
    ended, about = (next(n for n, line in enumerate(said) if words in line) for words in ("refuses it", "what this is"))
    assert said[ended].startswith(f"{path}: its target refuses it after ")
    assert ended < about
    assert said[-1] == "INC-7 is closed, and proven"
    for form in ("html", "json"):
        file = shop.reports / f"INC-7.{form}"
        assert f"  {file}" in said
        assert "INC-7" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(shop.reports.stat().st_mode) == 0o700
    assert path in result.stdout


def test_several_secrets_are_chosen_by_their_owner_and_revoked_side_by_side(shop: Shop) -> None:
    done = told("revoke", "--owner", "tests@example.com", "--reason", "she left", "--yes", "--local")
    assert done["id"].startswith("INC-")
    assert [secret["path"] for secret in done["secrets"]] == shop.paths
    assert (done["state"], {secret["version"] for secret in done["secrets"]}) == ("closed", {2})


def test_without_a_replacement_nothing_is_left_until_somebody_rotates_it(shop: Shop) -> None:
    path = shop.database.path
    done = told("revoke", path, "--reason", "an intruder", "--mode", "revoke-only", "--expect", "1", "--local")
    assert (done["state"], done["secrets"][0]["version"]) == ("closed", 0)
    assert shop.lab.hub.read(path) is None
    assert not shop.lab.logs_in(shop.database.first)
    assert told("rotate", path, "--now", "--local")["state"] == "rotated"
    assert shop.lab.logs_in(shop.lab.current(shop.database))
    assert copy_of(shop, shop.database) == shop.lab.current(shop.database)


# --- asking first


def test_a_preview_tells_whom_it_would_cut_off_and_changes_nothing(shop: Shop) -> None:
    session = shop.lab.connect(shop.database.first)
    seen = told("revoke", f"{shop.database.path[:-3]}*", shop.keys.path, "--preview")
    session.close()
    by_path = {one["path"]: one for one in seen["secrets"]}
    assert sorted(by_path) == shop.paths
    database = by_path[shop.database.path]
    assert shop.database.users[0] in database["ends"][0]
    assert "session" in " ".join(database["in_use"])
    assert database["destinations"] == [f"memory:{shop.database.data['destinations'][0]['name']}"]
    assert database["consumers"] == ["app"]
    shown = keyturn("revoke", shop.database.path, "--preview")
    assert shown.exit_code == 0
    assert shop.database.users[0] in shown.stdout
    assert shown.stderr.endswith("1 secret, 1 copy, 1 consumer: this would end; nothing was changed\n")
    assert untouched(shop)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("command", [("revoke", "PATH", "--preview"), ("whois", "0" * 12)], ids=lambda given: given[0])
def test_a_refused_login_is_an_error_and_no_empty_answer(
    shop: Shop, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROLE", "SECRET"):
        (file := tmp_path / name).write_text(secrets.token_hex(16))
        file.chmod(0o600)
        monkeypatch.setenv(f"KEYTURN_HUB_{name}_ID_FILE", str(file))
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    result = keyturn(*(shop.database.path if each == "PATH" else each for each in command))
    assert result.exit_code != 0
    assert "the AppRole's role id or secret id is refused (KT223)" in result.stderr
    assert "this would end" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["PATH"],
        ["PATH", "--reason", "  "],
        ["*", "--reason", "leaked"],
        ["PATH", "OTHER", "--reason", "leaked"],
        ["--owner", "tests@example.com", "--reason", "leaked"],
        ["PATH", "--owner", "tests@example.com", "--reason", "leaked"],
        ["PATH", "--resume", "INC-1"],
        ["--resume", "INC-1", "--reason", "leaked"],
        ["PATH", "--reason", "leaked", "--mode", "destroy"],
    ],
)
def test_what_is_not_clear_enough_for_a_script_is_wrong_usage_and_changes_nothing(
    shop: Shop, arguments: list[str]
) -> None:
    names = {"PATH": shop.database.path, "OTHER": shop.keys.path, "*": f"{shop.database.path[:-3]}*"}
    result = keyturn("revoke", *(names.get(word, word) for word in arguments), "--local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert untouched(shop)


def test_at_a_terminal_the_preview_comes_first_and_the_answer_decides(shop: Shop) -> None:
    asked = ["revoke", shop.database.path, "--reason", "leaked", "--local"]
    code, said = at_terminal(*asked, answers={"Revoke? [y/N]": "n"})
    assert (code, "Aborted" in said) == (1, True)
    assert said.index(shop.database.users[0]) < said.index("Revoke?")
    assert untouched(shop)
    code, said = at_terminal(*asked, answers={"Revoke? [y/N]": "y"})
    assert (code, said.count("what this is about")) == (0, 0), said
    assert not shop.lab.logs_in(shop.database.first)
    code, said = at_terminal("revoke", *shop.paths, "--reason", "leaked again", "--local", "--yes", answers={})
    assert (code, "Revoke?" in said) == (0, False), said
    beside = said.partition("what this is about")[2]
    assert "copies" in beside
    assert " ends " not in beside, "the account that is seen by then is the new one"


# --- when something does not go


def test_a_login_that_may_not_do_all_of_it_changes_nothing_and_is_told_what_it_lacks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = shop.lab.root.auth.token.create(policies=[WORKER])["auth"]["client_token"]
    monkeypatch.setenv("VAULT_TOKEN", worker)
    result = keyturn("revoke", shop.database.path, "--reason", "leaked", "--local")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "lacks create on keyturn/data/incidents/" in result.stderr
    assert "keyturn setup hub --apply" in result.stderr
    assert "--resume" not in result.stderr
    assert untouched(shop)


def test_a_prefect_server_that_is_down_is_said_in_one_line_and_not_needed_to_tell_people(
    shop: Shop, pager: Pager
) -> None:
    port = free_port()
    api = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "KEYTURN_FAILURE_URL": pager.address}
    program = (
        "import sys\nfrom keyturn.cli.app import app\n"
        f"try:\n    app(['revoke', {shop.database.path!r}, '--reason', 'leaked'])\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print('loaded', 'prefect' in sys.modules)"
    )
    done = run_python(program, env={**os.environ, **api})
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "without Prefect" in line]
    problem = f"the Prefect server at http://127.0.0.1:{port}/api does not answer"
    assert said == [f"going on in this process, without Prefect: {problem}"]
    assert done.stdout.splitlines()[-1] == "loaded False"
    assert not shop.lab.logs_in(shop.database.first)
    opened, closed = [message for message in pager.messages if shop.database.path in message]
    assert opened.splitlines()[0].endswith(" is opened")
    assert closed.splitlines()[0].endswith(" is closed")


def test_people_who_can_not_be_told_are_told_later_and_that_is_said(
    shop: Shop, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_apprise()
    monkeypatch.setenv("KEYTURN_FAILURE_URL", f"json://127.0.0.1:{free_port()}/")
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--incident", "INC-14", "--local")
    assert result.exit_code == 0, result.output
    assert "the person on call was NOT NOTIFIED: tell the failure channel: the service did not take it" in result.stderr
    shown = keyturn("incidents", "INC-14").stdout
    assert "messages not sent yet" in shown
    assert "opened (" in shown
    assert "`keyturn revoke --resume INC-14`" in " ".join(shown.replace("│", " ").split())
    monkeypatch.setenv("KEYTURN_FAILURE_URL", pager.address)
    assert keyturn("revoke", "--resume", "INC-14").exit_code == 0
    assert [m.splitlines()[0] for m in pager.messages if "INC-14" in m] == [
        "Keyturn: INC-14 is opened",
        "Keyturn: INC-14 is closed",
    ]
    assert "messages not sent yet" not in keyturn("incidents", "INC-14").stdout


def test_without_any_prefect_server_it_is_done_here_all_the_same(shop: Shop) -> None:
    done = run_keyturn("revoke", shop.keys.path, "--reason", "leaked", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "closed"), done.stderr
    assert "going on in this process, without Prefect: PREFECT_API_URL is not set" in done.stderr


@pytest.mark.parametrize("package", ["prefect", "apprise"])
def test_a_laptop_without_prefect_revokes_all_the_same(shop: Shop, package: str) -> None:
    program = (
        f"import sys\nsys.modules[{package!r}] = None\n"
        f"sys.argv = ['keyturn', 'revoke', {shop.keys.path!r}, '--reason', 'leaked', '--json']\n"
        "from keyturn.cli import main\nmain()"
    )
    server = {"prefect": {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "apprise": {"KEYTURN_FAILURE_URL": "json://x"}}
    done = run_python(program, env={**os.environ, **server[package]})
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "closed"), done.stderr
    assert f"the package {package} is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_away_keeps_the_incident_open_until_it_is_resumed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PAUSES", (0.0, 0.0, 0.0))
    path, away = shop.database.path, free_port()
    shop.move_store(away)
    done = told("revoke", path, "--reason", "leaked", "--incident", "INC-8", "--local", code=3)
    assert done["state"] == "open"
    assert any(left.startswith(f"{path}: push: memory:") for left in done["left"])
    assert not shop.lab.logs_in(shop.database.first)
    assert shop.consumer.versions(path)[-1:] == [2], "of the first one they may have heard by the sync"
    assert "INC-8" in {one["id"] for one in told("incidents", "--open")["incidents"]}
    said = keyturn("revoke", "--resume", "INC-8", "--local")
    assert (said.exit_code, said.stderr.count("error: ")) == (3, 1)
    assert "keyturn revoke --resume INC-8" in said.stderr

    shop.move_store(shop.store.port, away)
    again = told("revoke", "--resume", "INC-8", "--local")
    assert (again["state"], again["secrets"][0]["version"]) == ("closed", 2)
    assert copy_of(shop, shop.database) == shop.lab.current(shop.database)
    assert "INC-8" not in {one["id"] for one in told("incidents", "--open")["incidents"]}
    closed = keyturn("revoke", "--resume", "INC-8", "--local")
    assert (closed.exit_code, "INC-8 is closed, and proven" in closed.stderr) == (0, True)


def test_a_target_that_is_away_is_no_end_and_ends_with_1(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PAUSES", (0.0, 0.0, 0.0))
    file = shop.catalogue / "all.yaml"
    file.write_text(file.read_text().replace(f"port: {shop.lab.world.port}", f"port: {free_port()}"))
    result = keyturn("revoke", shop.database.path, "--reason", "leaked", "--incident", fresh(), "--local")
    assert result.exit_code == 1
    assert f"NOT ENDED YET {shop.database.path}: " in result.stderr
    assert "NOT ENDED YET" in result.stdout
    assert f"NOT ENDED at the target yet: {shop.database.path}" in result.stderr


def test_the_same_name_means_the_same_incident(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PAUSES", (0.0, 0.0, 0.0))
    away = free_port()
    shop.move_store(away)
    asked = ["revoke", shop.database.path, "--reason", "leaked", "--incident", "INC-9", "--local"]
    told(*asked, code=3)
    shop.move_store(shop.store.port, away)
    assert told(*asked)["secrets"][0]["version"] == 2
    for other in (asked, ["revoke", shop.keys.path, *asked[2:]]):
        result = keyturn(*other)
        assert (result.exit_code, "there is an incident of that name" in result.stderr) == (1, True)
    assert shop.lab.current(shop.keys) == shop.keys.first


@pytest.mark.parametrize("name", ["a/b", "..", "two words", "x" * 65])
def test_a_name_that_can_not_be_a_path_or_a_file_is_refused_before_anything_changes(shop: Shop, name: str) -> None:
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--incident", name, "--local")
    assert (result.exit_code, "its name can't be one" in result.stderr) == (1, True)
    assert untouched(shop)


def test_a_report_that_can_not_be_written_is_told_and_takes_nothing_back(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "reports")
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--local", "--report", place)
    assert result.exit_code == 0, result.output
    assert "error: " in result.stderr
    assert result.stderr.endswith("is closed, and not proven (1 thing)\n")


def test_a_ledger_that_can_not_be_written_holds_up_no_revocation(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_ledger(shop)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "file" / "ledger.db"))
    asked = ["revoke", shop.database.path, "--reason", "leaked", "--incident", "INC-11", "--local"]
    assert told(*asked)["state"] == "closed"
    kept = [shop.lab.hub.read_state(place) for place in waiting_in_hub(shop.lab.hub, "INC-11")]
    waiting = "\n".join(str(state.data["entries"]) for state in kept if state)
    assert '"action":"cut","outcome":"done"' in waiting
    assert '"action":"close incident"' in waiting
    assert not [value for value in shop.values() if value in waiting]


@pytest.fixture
def prefect(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[KeyturnError], None]:
    """A Prefect server that answers, and at which a run ends in this way."""

    def ends(error: KeyturnError) -> None:
        def run_deployment(*_: Any, **__: Any) -> None:
            raise error

        httpserver.expect_request("/api/health").respond_with_data("true")
        monkeypatch.setenv("PREFECT_API_URL", httpserver.url_for("/api"))
        monkeypatch.setattr(watch, "run_deployment", run_deployment)

    return ends


def test_a_run_that_no_worker_takes_is_done_here(shop: Shop, prefect: Callable[[KeyturnError], None]) -> None:
    prefect(watch.NotBegun("wait for", "a run", "no worker has begun the run x within 10 s"))
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked")
    assert result.exit_code == 0, result.output
    assert "without Prefect: no worker has begun the run x within 10 s" in result.stderr


def test_a_run_that_is_not_waited_for_any_longer_leaves_the_incident_to_it(
    shop: Shop, prefect: Callable[[KeyturnError], None]
) -> None:
    prefect(watch.StillRuns("wait for", "a run", "the run x has not ended within 1 s"))
    result = keyturn("revoke", shop.database.path, "--reason", "leaked", "--incident", "INC-12")
    assert result.exit_code == 3
    assert (
        "the run x has not ended within 1 s; while INC-12 is open, finish-incidents retries it every 5 minutes"
        in result.stderr
    )
    assert "keyturn revoke --resume INC-12" in result.stderr
    assert not shop.lab.logs_in(shop.database.first)
    assert told("revoke", "--resume", "INC-12", "--local")["state"] == "closed"


def test_an_interrupted_command_tells_how_the_incident_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "finish", interrupted)
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--incident", "INC-13", "--local")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].endswith("to retry now: keyturn revoke --resume INC-13")


# --- whose it is


def test_a_fingerprint_and_a_value_lead_to_their_secret(shop: Shop) -> None:
    incident = told("revoke", shop.keys.path, "--reason", "leaked", "--local")
    shown = incident["secrets"][0]["fingerprint"]
    whole = {"path": shop.keys.path, "version": 2, "place": ""}
    assert whole in told("whois", shown)["matches"]
    assert whole in told("whois", shown[:8].upper())["matches"]
    value = shop.lab.current(shop.keys)["value"]
    result = keyturn("whois", "--stdin", "--json", given=f"{value}\n")
    assert json.loads(result.stdout) == {"matches": [whole], "unseen": []}
    copied = keyturn("whois", "--stdin", given=text_of(shop, shop.keys))
    assert shop.keys.path in copied.stdout
    assert f"keyturn revoke {shop.keys.path} --reason TEXT" in copied.stderr
    indented = told("whois", "--stdin", given=json.dumps(copy_of(shop, shop.keys), indent=2))
    assert whole in indented["matches"]
    assert value not in result.output + copied.output


def test_what_nobody_has_is_found_nowhere(shop: Shop) -> None:
    nowhere = keyturn("whois", "0" * 64)
    assert (nowhere.exit_code, "`keyturn kill --stdin`" in nowhere.stderr) == (1, True)
    result = keyturn("whois", "--stdin", "--json", given="s3cr3t-of-somebody-else")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"matches": [], "unseen": []})
    assert "s3cr3t" not in result.output


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        ([], None, 2),
        (["0123456789ab", "--stdin"], "x", 2),
        (["s3cr3t-value-of-a-test"], None, 1),
        (["--stdin"], "", 1),
        (["--stdin"], b"\xff\xfe", 1),
        (["--stdin"], "s3cr3t-value-of-a-test" * 100_000, 1),
    ],
)
def test_what_is_no_fingerprint_and_no_value_is_refused_without_a_word_of_it(
    shop: Shop, arguments: list[str], given: str | bytes | None, code: int
) -> None:
    result = keyturn("whois", *arguments, given=given)
    assert result.exit_code == code
    assert "s3cr3t" not in result.output


def test_a_value_that_is_typed_is_not_shown(shop: Shop) -> None:
    value = shop.database.first["password"]
    code, said = at_terminal("whois", "--stdin", answers={"The leaked value": value})
    assert (code, shop.database.path in said) == (0, True), said
    assert value not in said


# --- afterwards


def test_an_incident_is_listed_shown_in_full_and_reported_again(shop: Shop, tmp_path: Path) -> None:
    incident = fresh()
    told("revoke", *shop.paths, "--reason", "leaked in a log", "--incident", incident, "--yes", "--local")
    listed = next(one for one in told("incidents")["incidents"] if one["id"] == incident)
    assert (listed["state"], listed["paths"], listed["reason"]) == ("closed", shop.paths, "leaked in a log")
    result = keyturn("incidents", incident, "--report", str(tmp_path / "here"))
    assert result.exit_code == 0
    assert all(words in result.stdout for words in (incident, "closed", "leaked in a log", *shop.paths, "prove"))
    assert {file.name for file in (tmp_path / "here").iterdir()} == {f"{incident}.html", f"{incident}.json"}
    assert keyturn("incidents", "no-such").exit_code == 1
    assert keyturn("incidents", "--report", str(tmp_path)).exit_code == 2
    assert keyturn("incidents", incident, "--open").exit_code == 2


def test_no_output_and_no_report_holds_a_value_and_tables_fit_80_columns(shop: Shop) -> None:
    values = shop.values()
    reason = ["--reason", "leaked in a log"]
    commands: list[list[str]] = [
        ["revoke", *shop.paths, "--preview"],
        ["revoke", *shop.paths, *reason, "--incident", "INC-10", "--yes", "--local"],
        ["revoke", "--resume", "INC-10", "--local"],
        ["incidents"],
        ["incidents", "INC-10"],
    ]
    said = [keyturn(*command) for command in commands]
    said += [keyturn(*command, "--json") for command in (commands[0], *commands[2:])]
    assert [result.exit_code for result in said] == [0] * len(said)
    values |= shop.values()
    assert len(values) == 5
    everything = [result.output for result in said] + [file.read_text() for file in shop.reports.iterdir()]
    assert not [value for value in values if any(value in text for text in everything)]
    for result in said[: len(commands)]:
        assert fits(result.stdout)
        assert "\x1b" not in result.output


# --- what could not be checked


def test_a_version_that_was_deleted_first_is_ended_and_proven_and_found_by_whois(shop: Shop) -> None:
    leaked = shop.database.first["password"]
    shop.lab.root.secrets.kv.v2.delete_latest_version_of_secret(shop.database.path, mount_point="secret")
    (match,) = told("whois", "--stdin", given=leaked)["matches"]
    assert (match["path"], match["version"]) == (shop.database.path, 1)
    one = told("revoke", shop.database.path, "--reason", "leaked", "--local")
    assert (one["state"], one["left"]) == ("closed", [])
    assert not shop.lab.logs_in(shop.database.first)
    assert shop.lab.logs_in(shop.lab.current(shop.database))
    assert shop.lab.current(shop.database)["host"] == shop.database.first["host"]
    shop.lab.hub.undelete(shop.database.path, [1])
    assert shop.lab.hub.read(shop.database.path, 1) is None


def test_what_can_not_be_proven_is_given_up_by_a_person_and_stays_listed(shop: Shop) -> None:
    shop.lab.hub.destroy(shop.keys.path, [1])
    opened = told(
        "revoke", shop.keys.path, "--reason", "leaked", "--mode", "revoke-only", "--expect", "1", "--local", code=3
    )
    assert any("not proven: could not look at version 1" in said for said in opened["left"])
    given_up = told("incidents", opened["id"], "--give-up", "the owner has looked, ticket 4711")
    assert (given_up["state"], given_up["given_up"]) == ("given up", "the owner has looked, ticket 4711")
    assert given_up["left"] == opened["left"]
    assert "given up" in keyturn("incidents").stdout
    assert opened["id"] not in keyturn("incidents", "--open").stdout


# --- a catalogue that the operator's file refuses


@pytest.mark.attack
def test_a_refusal_of_the_operators_file_needs_a_recorded_override(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, path, incident = tmp_path / "policy.yaml", shop.database.path, fresh()
    allowed = json.loads(Path(os.environ["KEYTURN_POLICY"]).read_text())
    policy.write_text(json.dumps({**allowed, "hosts": ["nowhere.example.com"]}))
    monkeypatch.setenv("KEYTURN_POLICY", str(policy))
    command = ("revoke", path, "--reason", "leaked", "--incident", incident)
    refused = keyturn(*command)
    assert refused.exit_code == 1
    assert "the operator's file does not allow this host" in refused.stderr
    assert "--override-policy continues" in refused.stderr
    assert untouched(shop)

    result = keyturn(*command, "--override-policy")
    assert result.exit_code == 0, result.output
    assert "OVERRIDING THE OPERATOR'S POLICY" in result.stderr
    assert "targets.pg.host: the operator's file does not allow this host" in result.stderr
    assert not shop.lab.logs_in(shop.database.first)
    listed = told("ledger", "show", "--action", "override policy")["entries"]
    entries = [entry for entry in listed if str(shop.catalogue) in entry["note"]]
    assert [entry["note"].split(":")[0] for entry in entries] == ["leaked"]
    assert "targets.pg.host" in entries[0]["note"]
    assert "policy overridden" in json.loads((shop.reports / f"{incident}.json").read_text())["incident"]["reason"]


def test_with_nothing_to_override_a_revocation_is_as_ever(shop: Shop) -> None:
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--preview", "--override-policy")
    assert result.exit_code == 0, result.output
    assert "nothing had to be overridden" in result.stderr
    assert "OVERRIDING" not in result.stderr


def test_a_ledger_whose_package_is_missing_holds_no_revocation_up_and_its_entries_wait(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_ledger(shop)
    monkeypatch.setenv("KEYTURN_LEDGER", "postgresql://me@127.0.0.1:1/ledger")
    monkeypatch.delitem(sys.modules, "keyturn.providers.ledger.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--local")
    for line in first_and_last(result):
        assert line.startswith("NOT RECORDED: ")
        assert "the package psycopg2 is missing here" in line
    assert "Traceback" not in result.output
    assert shop.lab.current(shop.keys)["value"] != shop.keys.first["value"]
    assert len(waiting_in_hub(shop.lab.hub)) > 3


# --- where the ledger takes nothing


def forget_ledger(shop: Shop) -> None:
    """Let the hub name no ledger, as before the first use of it."""
    shop.lab.hub.delete_state("ledger")


def first_and_last(result: Result) -> list[str]:
    """The lines that a person reads first and last."""
    lines = result.stderr.splitlines()
    return [lines[0], lines[-1]]


def entries_about(ledger: str, incident: str) -> list[tuple[str, str, str]]:
    """The action, the outcome and the time of every entry that names the incident."""
    with closing(open_ledger(ledger)) as opened:
        found = [parse_leaf(leaf).entry for _, leaf in opened.leaves()]
    return [(one.action, one.outcome, one.time.isoformat()) for one in found if incident in one.note]


def recorded_once(ledger: str, incident: str) -> bool:
    """Whether the ledger has the incident from its opening to its close, and nothing of it twice."""
    told_of = entries_about(ledger, incident)
    actions = {(action, outcome) for action, outcome, _ in told_of}
    whole = {("open incident", "done"), ("cut", "done"), ("close incident", "done")} <= actions
    return whole and len(told_of) == len(set(told_of))


@pytest.fixture
def small_disk(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk with the hub's ledger on it."""
    (tmp_path / "disk").mkdir()
    with Disk(tmp_path / "disk", "4m") as disk:
        if not disk.mounted:
            pytest.skip("this process may not mount")
        forget_ledger(shop)
        monkeypatch.setenv("KEYTURN_LEDGER", str(disk.directory / "ledger.db"))
        monkeypatch.setenv("KEYTURN_LEDGER_SPOOL", str(disk.directory / "spool"))
        assert keyturn("sync", "--local").exit_code == 0
        yield disk


def test_a_full_ledger_disk_is_said_first_and_last_and_the_incident_is_recorded_once_by_the_next_that_can(
    shop: Shop, small_disk: Disk
) -> None:
    incident, ledger = fresh(), os.environ["KEYTURN_LEDGER"]
    small_disk.fill()
    result = keyturn("revoke", shop.database.path, "--reason", "leaked", "--incident", incident, "--local")
    for line in first_and_last(result):
        assert line.startswith("NOT RECORDED: "), result.stderr
        assert "Make room on it" in line
    assert not shop.lab.logs_in(shop.database.first)
    assert waiting_in_hub(shop.lab.hub, incident)
    refused = keyturn("rotate", shop.keys.path, "--now", "--local")
    assert refused.exit_code == 1
    assert "Make room on it" in refused.stderr
    assert shop.lab.current(shop.keys) == shop.keys.first
    small_disk.free()
    resumed = keyturn("revoke", "--resume", incident)
    assert "ledger: not recorded" in result.stderr
    assert "is closed, and not proven" in result.stderr
    assert "NOT RECORDED" not in resumed.stderr
    assert "is closed, and proven" in resumed.stderr
    assert waiting_in_hub(shop.lab.hub) == []
    assert recorded_once(ledger, incident)


def test_from_an_empty_home_the_entries_go_to_the_ledger_that_the_hub_names(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, ledger = fresh(), str(tmp_path / "workers" / "ledger.db")
    forget_ledger(shop)
    monkeypatch.setenv("KEYTURN_LEDGER", ledger)
    assert keyturn("sync", "--local").exit_code == 0
    monkeypatch.delenv("KEYTURN_LEDGER")
    monkeypatch.delenv("XDG_STATE_HOME")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    result = keyturn("revoke", shop.database.path, "--reason", "leaked", "--incident", incident, "--local")
    assert result.exit_code == 0, result.output
    assert "NOT RECORDED" not in result.stderr
    assert recorded_once(ledger, incident)
    assert not list((tmp_path / "empty").rglob("ledger.db"))


def test_on_another_machine_than_the_ledgers_file_it_is_said_and_kept(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, ledger = fresh(), os.environ["KEYTURN_LEDGER"]
    monkeypatch.delenv("KEYTURN_LEDGER")
    state = shop.lab.hub.read_state("ledger")
    assert state
    shop.lab.hub.write_state("ledger", {**state.data, "host": "worker-1"}, cas=state.version)
    result = keyturn("revoke", shop.keys.path, "--reason", "leaked", "--incident", incident, "--local")
    for line in first_and_last(result):
        assert f"NOT RECORDED: write to the ledger keyturn/default: it is in the file {ledger} on worker-1" in line
    refused = keyturn("rotate", shop.database.path, "--now", "--local")
    assert refused.exit_code == 1
    assert f"in the file {ledger} on worker-1, and can't be reached" in refused.stderr
    assert shop.lab.current(shop.database) == shop.database.first
    monkeypatch.setenv("KEYTURN_LEDGER", ledger)
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", "default")
    assert keyturn("revoke", "--resume", incident).exit_code == 0
    assert recorded_once(ledger, incident)


def test_a_process_that_dies_between_the_ledger_and_the_hub_doubles_nothing_and_neither_do_two_at_once(
    shop: Shop, small_disk: Disk
) -> None:
    incident, ledger = fresh(), os.environ["KEYTURN_LEDGER"]
    small_disk.fill()
    keyturn("revoke", shop.database.path, "--reason", "leaked", "--incident", incident, "--local")
    small_disk.free()
    hub: Any = shop.lab.hub
    dies = Hooked(hub, delete_state=raising(KeyboardInterrupt()))
    with closing(named_ledger(os.environ, hub)) as first, pytest.raises(KeyboardInterrupt):
        record_waiting(dies, first)
    before = len(waiting_in_hub(hub, incident))
    assert before > 3
    with ThreadPoolExecutor(2) as pool, closing(named_ledger(os.environ, hub)) as one:
        list(pool.map(lambda _: record_waiting(hub, one), range(2)))
    assert waiting_in_hub(hub, incident) == []
    assert recorded_once(ledger, incident)
