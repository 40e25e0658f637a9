"""The page on ``keyturn init``, command by command, over local clouds; other tools' files are those of the page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from tests.inventory import estate as estates
from tests.inventory.estate import Estate
from tests.inventory.test_converting import AWS, VAULT, aws, manifests, pulls
from tests.inventory.test_init import point_at
from tests.manual.lines import lines_of
from tests.support.world import World

pytestmark = pytest.mark.sampled(4, of="files")

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


def fenced(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)


def commands() -> list[str]:
    """What the page says to type, in its order."""
    return [line[2:] for block in fenced("console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def estate(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """The page's three clouds with a few copies, and the files that it converts, in the current directory."""
    with estates.opened(world, tmp_path) as opened:
        estates.fill(opened, 10, 5, 3, 3)
        point_at(world, opened.mount, tmp_path, monkeypatch)
        monkeypatch.chdir(tmp_path)
        yield opened


def keyturn(line: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(app, line.split()[1:])


def test_every_command_of_the_page_does_what_it_says(estate: Estate, tmp_path: Path, world: World) -> None:
    named = yaml.safe_load(fenced("yaml")[0])["stores"]
    assert {name: store["kind"] for name, store in named.items()} == {c.name: c.settings["kind"] for c in estate.clouds}
    (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": estate.stores()}))
    (tmp_path / "sync.json").write_text(fenced("json")[0])
    made = {
        "kubectl": manifests(VAULT, AWS, pulls("db", dataFrom=[{"extract": {"key": "ml/db"}}])),
        "aws": json.dumps([aws("a")]),
    }
    ran = []
    for line in commands():
        program, *_ = line.split()
        if program in made:
            (tmp_path / line.rpartition("> ")[2]).write_text(made[program])
        elif program == "keyturn":
            done = keyturn(line)
            assert done.exit_code == 0, (line, done.output)
            ran.append(line)
        else:
            assert line.startswith("export VAULT_ADDR=")
    assert ran == lines_of("migration.md")
    planned: Any = json.loads(keyturn("keyturn plan --all --json --catalogue catalogue").stdout)
    assert {item["action"] for item in planned["items"]} == {"in sync"}


def test_the_rights_that_the_page_names_are_enough(
    estate: Estate, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rules,) = fenced("hcl")
    estate.root.sys.create_or_update_policy("init-guide", rules.replace('"secret/', f'"{estate.mount}/'))
    token = estate.root.auth.token.create(policies=["init-guide"])["auth"]["client_token"]
    monkeypatch.setenv("VAULT_TOKEN", token)
    (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": estate.stores()}))
    done = keyturn("keyturn init --out catalogue --owner a@example.com --stores stores.yaml --json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["secrets"]) == 12
