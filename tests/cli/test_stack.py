"""The command line and the local stack: used where it runs, shown where it does not, started and deleted whole."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.cli.failures import BEHIND
from keyturn.core.errors import Unavailable
from local import environment
from local.home import Stack, opened_or_made
from local.prepare import WORKER, hub_of, run_cli, write_login
from local.services import SERVICES
from tests.cli.command import SCRIPT, one_generated_secret, one_line, run_keyturn, surroundings
from tests.manual.lines import lines_of

pytestmark = pytest.mark.sampled(37, of="files")


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """One generated secret, a/b."""
    return one_generated_secret(tmp_path / "catalogue")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of which only the hub runs."""
    home = tmp_path_factory.mktemp("stack") / "home"
    home.mkdir()
    made = opened_or_made(home, [service.name for service in SERVICES if service.listens])
    made.issue_certificate("openbao")
    with made.hub:
        hub = hub_of(made)
        hub.set_up()
        write_login(made.login_files(WORKER), *hub.login_of(WORKER))
        yield made


def test_a_running_stack_is_used_by_itself_and_the_command_says_so(stack: Stack, catalogue: Path) -> None:
    env = surroundings(stack.home, KEYTURN_CATALOGUE=str(catalogue), AWS_PROFILE="production")
    done = run_keyturn("status", "--json", env=env)
    assert done.returncode == 1, done.stderr  # its Prefect server does not run
    assert done.stderr == f"using the local stack in {stack.home}: hub {stack.hub.address}\n"
    status = json.loads(done.stdout)
    assert status["health"]["failed"] == ["workers"]
    running = {service["name"]: service["running"] for service in status["stack"]["services"]}
    assert running == {service.name: service.name == "openbao" for service in SERVICES}
    assert [(one["path"], one["due"]) for one in status["secrets"]] == [("a/b", "NeverMade")]
    table = run_keyturn("status", env={**env, "COLUMNS": "80"}).stdout
    assert "openbao          running" in table
    assert "no version yet" in table


DECOY = """
stores:
  files: {kind: file, directory: DIRECTORY}
secrets:
  legacy/billing-admin:
    owner: ops@example.com
    classification: confidential
    rotation: {strategy: generated, fields: {password: {length: 28}}, interval: 30d, grace: 0s}
    destinations: [{store: files, name: billing-admin}]
    decoy: true
"""


def test_a_decoy_that_has_no_version_yet_is_told_and_stops_no_stack(
    stack: Stack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(DECOY.replace("DIRECTORY", str(tmp_path / "copies")))
    variables = environment.worker(stack) | {"KEYTURN_CATALOGUE": str(tmp_path / "catalogue")}
    run_cli(stack, ("sync", "--local"), variables, bearable=(BEHIND,))
    assert "files:billing-admin of legacy/billing-admin: the hub has no version of it" in capfd.readouterr().err
    with pytest.raises(Unavailable, match="the hub has no version of it"):
        run_cli(stack, ("sync", "--local"), variables)


def test_a_login_lies_in_files_that_their_owner_alone_reads(stack: Stack) -> None:
    files = stack.login_files(WORKER)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (files.role_id, files.secret_id)] == [0o400, 0o400]


def test_a_secret_is_made_on_a_stack_with_the_workers_own_login(stack: Stack, catalogue: Path) -> None:
    env = surroundings(stack.home, KEYTURN_CATALOGUE=str(catalogue))
    done = run_keyturn("rotate", "a/b", "--local", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == 1


def test_another_hub_that_is_named_is_used_instead_of_the_stack(stack: Stack, catalogue: Path) -> None:
    given = {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "t", "KEYTURN_CATALOGUE": str(catalogue)}
    done = run_keyturn("history", "a/b", env=surroundings(stack.home, **given))
    one_line(done, "using the hub http://127.0.0.1:1", "the hub does not answer")


def test_env_leads_a_shell_to_the_stack_and_away_from_other_clouds(stack: Stack) -> None:
    env = surroundings(stack.home, AWS_PROFILE="production", VAULT_TOKEN="other", PATH=os.environ["PATH"])
    script = f'eval "$({" ".join(SCRIPT)} env)"; env'
    shell = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    there = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert there["VAULT_ADDR"] == stack.hub.address
    assert Path(there["KEYTURN_HUB_ROLE_ID_FILE"]).exists()
    assert not {"AWS_PROFILE", "VAULT_TOKEN"} & there.keys()
    data = json.loads(run_keyturn("env", "--json", env=env).stdout)
    assert data["unset"] == ["AWS_PROFILE", "VAULT_TOKEN"]
    assert data["export"]["VAULT_ADDR"] == stack.hub.address
    assert stack.hub.root_token not in json.dumps(data)


def test_a_stack_that_does_not_run_is_shown_and_its_hub_not_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "lock").touch()
    opened_or_made(home, [service.name for service in SERVICES if service.listens])
    env = surroundings(home)
    done = run_keyturn("status", "--json", env=env)
    assert done.returncode == 5
    assert "keyturn up" in done.stderr
    assert not any(service["running"] for service in json.loads(done.stdout)["stack"]["services"])
    one_line(run_keyturn("history", "a/b", env=env), "does not run", "keyturn up")
    assert run_keyturn("down", "--delete", env=env).returncode == 0
    assert not home.exists()


def typed(command: str, env: dict[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What one command says that somebody types into a shell, and which succeeds."""
    paths = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], env={**env, "PATH": paths}, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


ROTATION = {"decide", "guard", "stage", "install", "verify", "promote", "push", "restart", "notify", "conclude"}
"""The steps that a rotation may show."""


@pytest.mark.slow
def test_the_first_page_and_the_emergency_card_do_what_they_say(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = surroundings(home, COLUMNS="80")
    first, card = lines_of("start.md"), lines_of("emergency-card.md")
    assert (first[0], first[-1], len(card)) == ("keyturn up", "keyturn down --delete", 5)
    try:
        said = {command: typed(command, env, tmp_path) for command in first[:-1]}
        assert said["keyturn up"].stdout.count("running") == len(SERVICES)
        rotated = said["keyturn rotate ml-training/database --now"]
        # A busy server learns of steps after their run's end, which is not waited for: here stands what it knew.
        steps = re.findall(r"(?m)^  (\w+)(?: [\w:.-]+)*: ", rotated.stderr)
        assert ROTATION.issuperset(steps), rotated.stderr
        assert "rotated" in rotated.stdout
        assert said["keyturn plan"].stderr.endswith("nothing to do\n")
        revoked = said['keyturn revoke ml-training/database --reason "trying it out" --incident FIRST-TRY']
        assert "closed" in revoked.stdout + revoked.stderr
        reveal = "keyturn get ml-training/database --field password --reveal"
        (tmp_path / "leaked.txt").write_text(typed(reveal, env, tmp_path).stdout)
        said = {command: typed(command, env, tmp_path) for command in card}
        assert "ml-training/database" in said["keyturn whois --stdin < leaked.txt"].stdout
        assert any((tmp_path / "report").iterdir())
        held = run_keyturn("retire", env=env, cwd=tmp_path)
        assert (held.returncode, held.stdout) == (0, ""), "a revocation leaves no old credential"
    finally:
        down = typed(first[-1], env, tmp_path)
    assert down.stdout == ""
    assert not home.exists()
