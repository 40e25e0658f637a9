"""Planning, applying, scanning, importing and status, against a real hub and the local AWS."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.cli.app import app
from keyturn.cli.copies import plan as cli
from keyturn.cli.running.progress import EVERY, Progress
from keyturn.core.ports.hub import SUSPECTED_AT
from keyturn.core.sensitive import SecretFields
from keyturn.sync.apply import Result as Applied
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.cli.command import WIDTH, fits, one_generated_secret, run_python, surroundings
from tests.support.lab import Lab, fresh
from tests.support.world import World

pytestmark = pytest.mark.sampled(10, of="file")

VALUE = "s3cr3t-value-of-a-test"

REGIONS = cycle(["eu-central-1", "eu-west-1", "eu-west-2", "eu-north-1", "us-east-1", "us-east-2", "us-west-1"])
"""A region for each test, so that none finds what another has left."""

runner = CliRunner()


@dataclass
class Shop:
    """A folder of the hub that a pattern pushes to one region of the local AWS."""

    lab: Lab
    directory: Path
    server: LocalAws
    region: str
    folder: str = field(default_factory=fresh)

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def write(self, name: str, **fields: Any) -> str:
        """Give the hub a newer version; its path."""
        info = self.lab.hub.describe(self.path(name))
        given = fields or {"value": VALUE}
        self.lab.hub.write(self.path(name), SecretFields(given), cas=info.version if info else 0)
        return self.path(name)

    def declare(self, sync: dict[str, Any] | None = None, **store: Any) -> None:
        """Write the catalogue; without ``sync`` the whole folder is pushed."""
        settings = {"kind": "aws-secrets-manager", "region": self.region, "endpoint_url": self.server.endpoint_url}
        pattern = {"paths": [f"{self.folder}/*"], "stores": ["aws"], **(sync or {})}
        data = {"stores": {"aws": {**settings, **store}}, "syncs": {"all": pattern}}
        (self.directory / "all.yaml").write_text(yaml.safe_dump(data))

    def move(self, port: int) -> None:
        """Let the catalogue look for the store at another port."""
        file = self.directory / "all.yaml"
        file.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", file.read_text()))

    @property
    def raw(self) -> Any:
        """An SDK client that knows nothing of Keyturn."""
        return boto3.Session().client("secretsmanager", self.region, endpoint_url=self.server.endpoint_url)

    def served(self) -> dict[str, str]:
        """What the store serves, by name."""
        names = [secret["Name"] for secret in self.raw.list_secrets()["SecretList"]]
        return {name: self.raw.get_secret_value(SecretId=name)["SecretString"] for name in names}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture
def shop(lab: Lab, world: World, aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "AWS_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    directory = tmp_path / "catalogue"
    directory.mkdir()
    for variable, value in {
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
        "KEYTURN_CATALOGUE": str(directory),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws.credentials),
        "AWS_CONFIG_FILE": str(aws.directory / "no-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": str(WIDTH),
    }.items():
        monkeypatch.setenv(variable, value)
    made = Shop(lab, directory, aws, next(REGIONS))
    made.declare()
    yield made
    for name in made.served():
        made.raw.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def keyturn(*arguments: str) -> Result:
    """Run one command in this process."""
    return runner.invoke(app, arguments)


def told(*arguments: str, code: int = 0) -> Any:
    """Run one command with --json, which ends with ``code``; its data."""
    result = keyturn(*arguments, "--json")
    # No worker runs in these tests, and nobody signs the ledger: `status` says so.
    assert result.exit_code in ({1, 5} if arguments[0] == "status" else {code}), result.output
    return json.loads(result.stdout)


def actions(*arguments: str, code: int = 0) -> dict[str, str]:
    """What a plan says of each copy, those in sync too."""
    return {item["name"]: item["action"] for item in told("plan", "--all", *arguments, code=code)["items"]}


# --- plan


def test_a_plan_shows_what_would_be_done_and_does_nothing(shop: Shop) -> None:
    path = shop.write("a")
    shown = keyturn("plan")
    assert (shown.exit_code, shop.served()) == (0, {})
    assert re.search(rf"^create +{path} +- -> 1 +[0-9a-f]{{12}}", shown.stdout, flags=re.M)
    assert f"\n           aws:{path}" in shown.stdout
    assert "1 create: 1 to do" in shown.stderr.splitlines()
    (item,) = told("plan")["items"]
    assert (item["secret"], item["store"], item["version"], item["holds"], item["work"]) == (path, "aws", 1, None, True)


def test_copies_in_sync_are_counted_and_shown_when_asked_for(shop: Shop) -> None:
    first, second = shop.write("a"), shop.write("b")
    told("apply", "--auto")
    shop.write("a", value="newer")
    plan = told("plan")
    assert plan["counts"] == {"update": 1, "in sync": 1}
    assert [(item["name"], item["holds"], item["version"]) for item in plan["items"]] == [(first, 1, 2)]
    assert actions() == {first: "update", second: "in sync"}
    told("apply", "--auto")
    nothing = keyturn("plan")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "2 in sync: nothing to do" in nothing.stderr.splitlines()


def test_secrets_and_patterns_choose_what_is_planned(shop: Shop) -> None:
    first, second = shop.write("a"), shop.write("b")
    assert actions(first) == {first: "create"}
    assert actions(f"{shop.folder}/*") == {first: "create", second: "create"}
    wrong = keyturn("plan", f"{shop.folder}x/*")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "no secret fits it" in wrong.stderr


def test_a_conflict_ends_a_plan_with_1_and_leaves_the_others_to_be_applied(shop: Shop) -> None:
    first, second = shop.write("a"), shop.write("b")
    shop.raw.create_secret(Name=first, SecretString="theirs")
    shown = keyturn("plan")
    assert shown.exit_code == 1
    assert "conflict" in shown.stdout
    assert f"error: plan aws:{first}: conflict" in shown.stderr
    done = told("apply", "--auto", code=1)
    assert [(one["name"], one["state"]) for one in done["results"]] == [(second, "created")]
    assert [(one["copy"], one["kind"]) for one in done["failing"]] == [(f"aws:{first}", "conflict")]
    assert shop.served()[first] == "theirs"


# --- plan and apply by a file


def test_a_kept_plan_is_for_its_owner_alone_and_is_applied_exactly(shop: Shop, tmp_path: Path) -> None:
    file, path = tmp_path / "plan.json", shop.write("a")
    file.write_text("older")
    file.chmod(0o644)
    kept = keyturn("plan", path, "--out", str(file))
    assert kept.stderr.endswith(f"apply exactly this with: keyturn apply {file}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert VALUE not in file.read_text()
    shop.write("b")
    done = keyturn("apply", str(file))
    assert (done.exit_code, list(shop.served())) == (0, [path])
    assert re.search(rf"^created +{path} +aws:{path}$", done.stdout, flags=re.M)


def test_a_plan_that_has_moved_was_changed_or_is_none_is_refused_whole(shop: Shop, tmp_path: Path) -> None:
    file, path = tmp_path / "plan.json", shop.write("a")
    told("plan", "--out", str(file))
    text = file.read_text()
    shop.write("a", value="newer")
    for broken in (text, text.replace(path, f"{path}x"), "{}", "\ud800"):
        file.write_bytes(broken.encode(errors="surrogatepass"))
        done = keyturn("apply", str(file))
        assert (done.exit_code, done.stdout, shop.served()) == (1, "", {})
        assert "remedy: " in done.stderr
        assert "keyturn plan --out FILE" in done.stderr
    missing = keyturn("apply", str(tmp_path / "none.json"))
    assert missing.exit_code == 1
    assert "No such file" in missing.stderr


def test_what_only_a_deep_look_finds_can_be_kept_and_applied(shop: Shop, tmp_path: Path) -> None:
    file, path = tmp_path / "plan.json", shop.write("a")
    told("apply", "--auto")
    shop.raw.put_secret_value(SecretId=path, SecretString="changed")
    assert told("plan", "--deep", "--out", str(file))["counts"] == {"drifted": 1}
    assert told("apply", str(file), "--deep")["results"][0]["state"] == "updated"
    assert json.loads(shop.served()[path]) == {"value": VALUE}


@pytest.mark.parametrize("given", [[], ["a.json", "b.json"], ["--auto", "{file}"]])
def test_neither_a_file_nor_auto_and_both_are_wrong_usage(shop: Shop, tmp_path: Path, given: list[str]) -> None:
    (tmp_path / "plan.json").write_text("{}")
    done = keyturn("apply", *(one.format(file=tmp_path / "plan.json") for one in given))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--auto" in done.stderr


def test_auto_applies_what_fits(shop: Shop) -> None:
    first, _ = shop.write("a"), shop.write("b")
    done = told("apply", "--auto", first)
    assert [(one["secret"], one["state"]) for one in done["results"]] == [(first, "created")]
    assert list(shop.served()) == [first]
    assert told("apply", "--auto", first)["counts"] == {"in sync": 1}


# --- deletions


def test_deletions_that_wait_are_told_with_their_date_and_those_beyond_the_cap_too(shop: Shop) -> None:
    names = [shop.write(name) for name in ("a", "b", "c")]
    told("apply", "--auto")
    gone = {"paths": [f"{shop.folder}/none"]}
    shop.declare(gone, deletion="delete", delete_after="7d", most_deletions=2)
    waits = keyturn("apply", "--auto")
    assert waits.exit_code == 0
    assert waits.stderr.count(" is deleted after 2") == 3
    assert {one["by"] for one in told("apply", "--auto")["waiting"]} == {"delete_after"}
    assert "not before 2" in " ".join(keyturn("plan").stdout.split())
    assert sorted(shop.served()) == names

    shop.declare(gone, deletion="delete", delete_after="0s", most_deletions=2)
    done = told("apply", "--auto")
    assert [one["state"] for one in done["results"]] == ["deleted"] * 2
    assert [(one["name"], one["by"]) for one in done["waiting"]] == [(names[2], "most_deletions")]
    assert list(shop.served()) == names[2:]
    last = keyturn("apply", "--auto")
    assert "waits" not in last.stderr
    assert shop.served() == {}


# --- scan


def test_a_scan_finds_what_nobody_manages_and_what_nothing_declares(shop: Shop) -> None:
    first, second = shop.write("a"), shop.write("b")
    told("apply", "--auto")
    shop.raw.create_secret(Name="legacy", SecretString="theirs")
    shop.declare({"without": [second]})
    scanned = told("scan")
    (found,) = scanned["stores"]
    assert second in scanned["hub"]["unmanaged"]
    assert first not in scanned["hub"]["unmanaged"]
    assert found["unmanaged"] == ["legacy"]
    assert found["undeclared"] == [{"name": second, "secret": second, "version": 1}]
    everywhere = keyturn("scan")
    assert second in everywhere.stdout
    assert "no pattern covers it" in " ".join(everywhere.stdout.split())
    shown = keyturn("scan", "--store", "aws")
    assert first not in shown.stdout
    assert "unmanaged" in shown.stdout
    assert "keyturn import STORE NAME" in shown.stderr


def test_a_store_that_can_not_be_read_is_an_error_and_the_others_are_shown(shop: Shop) -> None:
    shop.raw.create_secret(Name="legacy", SecretString="theirs")
    file = shop.directory / "broken.yaml"
    dead = {"kind": "aws-secrets-manager", "region": "eu-central-1", "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    file.write_text(yaml.safe_dump({"stores": {"broken": dead}}))
    shown = keyturn("scan")
    assert shown.exit_code == 1
    assert "legacy" in shown.stdout
    assert "can't be read" in shown.stdout
    assert "error: scan broken: " in shown.stderr
    found = {one["store"]: one for one in told("scan", code=1)["stores"]}
    assert (found["aws"]["unmanaged"], found["broken"]["kind"]) == (["legacy"], "Unavailable")
    assert told("scan", "--store", "aws")["stores"][0]["unmanaged"] == ["legacy"]
    assert "Did you mean broken?" in keyturn("scan", "--store", "brokn").stderr


# --- import


def bring(shop: Shop, *more: str, code: int = 0) -> Any:
    return told("import", "aws", "--to", shop.folder, "--owner", "me@example.com", *more, code=code)


def test_what_is_imported_is_in_the_hub_declared_adopted_and_then_in_sync(shop: Shop) -> None:
    shop.declare({"paths": ["none/*"]})
    shop.raw.create_secret(Name="legacy/db", SecretString='{"user": "app", "port": 5432}')
    shop.raw.create_secret(Name="legacy/token", SecretString=VALUE)
    db, token = shop.path("legacy/db"), shop.path("legacy/token")
    done = bring(shop, "--all", "--classification", "restricted")
    assert [(one["path"], one["state"]) for one in done["imports"]] == [(db, "imported"), (token, "imported")]
    assert find_problems(shop.directory, os.environ) == []
    secret = load_catalogue(shop.directory, os.environ).secret(token)
    assert (secret.owner, str(secret.classification)) == ("me@example.com", "restricted")
    assert actions() == {"legacy/db": "adopt", "legacy/token": "adopt"}
    told("apply", "--auto")
    assert actions() == {"legacy/db": "in sync", "legacy/token": "in sync"}
    assert shop.served()["legacy/token"] == VALUE
    assert json.loads(shop.served()["legacy/db"]) == {"user": "app", "port": 5432}
    assert keyturn("import", "aws", "--all", "--owner", "me").stderr.endswith("there is nothing unmanaged\n")


def test_importing_again_is_fine_and_adds_nothing(shop: Shop) -> None:
    shop.declare({"paths": ["none/*"]})
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    bring(shop, "legacy")
    text = (shop.directory / "imported.yaml").read_text()
    again = bring(shop, "legacy")
    assert (again["imports"][0]["state"], again["notes"]) == ("already there", [])
    assert (shop.directory / "imported.yaml").read_text() == text


def test_a_dry_run_shows_what_would_be_and_leaves_everything_as_it_is(shop: Shop) -> None:
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    shown = keyturn("import", "aws", "legacy", "--to", shop.folder, "--dry-run")
    assert shown.exit_code == 0
    assert re.search(rf"^new +aws:legacy +{shop.path('legacy')}$", shown.stdout, flags=re.M)
    assert "imported.yaml: would declare" in shown.stderr
    assert os.listdir(shop.directory) == ["all.yaml"]
    assert shop.lab.hub.read(shop.path("legacy")) is None


def test_another_value_in_the_hub_stays_and_the_others_are_imported(shop: Shop) -> None:
    shop.declare({"paths": ["none/*"]})
    shop.write("first", value="ours")
    for name in ("first", "second"):
        shop.raw.create_secret(Name=name, SecretString=VALUE)
    done = bring(shop, "first", "second", code=1)
    assert [one["state"] for one in done["imports"]] == ["failed", "imported"]
    assert sorted(load_catalogue(shop.directory, os.environ).secrets) == [shop.path("second")]
    kept = shop.lab.hub.read(shop.path("first"))
    assert kept is not None
    assert kept.fields.reveal() == {"value": "ours"}


def test_what_a_pattern_pushes_already_is_imported_and_not_declared_twice(shop: Shop) -> None:
    shop.declare({"name": "{name}", "field": "value"})
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    done = bring(shop, "legacy")
    assert done["imports"][0]["state"] == "imported"
    assert "say `adopt: true` where it is pushed to" in done["notes"][0]
    assert os.listdir(shop.directory) == ["all.yaml"]


def test_nothing_is_imported_that_the_catalogue_could_not_declare(shop: Shop) -> None:
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    (shop.directory / "mine.yaml").write_text("secrets: {}\n")
    refused = keyturn("import", "aws", "legacy", "--owner", "me", "--catalogue-file", "mine.yaml")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "in brackets" in refused.stderr
    assert shop.lab.hub.read("legacy") is None


@pytest.mark.parametrize(
    "given", [["aws"], ["aws", "a", "--all"], ["aws", "a"], ["aws", "a", "--owner", "me", "--classification", "none"]]
)
def test_an_import_that_is_not_clear_is_wrong_usage(shop: Shop, given: list[str]) -> None:
    assert keyturn("import", *given).exit_code == 2


def test_a_secret_that_a_person_replaces_is_not_rotated_and_nothing_is_remembered(shop: Shop) -> None:
    shop.declare({"paths": ["none/*"]})
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    bring(shop, "legacy")
    path = shop.path("legacy")
    for more in (["--local"], ["--local", "--force"], ["--local", "--compromised"], []):
        refused = keyturn("rotate", path, *more)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert f"remedy: Write the new value to the hub at {path}" in refused.stderr
    info = shop.lab.hub.describe(path)
    assert info is not None
    assert SUSPECTED_AT not in info.custom
    assert keyturn("due", path, "--check").exit_code == 0


# --- status and sync


def declared(shop: Shop) -> str:
    """One secret of the catalogue besides the folder's, with a copy of its own."""
    path = f"{shop.folder}-own/db"
    shop.lab.hub.write(path, SecretFields({"value": VALUE}), cas=0)
    entry = {
        "owner": "me",
        "classification": "internal",
        "rotation": {"strategy": "manual"},
        "destinations": [{"store": "aws", "name": path}],
    }
    (shop.directory / "own.yaml").write_text(yaml.safe_dump({"secrets": {path: entry}}))
    return path


def test_status_tells_what_fails_why_and_since_when_across_runs(shop: Shop) -> None:
    path, other = declared(shop), shop.write("a")
    shop.move(free_port())
    assert keyturn("sync", "--local").exit_code == 3
    first = told("status")
    (secret,) = first["secrets"]
    (copy,) = secret["destinations"]
    assert (secret["path"], copy["name"], copy["state"], copy["kind"]) == (path, path, "failed", "Unavailable")
    assert datetime.fromisoformat(copy["failing_since"]).tzinfo
    assert [(one["secret"], one["kind"]) for one in first["others"]] == [(other, "Unavailable")]
    assert first["copies"] == {"blocked": 2}
    assert keyturn("sync", "--local").exit_code == 3
    assert told("status")["secrets"][0]["destinations"][0]["failing_since"] == copy["failing_since"]
    shown = keyturn("status")
    assert "aws failed, Unavailable" in " ".join(shown.stdout.split())
    assert "(since 2" in shown.stderr
    assert shown.stderr.count("2 copies in aws, the first is aws:") == 1
    assert keyturn("status", "-o", "name").stdout == f"{path}\n"
    planned = keyturn("plan")
    assert (planned.stdout.count("blocked"), planned.stdout.count("2 copies in aws")) == (1, 1)
    named = keyturn("plan", "--output", "name")
    assert (named.exit_code, sorted(named.stdout.splitlines())) == (1, sorted([f"aws:{path}", f"aws:{other}"]))

    shop.move(shop.server.port)
    stale = told("status")["secrets"][0]["destinations"][0]
    assert (stale["action"], stale["failing_since"]) == ("create", copy["failing_since"])
    assert told("sync", "--local")["counts"] == {"created": 2}
    mended = told("status")
    (healed,) = mended["secrets"][0]["destinations"]
    assert (healed["state"], healed["kind"], healed["failing_since"]) == ("in sync", "", None)
    assert (mended["others"], mended["copies"]) == ([], {"in sync": 2})


def test_a_sync_takes_a_pattern_and_tells_copies_of_undeclared_secrets(shop: Shop) -> None:
    own, path = declared(shop), shop.write("a")
    done = told("sync", f"{shop.folder}/*", "--local")
    assert [(one["secret"], one["state"]) for one in done["copies"]] == [(path, "created")]
    assert own not in shop.served()
    wrong = keyturn("sync", f"{shop.folder}-own/dc", "--local")
    assert f"Did you mean {own}?" in wrong.stderr


def test_a_sync_that_finds_drift_only_by_asking_each_copy_mends_it_when_deep(shop: Shop) -> None:
    path = shop.write("a")
    told("sync", "--local")
    shop.raw.put_secret_value(SecretId=path, SecretString="changed")
    assert told("sync", "--deep", "--local")["copies"][0]["state"] == "updated"


# --- what is said


def test_no_output_holds_a_value_and_all_of_it_fits_80_columns_without_colours(shop: Shop, tmp_path: Path) -> None:
    shop.write("a-name-that-is-so-long-that-it-has-to-be-folded-in-any-table-of-eighty-columns")
    shop.write("b")
    shop.raw.create_secret(Name=shop.path("b"), SecretString=VALUE)
    shop.raw.create_secret(Name="legacy", SecretString=VALUE)
    commands = [
        ["scan"],
        ["import", "aws", "legacy", "--to", f"{shop.folder}-own", "--dry-run"],
        ["import", "aws", "legacy", "--to", f"{shop.folder}-own", "--owner", "me"],
        ["plan", "--out", str(tmp_path / "plan.json")],
        ["apply", str(tmp_path / "plan.json")],
        ["plan", "--all"],
        ["status"],
        ["sync", "--local"],
    ]
    said = [keyturn(*command) for command in [*commands, *([*command, "--json"] for command in commands)]]
    for result in said:
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert VALUE not in result.output
        assert "unexpected" not in result.output
        assert "\x1b" not in result.output
    for result in said[: len(commands)]:
        assert fits(result.stdout)


def test_progress_is_told_every_few_seconds_with_the_time_that_is_left() -> None:
    now, said = [0.0], list[str]()
    progress = Progress(40, said.append, lambda: now[0])
    for number in range(40):
        now[0] += EVERY / 10
        progress(
            Applied("create", "a", "aws", "a", "failed" if number < 2 else "created", "x: y" if number < 2 else "")
        )
    assert said[0] == "  10 of 40 copies, 2 failed; done in about 15 s at this pace"
    assert len(said) == 3


def test_planning_needs_no_prefect(tmp_path: Path) -> None:
    catalogue = one_generated_secret(tmp_path / "catalogue")
    env = surroundings(
        tmp_path / "no", VAULT_ADDR="http://127.0.0.1:1", VAULT_TOKEN="t", KEYTURN_CATALOGUE=str(catalogue)
    )
    for arguments in (["plan"], ["apply", "--auto"], ["scan"], ["sync", "--local"], ["status"]):
        program = (
            f"import sys\nfrom keyturn.cli.app import app\ntry:\n    app({arguments!r})\n"
            "except SystemExit as ended:\n    print(ended.code, 'prefect' in sys.modules)"
        )
        done = run_python(program, env=env)
        assert done.stdout.splitlines()[-1] == "1 False", done.stderr
        assert "the hub does not answer" in done.stderr


def test_a_file_and_auto_are_told_apart() -> None:
    assert cli.plan_file(["plan.json"], auto=False) == Path("plan.json")
    assert cli.plan_file(["a/b", "c/*"], auto=True) is None


DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = [
    block
    for page in ("sync.md", "strategies/manual.md")
    for block in re.findall(r"^```yaml\n(.*?)^```", (DOCS / page).read_text(), flags=re.M | re.S)
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_pages_are_catalogues(number: int, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(EXAMPLES[number])
    assert find_problems(tmp_path, {}) == []
