"""`keyturn report` over a real hub, ledger and audit file."""

import json
import os
import re
import shlex
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Denied
from keyturn.evidence.checks import CHECKS
from keyturn.evidence.facts import Facts, Part, Period
from keyturn.evidence.gather import Question, gather_facts
from keyturn.evidence.make_report import ENTRY
from keyturn.evidence.model import ControlVerdict
from keyturn.ledger.entries import parse_leaf
from keyturn.wiring.ledger import configured_ledger
from tests.manual.lines import lines_of
from tests.support.hooks import Hooked
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.world import REGION, World

pytestmark = pytest.mark.sampled(4, of="file")

DAY = timedelta(days=1)
runner = CliRunner()


@dataclass
class Site:
    """A catalogue of two secrets of two owners, one of which was rotated."""

    lab: Lab
    directory: Path
    rotated: Declared
    other: Declared

    def keyturn(self, *arguments: str, code: int = 0) -> Result:
        """Run one command in this process, which ends with ``code``."""
        result = runner.invoke(app, arguments)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    def report(self, *more: str, code: int = 0) -> dict[str, Any]:
        """A report of yesterday and today; its document."""
        since, until = (f"{datetime.now(UTC) + days * DAY:%Y-%m-%d}" for days in (-1, 0))
        options = ("--framework", "soc2", "--from", since, "--to", until, "--out", str(self.directory / "out"))
        self.keyturn("report", *options, *more, code=code)
        (file,) = [file for file in (self.directory / "out").glob("*.json") if not file.name.endswith(ENTRY)]
        document: dict[str, Any] = json.loads(file.read_text())
        return document


@pytest.fixture
def site(lab: Lab, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    given = {
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "KEYTURN_LEDGER": str(tmp_path / "ledger.db"),
        "KEYTURN_LEDGER_NAME": fresh(),
        "KEYTURN_CATALOGUE": str(tmp_path / "catalogue"),
        "COLUMNS": "200",
        "VAULT_ADDR": world.hub_address,
        "VAULT_TOKEN": world.hub_token,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    rotated, other = lab.generated(), lab.generated()
    data = catalogue_data(world, (rotated, other), {"kind": "aws-secrets-manager", "region": REGION}, {})
    data["exceptions"] = {
        "away": {
            "checks": ["rotation-in-time"],
            "owners": ["shop@example.com"],
            "owner": "cto@example.com",
            "until": "2099-12-31",
            "reason": "the vendor is slow",
        }
    }
    for entry in data["secrets"].values():
        entry["owner"] = "ml@example.com" if entry.pop("path") == rotated.path else "shop@example.com"
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump(data))
    made = Site(lab, tmp_path, rotated, other)
    made.keyturn("rotate", rotated.path, "--now", "--local")
    return made


def test_a_report_is_made_entered_and_verified_offline(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    document = site.report("--html", "--json")
    promoted = [json.loads(row["entry"]) for row in document["rows"] if row["kind"] == "entry"]
    assert site.rotated.path in {entry.get("secret") for entry in promoted if entry["action"] == "promote"}
    secrets = {row["name"]: row["cells"] for row in document["rows"] if row["kind"] == "secret"}
    assert (secrets[site.rotated.path]["owner"], secrets[site.rotated.path]["age_days"]) == ("ml@example.com", 0)
    files = sorted((site.directory / "out").iterdir())
    assert [file.suffixes[-1] for file in files] == [".json", ".html", ".json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    key = site.keyturn("ledger", "key").stdout.strip()
    with closing(configured_ledger(os.environ)) as ledger:
        last = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()][-1]
    assert (last.action, last.note.partition(":")[0]) == ("compliance report", f"sha256 {document['digest']}")
    for name in ("VAULT_ADDR", "VAULT_TOKEN", "KEYTURN_LEDGER"):
        monkeypatch.delenv(name)
    for file in files[1:]:
        seen = json.loads(site.keyturn("report", "verify", str(file), "--public-key", key, "--json").stdout)
        assert (seen["whole"], seen["digest"]) == (True, document["digest"])
        assert seen["vouched_by"]


@pytest.mark.attack
def test_an_owner_sees_their_own_secrets_alone(site: Site) -> None:
    document = site.report("--json", "--owner", "shop@example.com")
    assert [row["name"] for row in document["rows"] if row["kind"] == "secret"] == [site.other.path]
    assert site.rotated.path not in json.dumps(document)
    (exception,) = [row["cells"] for row in document["rows"] if row["kind"] == "exception"]
    assert (exception["owner"], exception["until"]) == ("cto@example.com", "2099-12-31")
    result = site.keyturn(
        "report",
        "--framework",
        "pci",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-02",
        "--owner",
        "sho@example.com",
        code=1,
    )
    assert "find owner sho@example.com: no secret is theirs" in result.output


def test_what_is_missing_here_is_said_and_fails_a_check(site: Site) -> None:
    result = site.keyturn(
        *("report", "--framework", "hipaa", "--from", "2026-01-01", "--to", f"{datetime.now(UTC):%Y-%m-%d}"),
        *("--check", "--out", str(site.directory / "out")),
        code=1,
    )
    assert "164.312(b) (could not be looked at)" in result.output


GUIDE = Path(__file__).parents[2] / "docs" / "compliance.md"


def test_every_command_of_the_guide_runs_in_its_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [line.removeprefix("keyturn ") for line in lines_of("compliance.md")]
    monkeypatch.chdir(site.directory)
    Path("ledger.pub").write_text(site.keyturn("ledger", "key").stdout)
    for command in commands:
        if command.startswith("report verify"):
            monkeypatch.delenv("VAULT_ADDR", raising=False)
        result = site.keyturn(*shlex.split(command))
    assert re.search(r"whole +yes", result.output)
    assert {file.suffix for file in Path("audit").iterdir()} == {".html", ".json", ".csv"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--framework", "pci"), "give --from, --to"),
        (("--framework", "pci", "--from", "yesterday", "--to", "2026-01-02"), "'yesterday' is no day"),
        (("--framework", "pci", "--from", "2026-01-01T10:00:00", "--to", "2026-01-02"), "is no day"),
        (("--framework", "pci", "--from", "2026-02-01", "--to", "9999-12-31"), "is no day"),
        (("--framework", "pci", "--from", "2026-02-01", "--to", "2026-01-02"), "it ends before it begins"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], words: str) -> None:
    result = runner.invoke(app, ["report", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


HIDDEN: dict[str, tuple[str, str, Part, str]] = {
    "the ledger's key": ("read_state", "ledger", Part.LEDGER, "ledger-whole"),
    "the listing": ("describe_below", "", Part.COPIES, "copies-in-step"),
    "the glass": ("list_state", "break-glass", Part.GLASS, "second-person"),
    "the policies": ("acl_policies", "", Part.POLICIES, "accesses-reviewed"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_the_hub_refuses_to_tell_is_unseen_and_stops_nothing_else(site: Site, case: str) -> None:
    verb, place, part, check = HIDDEN[case]

    def refuse(path: str = "", *_: object, **__: object) -> None:
        if path == place:
            raise Denied("ask", "the hub", "this login may not")

    facts = gathered(site, lambda hub: Hooked(hub, **{verb: refuse}))
    assert "this login may not" in facts.unseen[part]
    assert ("keyturn-auditor" in facts.unseen[part]) is (part is Part.POLICIES)
    assert CHECKS[check](facts).verdict is ControlVerdict.UNSEEN
    assert CHECKS["inventory-made"](facts).verdict is ControlVerdict.PASS


def gathered(site: Site, hook: Callable[[Any], Any]) -> Facts:
    """The facts by a hub with hooks."""
    workspace = site.lab.open(site.rotated, site.other).workspace
    site.keyturn("ledger", "checkpoint")
    now = datetime.now(UTC)
    with closing(configured_ledger(os.environ)) as ledger:
        question = Question(Period(now - DAY, now + DAY))
        return gather_facts(replace(workspace, hub=hook(workspace.hub)), question, ledger)
