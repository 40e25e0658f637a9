"""The guide to setting up the hub, command by command, on an empty hub."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.catalogue import load_catalogue
from keyturn.cli.app import app
from local.openbao import binary
from tests.hub_setup.site import Empty, as_environment
from tests.manual.lines import lines_of

PAGE = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()
ENDS = {"keyturn setup hub": [3, 0]}
"""How often a command of the page is run, and how it ends each time; others end with 0."""


def commands() -> list[str]:
    """What the page says to type, in its order, but for what needs a provider of people (`test_people.py`)."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```", PAGE)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    typed = [line for line in lines if "--write-secrets" not in line]
    assert [line for line in typed if line.startswith("keyturn ")] == lines_of("hub.md", besides="--write-secrets")
    return typed


def declared() -> list[str]:
    """The catalogues of the page, in its order."""
    return re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE)


def keyturn(line: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(app, line.split()[1:])


@pytest.fixture
def guided(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """The page's catalogue, an empty hub, and its administrator's login."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(declared()[0])
    as_environment(empty, tmp_path, monkeypatch)
    return empty


def test_every_command_of_the_page_does_what_it_says(
    guided: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {name: list(codes) for name, codes in ENDS.items()}
    for command in commands():
        line = command.replace("/etc/keyturn", str(tmp_path / "etc")).replace("/var/lib/keyturn", str(tmp_path / "lib"))
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        elif line.startswith("bao "):
            subprocess.run([str(binary()), *line.split()[1:]], check=True, capture_output=True)
        else:
            if "rotate" in line:
                monkeypatch.delenv("VAULT_TOKEN", raising=False)
            if "credentials hub-check" in line:
                monkeypatch.setenv("VAULT_TOKEN", guided.server.root_token)
                monkeypatch.delenv("KEYTURN_HUB_ROLE_ID_FILE")
                monkeypatch.delenv("KEYTURN_HUB_SECRET_ID_FILE")
            if "plan --json" in line:
                monkeypatch.delenv("VAULT_TOKEN")
            done = keyturn(line)
            assert done.exit_code == (ends.get(line) or [0]).pop(0), (line, done.output)
    assert guided.read("secret/data/app/api-key")["metadata"]["version"] == 2
    for file in (tmp_path / "etc").rglob("*-id"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_every_other_catalogue_of_the_page_is_a_good_one(tmp_path: Path) -> None:
    for text in declared()[1:]:
        (tmp_path / "all.yaml").write_text(text)
        assert load_catalogue(tmp_path, {}).hub


@pytest.mark.attack
def test_a_secret_id_is_shown_nowhere_and_a_wrapped_one_opens_once(guided: Empty, tmp_path: Path) -> None:
    assert keyturn("keyturn setup hub --apply --yes").exit_code == 0
    directory = tmp_path / "worker"
    made = keyturn(f"keyturn setup credentials keyturn-worker --place w --wrap 5m --directory {directory}")
    token = (directory / "wrapped-secret-id").read_text()
    assert made.exit_code == 0
    assert token not in made.output
    secret_id = guided.root.sys.unwrap(token)["data"]["secret_id"]
    assert guided.root.auth.approle.login((directory / "role-id").read_text(), secret_id)["auth"]["policies"]

    again = keyturn(f"keyturn setup credentials keyturn-worker --place w --wrap 5m --directory {directory}")
    assert again.exit_code == 1
    assert (directory / "wrapped-secret-id").read_text() == token


def test_an_unknown_name_is_refused_before_anything_is_applied(guided: Empty) -> None:
    assert keyturn("keyturn setup hub --apply --overwrite policy:keyturn-workr").exit_code == 1
    assert guided.root.sys.list_auth_methods()["data"].keys() == {"token/"}
    assert keyturn("keyturn setup hub --overwrite policy:keyturn-workr").exit_code == 1
