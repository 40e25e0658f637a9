"""The page on organisations, command by command, in a hub that was set up for its catalogue."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.local_stack import FOREIGN
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.webhook_keys import generate_webhook_key
from tests.hub_setup.site import Empty
from tests.manual.lines import lines_of
from tests.support.consumer import Consumer
from tests.support.lab import LOOSE

PAGE = (Path(__file__).parents[2] / "docs" / "organisations.md").read_text()
PATHS = ("harvest/api-key", "harvest/session-key", "bakery/api-key")


def commands(heading: str) -> list[str]:
    """What the page says to type under a heading, in its order."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```", part)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def keyturn(line: str) -> Result:
    """Run one command in this process, as a shell would take it apart."""
    return CliRunner().invoke(app, shlex.split(line)[1:])


@pytest.fixture(scope="module")
def key() -> Sensitive:
    return generate_webhook_key()


@pytest.fixture
def consumer(key: Sensitive) -> Iterator[Consumer]:
    with Consumer(key) as running:
        yield running


@pytest.fixture
def guided(empty: Empty, key: Sensitive, consumer: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """The page's catalogue, its hub set up, and its administrator's login."""
    copies = tmp_path / "copies"
    copies.mkdir(mode=0o700)
    (tmp_path / "catalogue").mkdir()
    (declared,) = (block for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE) if "secrets:" in block)
    declared = declared.replace("http://127.0.0.1:8000/", consumer.url).replace("/run/keyturn/copies", str(copies))
    (tmp_path / "catalogue" / "all.yaml").write_text(declared)
    (tmp_path / "policy.yaml").write_text(
        f"limits: {LOOSE.model_dump_json()}\ndirectories: [{os.path.realpath(copies)}]\n"
    )
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    monkeypatch.setenv("VAULT_ADDR", empty.server.address)
    monkeypatch.setenv("VAULT_TOKEN", empty.server.root_token)
    monkeypatch.setenv("VAULT_NAMESPACE", empty.namespace)
    monkeypatch.setenv("VAULT_CACERT", empty.server.ca_file or "")
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    done = keyturn("keyturn setup hub --apply --yes")
    assert done.exit_code == 0, done.output
    empty.hub.write_state("webhooks/reaper", {"key": key.reveal()}, cas=0)
    for path in PATHS:
        empty.hub.write(path, SecretFields({"value": f"canary of {path}"}), cas=0)
    assert keyturn("keyturn sync --local").exit_code == 0
    return empty


def test_every_command_of_the_page_does_what_it_says(guided: Empty, tmp_path: Path) -> None:
    shown, ended = commands("End a project")
    typed = lines_of("organisations.md", "keyturn offboard", "keyturn ledger")
    assert [shown, ended, *commands("Verify the end of a project")] == typed[-4:]
    plan = keyturn(shown)
    assert plan.exit_code == 0, plan.output
    for name in ("harvest/api-key", "approle:approle/reaper", "webhooks/reaper"):
        assert name in plan.stdout
    assert list((tmp_path / "copies").rglob("harvest.json"))
    done = keyturn(ended)
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "copies").rglob("harvest.json"))
    with closing(guided.as_token(guided.server.root_token)) as hub:
        served = {path: info.served for path, info in hub.describe_many(PATHS).items()}
    assert served == {path: path.startswith("bakery") for path in PATHS}
    key, check = commands("Verify the end of a project")
    line, _, file = key.partition(" > ")
    (tmp_path / file).write_text(keyturn(line).stdout)
    proof = tmp_path / "harvest.json"
    assert (proof.stat().st_mode & 0o777, "canary" in proof.read_text()) == (0o600, False)
    checked = keyturn(check)
    assert checked.exit_code == 0, checked.output
    assert "proved: project harvest ended" in checked.output
    proof.write_text(proof.read_text().replace("harvest/session-key", "harvest/session-kez"))
    assert keyturn(check).exit_code == 1
    assert keyturn("keyturn offboard harvest --out again.json").exit_code == 0
    assert keyturn("keyturn offboard bakery --out never.json").exit_code == 1
