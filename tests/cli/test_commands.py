"""The command line against a real hub, database and store: what it does, says, and never says."""

import dataclasses
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue import find_problems, schema
from keyturn.catalogue.files.problems import SHOWN
from keyturn.cli.app import app
from keyturn.cli.catalogue.commands import UNANSWERED
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation import steps
from keyturn.rotation.decide import decide
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.cli.command import one_generated_secret, run_keyturn, surroundings
from tests.support.consumer import Consumer
from tests.support.hooks import raising
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.world import REGION, World

pytestmark = pytest.mark.sampled(9, of="file")

BROKEN = Path(__file__).parents[1] / "catalogue" / "broken"
CATALOGUES = sorted(path.name for path in BROKEN.iterdir())
WIDTH = 80

runner = CliRunner()


def keyturn(*arguments: str) -> Result:
    """Run one command in this process."""
    return runner.invoke(app, arguments)


def told(*arguments: str, code: int = 0) -> Any:
    """Run one command with --json, which ends with ``code``; its data."""
    result = keyturn(*arguments, "--json")
    # No worker runs in these tests, and nobody signs the ledger: `status` says so.
    assert result.exit_code in ({1, 5} if arguments[0] == "status" else {code}), result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack, hub or catalogue but those that a test gives."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "AWS_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.delenv("KEYTURN_CATALOGUE", raising=False)


# --- the catalogue


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_problem_of_a_broken_catalogue_is_shown_with_its_place_and_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_EMPTY", "")
    monkeypatch.setenv("KEYTURN_WORD", "many")
    directory = BROKEN / name
    result = keyturn("catalogue", "validate", str(directory))
    assert result.exit_code == 1
    for line in (directory / "expected.txt").read_text().splitlines()[:SHOWN]:
        place, where, message, remedy = line.split(" | ", 3)
        shown = ": ".join(part for part in (place.removesuffix(":0"), where.strip(), message) if part)
        assert shown in result.stdout
        assert remedy in result.stdout.replace(f"{directory}/", "")
    data = told("catalogue", "validate", str(directory), code=1)
    problems = find_problems(directory, os.environ)
    assert (data["count"], data["problems"]) == (len(problems), [problem.to_data() for problem in problems[:SHOWN]])
    assert data["valid"] is False


def test_a_sound_catalogue_is_valid(shop: "Shop") -> None:
    result = keyturn("catalogue", "validate", str(shop.catalogue))
    assert (result.exit_code, result.stdout.count("valid")) == (0, 1)
    assert told("catalogue", "validate")["secrets"] == 2


def test_fields_that_the_hub_lacks_and_secrets_it_refuses_are_reported(
    shop: "Shop", lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told("catalogue", "validate", "--against-hub")["missing_fields"] == {}
    lab.hub.write(shop.keys.path, SecretFields({"api_key": "sk-1", "value_2": "x"}), cas=1)
    found = told("catalogue", "validate", "--against-hub", code=1)
    assert [*found["missing_fields"]] == [shop.keys.path]
    result = keyturn("catalogue", "validate", "--against-hub")
    assert f"{shop.keys.path}: the catalogue declares the field value" in result.stdout
    monkeypatch.setenv("VAULT_TOKEN", lab.root.auth.token.create(policies=["default"])["auth"]["client_token"])
    assert shop.keys.path in told("catalogue", "validate", "--against-hub", code=1)["unread"]
    assert keyturn("catalogue", "validate", "--against-hub", "--no-environment").exit_code == 2


def test_consumers_that_answer_nobody_are_named(tmp_path: Path) -> None:
    queue = "{kind: aws-sqs, queue_arn: 'arn:aws:sqs:eu-central-1:111122223333:jobs', signing_key: webhooks/jobs}"
    (tmp_path / "all.yaml").write_text(f"consumers: {{jobs: {queue}}}\n")
    assert f"{UNANSWERED}: jobs" in keyturn("catalogue", "validate", str(tmp_path)).stdout
    assert told("catalogue", "validate", str(tmp_path))["unanswered"] == ["jobs"]


def test_the_schema_is_printed_as_it_is_kept() -> None:
    assert keyturn("catalogue", "schema").stdout == json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


# --- rotations in this process


@dataclass(frozen=True)
class Shop:
    """A catalogue of two secrets, with a store, a target and a consumer, as files."""

    lab: Lab
    catalogue: Path
    database: Declared
    keys: Declared
    consumer: Consumer
    store: LocalAws

    def forbidden(self) -> set[str]:
        """Every value that no output may show."""
        found = {self.lab.world.hub_token, self.lab.admin().reveal()["password"]}
        for declared in (self.database, self.keys):
            info = self.lab.hub.describe(declared.path)
            for version in info.versions if info else ():
                read = self.lab.hub.read(declared.path, version.version)
                fields = read.fields.reveal() if read else {}
                found |= {str(value) for name, value in fields.items() if name in ("password", "value")}
        return found


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
def shop(
    lab: Lab,
    world: World,
    aws: LocalAws,
    consumer: tuple[Consumer, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """Fresh secrets, and the environment that leads to them."""
    listening, key = consumer
    name = fresh()
    lab.hub.write_state(f"webhooks/app/{name}", {"key": key}, cas=0)
    places = {"grace": "1h", "consumers": ["app"]}
    database = lab.alternating(destinations=[{"store": "memory", "name": f"{name}-db"}], **places)
    keys = lab.generated(destinations=[{"store": "memory", "name": f"{name}-keys"}], **places)
    directory = tmp_path / "catalogue"
    directory.mkdir()
    store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": f"http://127.0.0.1:{aws.port}"}
    app = {"url": listening.url, "signing_key": f"webhooks/app/{name}"}
    write_catalogue(directory, catalogue_data(world, (database, keys), store, {"app": app}))
    for variable, value in {
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
        "KEYTURN_CATALOGUE": str(directory),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws.credentials),
        "AWS_CONFIG_FILE": str(aws.directory / "no-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    return Shop(lab, directory, database, keys, listening, aws)


def write_catalogue(directory: Path, data: dict[str, Any]) -> None:
    """As an operator writes it: the path is the key alone."""
    for entry in data["secrets"].values():
        entry.pop("path", None)
    (directory / "all.yaml").write_text(yaml.safe_dump(data))


def test_a_secret_is_rotated_without_prefect_and_its_history_tells_it(shop: Shop) -> None:
    path = shop.database.path
    before = shop.lab.current(shop.database)
    done = told("rotate", path, "--now", "--local")
    after = shop.lab.current(shop.database)
    assert (done["state"], done["version"], done["run"]) == ("rotated", 2, None)
    assert [copy["state"] for copy in done["destinations"]] == ["created"]
    assert done["consumers"] == [{"consumer": "app", "error": "", "kind": "", "code": "", "answers": True}]
    assert after["username"] != before["username"]
    assert shop.lab.logs_in(after)
    assert shop.consumer.versions(path) == [2]

    past = told("history", path)
    assert past["version"] == 2
    assert f"(username {before['username']}) still works; it ends " in done["previous"]
    rotation = past["rotations"][0]
    assert (rotation["version"], rotation["state"], rotation["reason"]) == (2, "promoted", "Forced")
    assert rotation["fingerprint"] == done["fingerprint"]
    assert rotation["acknowledged"] == ["app"]
    assert [version["sequence"] for version in past["versions"]] == [rotation["sequence"], None]


def test_a_rotation_that_ctrl_c_ends_says_who_finishes_it_and_that_command_does(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.database.path
    with monkeypatch.context() as interrupting:
        interrupting.setattr(VaultHub, "write", raising(KeyboardInterrupt()))
        ended = keyturn("rotate", path, "--now", "--local")
    remedy = f"keyturn rotate {path}"
    assert (ended.exit_code, f"interrupted: the schedule finishes a rotation that was begun; at once: {remedy}") == (
        130,
        ended.stderr.splitlines()[-1],
    )
    assert told(*remedy.split()[1:], "--local")["version"] == 2


def test_a_rotation_that_would_end_what_is_in_use_does_nothing_and_ending_it_takes_a_word_of_its_own(
    shop: Shop,
) -> None:
    path = shop.database.path
    before = shop.lab.current(shop.database)
    told("rotate", path, "--now", "--local")
    held = keyturn("rotate", path, "--now", "--local")
    assert (held.exit_code, held.stdout) == (1, "")
    assert "is not retired: its grace ends" in held.stderr
    assert f"keyturn rotate {path} --now --end-previous" in held.stderr
    assert shop.lab.logs_in(before)
    unasked = keyturn("rotate", path, "--now", "--end-previous", "--local")
    assert unasked.exit_code == 2
    assert "there is no terminal to ask on: give --yes" in unasked.output
    assert shop.lab.logs_in(before)
    done = told("rotate", path, "--now", "--end-previous", "--yes", "--local")
    assert done["previous"].startswith(
        f"ended the credential before version 2 (username {before['username']}); cut off"
    )
    assert not shop.lab.logs_in(before)


def test_a_secret_that_was_renamed_is_shown_carried_over_and_may_be_given_up(shop: Shop) -> None:
    old, new = shop.database.path, f"tests/{fresh()}"
    before = shop.lab.current(shop.database)
    told("rotate", old, "--now", "--local")
    file = shop.catalogue / "all.yaml"
    file.write_text(file.read_text().replace(old, new))
    for command in ("status", "due"):
        (shown,) = [one["left"] for one in told(command)["undeclared"] if one["path"] == old]
        assert f"the old credential (username {before['username']})" in shown
    assert f"NOT DECLARED {old}: " in keyturn("due").stderr or "more that nothing declares" in keyturn("due").stderr
    refused = keyturn("rotate", new, "--local")
    assert refused.exit_code == 1
    assert f"keyturn repair rename {old} {new}" in refused.stderr
    done = told("repair", "rename", old, new)
    assert (done["version"], [copy["state"] for copy in done["copies"]]) == (2, ["updated"])
    assert old not in [one["path"] for one in told("status")["undeclared"]]
    assert told("retire", new, "--early", "--local")["secrets"][0]["state"] == "retired"
    assert not shop.lab.logs_in(before)
    unasked = keyturn("repair", "forget", new)
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    assert told("repair", "forget", new, "--yes") == {
        "path": new,
        "left": "nothing of it is open",
        "ended": "",
        "why": "",
    }


def test_a_secret_that_is_not_due_is_left_alone(shop: Shop) -> None:
    done = told("rotate", shop.keys.path, "--local")
    assert (done["state"], done["version"]) == ("not due", 1)


def test_status_tells_versions_copies_consumers_and_what_is_unretired(shop: Shop) -> None:
    told("rotate", shop.database.path, "--now", "--local")
    status = told("status")
    assert (status["stack"], status["hub"]) == (None, shop.lab.world.hub_address)
    assert status["parts"] == []
    secret = next(one for one in status["secrets"] if one["path"] == shop.database.path)
    assert (secret["version"], secret["due"], secret["rotation"]["state"]) == (2, None, "promoted")
    assert secret["due_at"] > secret["rotated_at"]
    assert [copy["state"] for copy in secret["destinations"]] == ["in sync"]
    quiet = {"consumer": "app", "kind": "", "error": "", "since": None}
    assert secret["consumers"] == [{**quiet, "acknowledged": True, "state": "notified"}]
    other = next(one for one in status["secrets"] if one["path"] == shop.keys.path)
    assert (other["version"], other["rotation"], other["destinations"][0]["state"]) == (1, None, "stale")
    assert [one["acknowledged"] for one in other["consumers"]] == [None]


def test_an_old_credential_is_kept_until_its_grace_is_over_or_waived(shop: Shop) -> None:
    before = shop.lab.current(shop.database)
    told("rotate", shop.database.path, "--now", "--local")
    kept = told("retire", "--local", code=4)
    assert [(one["path"], one["state"]) for one in kept["secrets"]] == [(shop.database.path, "kept")]
    assert "grace" in kept["secrets"][0]["why"]
    assert shop.lab.logs_in(before)
    retired = told("retire", shop.database.path, "--early", "--local")
    assert retired["secrets"][0]["state"] == "retired"
    assert not shop.lab.logs_in(before)
    assert told("retire", "--local") == {"secrets": [], "run": None}
    assert told("history", shop.database.path)["rotations"][0]["state"] == "retired"
    assert "in force" in keyturn("history", shop.database.path).stdout.splitlines()[2]


def test_copies_are_brought_in_step_and_then_left_alone(shop: Shop) -> None:
    first = told("sync", "--local")
    assert {(copy["action"], copy["state"]) for copy in first["copies"]} == {("create", "created")}
    assert len(first["copies"]) == 2
    again = told("sync", shop.keys.path, "--local")
    assert again == {"copies": [], "counts": {"in sync": 1}, "notices": [], "run": None}
    assert keyturn("sync", "--local").stderr.endswith("2 in sync\n")


def test_a_store_that_refuses_stops_a_rotation_before_it_begins(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shop.catalogue / "no-credentials"))
    done = keyturn("rotate", shop.keys.path, "--now", "--local")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "remedy: Give this process a role" in done.stderr
    assert shop.lab.current(shop.keys) == shop.keys.first
    result = keyturn("sync", "--local")
    assert result.exit_code == 3
    assert result.stderr.count("error: ") == 1
    assert "2 of 2 copies" in result.stderr


def test_a_rotation_that_does_not_reach_a_store_is_in_force_and_ends_with_3(shop: Shop) -> None:
    file = shop.catalogue / "all.yaml"
    file.write_text(file.read_text().replace(shop.store.endpoint_url, f"http://127.0.0.1:{free_port()}"))
    done = told("rotate", shop.keys.path, "--compromised", "--local", code=3)
    assert (done["state"], done["version"], done["destinations"][0]["state"]) == ("rotated", 2, "failed")
    held = keyturn("retire", shop.keys.path, "--early", "--local")
    assert held.exit_code == 4
    assert "remedy: " in held.stderr


def test_old_credentials_that_are_waived_say_so_in_the_history(shop: Shop) -> None:
    told("rotate", shop.keys.path, "--now", "--local")
    assert told("retire", shop.keys.path, "--force", "--local")["secrets"][0]["state"] == "retired"
    assert "waived: its grace" in told("history", shop.keys.path)["rotations"][0]["note"]


def test_no_output_holds_a_value_and_all_of_it_fits_80_columns_without_colours(shop: Shop) -> None:
    path = shop.database.path
    commands: list[list[str]] = [
        ["rotate", path, "--now", "--local"],
        ["rotate", shop.keys.path, "--now", "--local"],
        ["status"],
        ["history", path],
        ["sync", "--local"],
        ["retire", "--local"],
        ["retire", path, "--force", "--local"],
        ["history", path],
    ]
    said = [keyturn(*command) for command in [*commands, *([*command, "--json"] for command in commands)]]
    forbidden = shop.forbidden()
    assert len(forbidden) >= 6
    for result in said:
        assert not [value for value in forbidden if value in result.output]
        assert "\x1b" not in result.output
    for result in said[: len(commands)]:
        assert max(map(len, result.stdout.splitlines()), default=0) <= WIDTH


def test_a_secret_that_another_process_holds_ends_with_4(shop: Shop) -> None:
    holder = shop.lab.open(shop.database).workspace
    steps.stage(holder, shop.database.path, decide(holder, shop.database.path, Trigger.FORCE))
    done = run_keyturn("rotate", shop.database.path, "--now", "--local", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["state"] == "held"
    assert f"process {os.getpid()}" in done.stderr


def test_the_likely_path_is_told_where_it_is_misspelt(shop: Shop) -> None:
    wrong = shop.database.path[:-1]
    for command in (["rotate", wrong, "--local"], ["rotate", wrong], ["sync", wrong], ["history", wrong]):
        result = keyturn(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"remedy: Did you mean {shop.database.path}?" in result.stderr


def test_a_declared_secret_that_was_never_made_has_no_history(shop: Shop, world: World) -> None:
    unmade = dataclasses.replace(shop.keys, path=f"tests/{fresh()}")
    store = {"kind": "aws-secrets-manager", "region": REGION}
    app = {"url": shop.consumer.url, "signing_key": "webhooks/app"}
    write_catalogue(shop.catalogue, catalogue_data(world, (unmade,), store, {"app": app}))
    result = keyturn("history", unmade.path)
    assert result.exit_code == 1
    assert f"remedy: Make its first with `keyturn rotate {unmade.path}`" in result.stderr
    status = told("status")["secrets"][0]
    assert (status["version"], status["rotated_at"], status["due"]) == (0, None, "NeverMade")


def test_a_command_takes_what_the_operators_file_of_settings_says_and_the_environment_goes_before_it(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "settings"
    settings.write_text(f"KEYTURN_CATALOGUE={one_generated_secret(tmp_path / 'catalogue')}\n")
    env = surroundings(tmp_path / "home", KEYTURN_SETTINGS_FILE=str(settings))
    assert run_keyturn("catalogue", "validate", env=env, cwd=tmp_path).returncode == 0
    refused = run_keyturn("catalogue", "validate", env={**env, "KEYTURN_CATALOGUE": "none"}, cwd=tmp_path)
    assert refused.returncode == 1
    settings.chmod(0o666)
    refused = run_keyturn("catalogue", "validate", env=env, cwd=tmp_path)
    assert refused.returncode == 1
    assert "others than its owner may write it" in refused.stderr
    assert "Traceback" not in refused.stderr
