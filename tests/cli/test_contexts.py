"""Contexts select hub, catalogue and Prefect server, and contain no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.commands import first_place
from keyturn.cli.setup import contexts
from keyturn.cli.setup.contexts import SETTINGS, read_contexts, reason_against, take_context, variables_of
from keyturn.core.errors import Invalid, NotFound
from tests.cli.command import ROOT, run_keyturn, surroundings
from tests.support.world import World

pytestmark = pytest.mark.sampled(3, of="file")

FILE = """\
# ours
current: prod
contexts:
  prod:
    hub:
      address: https://hub.example.com:8200
      ca_file: /etc/keyturn/hub-ca.pem
    login:
      role_id_file: /etc/keyturn/role-id
      secret_id_file: ~/secret-id
    catalogue: /etc/keyturn/catalogue
  lab: {hub: {address: 'https://lab.example.com'}, prefect_api_url: 'https://prefect.example.com/api'}
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, in a home of its own; no variable of this process counts, and none is left behind."""
    for variable in {*SETTINGS.values()} - {"KEYTURN_POLICY"} | {"VAULT_TOKEN", "KEYTURN_CONTEXT", "KEYTURN_CONFIG"}:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(contexts, "ADDED", {})
    file = tmp_path / "xdg" / "keyturn" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(FILE)
    return file


def keyturn(*words: str, ends: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == ends, done.output
    return done


def shown(*words: str) -> dict[str, dict[str, str]]:
    rows = json.loads(keyturn("context", "show", *words, "--json").stdout)["settings"]
    return {row["setting"]: row for row in rows}


def test_the_context_in_use_is_the_options_then_the_variables_then_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_context(None, "status")
    assert os.environ["VAULT_ADDR"] == "https://hub.example.com:8200"
    assert os.environ["KEYTURN_HUB_SECRET_ID_FILE"] == str(tmp_path / "secret-id")
    for variable in ("VAULT_ADDR", "VAULT_CACERT", "KEYTURN_HUB_ROLE_ID_FILE", "KEYTURN_HUB_SECRET_ID_FILE"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("KEYTURN_CONTEXT", "lab")
    assert shown()["hub.address"]["from"] == "context lab"
    assert shown("prod")["hub.address"]["value"] == "https://hub.example.com:8200"
    monkeypatch.setenv("KEYTURN_CONTEXT", "")
    assert "hub.address" not in shown()


def test_a_variable_that_is_set_goes_before_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_CATALOGUE", "/home/me/catalogue")
    rows = shown()
    assert rows["catalogue"]["value"] == "/home/me/catalogue"
    assert rows["catalogue"]["from"] == "KEYTURN_CATALOGUE"
    assert rows["catalogue"]["ignored"] == "KEYTURN_CATALOGUE is set"
    assert rows["hub.address"]["from"] == "context prod"


@pytest.mark.attack
def test_a_login_is_never_shown_to_another_hub() -> None:
    prod = read_contexts().settings("prod")
    elsewhere = variables_of(prod, {"VAULT_ADDR": "https://other.example.com"})
    assert elsewhere == {"KEYTURN_CATALOGUE": "/etc/keyturn/catalogue"}
    same = variables_of(prod, {"VAULT_ADDR": "https://hub.example.com:8200/"})
    assert "KEYTURN_HUB_ROLE_ID_FILE" in same


def test_a_file_whose_name_has_a_dot_is_no_secret(config: Path) -> None:
    config.write_text(FILE.replace("/secret-id", "/revoker.secret-id"))
    assert read_contexts().settings("prod")["login.secret_id_file"].endswith("/revoker.secret-id")


def test_a_login_of_the_environment_is_not_mixed_with_the_contexts() -> None:
    prod = read_contexts().settings("prod")
    given = {"VAULT_TOKEN": "from-somewhere"}
    assert "KEYTURN_HUB_ROLE_ID_FILE" not in variables_of(prod, given)
    assert reason_against("login.role_id_file", prod, given) == "VAULT_TOKEN is set, which is another login"


def test_a_context_is_chosen_for_good_and_the_file_stays_as_it_was(config: Path) -> None:
    keyturn("context", "use", "lab")
    assert config.read_text() == FILE.replace("current: prod", "current: lab")
    assert config.stat().st_mode & 0o777 == 0o600
    listed = json.loads(keyturn("context", "list", "--json").stdout)["contexts"]
    assert [(each["name"], each["in_use"]) for each in listed] == [("prod", False), ("lab", True)]
    assert "did you mean lab" in keyturn("context", "use", "lba", ends=1).stderr.lower()
    config.write_text(FILE.replace("current: prod\n", ""))
    keyturn("context", "use", "lab")
    assert config.read_text().startswith("current: lab\n# ours\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("    token: anything", ":3: token is not read"),
        ("    login: {token: anything}", "No value of a secret"),
        ("    hub: {namespace: hvs.CAESIJ2e7XkQmWnzVfbZ}", "looks like a secret"),
        ("    login: {token_file: s.3Jx9aKQmWnzVfbZaaaa}", "looks like a secret"),
        ("    prefect_api_url: https://me:pass@prefect.example.com/api", "holds a login"),
        ("    catalogue: here/catalogue", "no whole path"),
        ("    catalogue: [/a]", "a name or a value is expected"),
        ("    adress: https://hub", "is not read"),
        ("    catalogue: /a\n    catalogue: /b", "there twice"),
    ],
)
@pytest.mark.attack
def test_unknown_contents_of_the_file_are_refused_and_not_shown(config: Path, line: str, words: str) -> None:
    config.write_text(f"contexts:\n  prod:\n{line}\n")
    with pytest.raises(Invalid) as refused:
        read_contexts()
    assert words in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("anything", "CAES", "3Jx9", "pass@"))


def test_a_name_that_yaml_would_read_otherwise_is_quoted_and_a_link_stays_one(config: Path, tmp_path: Path) -> None:
    name = 'eu #1: "live"'
    kept = tmp_path / "kept.yaml"
    kept.write_text(FILE + f"  {json.dumps(name)}: {{}}\n")
    config.unlink()
    config.symlink_to(kept)
    for chosen in (name, "lab"):
        keyturn("context", "use", chosen)
        assert read_contexts().current == chosen
    assert config.is_symlink()
    assert kept.read_text() == FILE.replace("current: prod", "current: lab") + f"  {json.dumps(name)}: {{}}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("current: lab\ncontext:\n  lab: {}\n", "config.yaml:2: context is not read"),
        ("contexts: " + "[" * 5000, "no YAML"),
    ],
)
def test_what_is_no_file_of_contexts_is_told_with_its_line(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    assert words in keyturn("context", "list", ends=1).stderr


@pytest.mark.attack
def test_a_file_that_others_may_write_is_refused(config: Path) -> None:
    config.chmod(0o666)
    assert "others than its owner may write it" in keyturn("context", "list", ends=1).stderr


def test_a_context_that_is_asked_for_and_is_not_there_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the context nowhere" in keyturn("--context", "nowhere", "status", ends=1).stderr
    monkeypatch.setenv("KEYTURN_CONFIG", str(config.parent / "absent.yaml"))
    with pytest.raises(NotFound):
        read_contexts()
    monkeypatch.delenv("KEYTURN_CONFIG")
    config.unlink()
    assert read_contexts().named == {}
    take_context(None, "status")


def test_the_command_is_known_behind_the_context_too() -> None:
    assert first_place(["--context", "prod", "status"]) == 2
    assert first_place(["--context=prod", "status", "--json"]) == 1
    assert first_place(["status"]) == 0
    assert first_place(["--context", "status"]) == 2
    assert first_place(["--context"]) == 1
    assert first_place([]) == 0


def test_a_command_of_a_process_works_with_the_hub_of_its_context(world: World, config: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(world.hub_token)
    token.chmod(0o600)
    hub = {"hub": {"address": world.hub_address, "ca_file": world.hub_ca}, "login": {"token_file": str(token)}}
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "all.yaml").write_text("secrets: {}\n")
    config.write_text(json.dumps({"contexts": {"here": {**hub, "catalogue": str(catalogue)}}}))
    env = surroundings(tmp_path / "home", XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    done = run_keyturn("--context", "here", "setup", "hub", "--json", env=env)
    assert done.returncode in (0, 3), done.stderr
    assert f"using the hub {world.hub_address}" in done.stderr


def test_a_shell_completes_the_names(config: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_KEYTURN_COMPLETE": "complete_bash"}
    words = {"COMP_WORDS": "keyturn context use l", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "keyturn.cli"], env={**env, **words}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["lab"], done.stderr


def test_a_shell_completes_what_the_catalogue_names_and_nothing_where_it_can_not_look(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    data = {
        "stores": {"aws": {"kind": "aws-secrets-manager", "region": "eu-central-1"}},
        "secrets": {
            path: {"owner": "a@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
            for path in ("ml/one", "ml/two", "other/one")
        },
    }
    (catalogue / "all.yaml").write_text(json.dumps(data))
    base = {name: text for name, text in os.environ.items() if not name.startswith(("VAULT_", "KEYTURN_"))}
    env = {**base, "PYTHONPATH": str(ROOT), "_KEYTURN_COMPLETE": "complete_bash", "XDG_CONFIG_HOME": str(tmp_path)}
    env |= {"KEYTURN_CATALOGUE": str(catalogue), "KEYTURN_HOME": str(tmp_path / "none")}

    def completed(words: str, **more: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        command = [sys.executable, "-m", "keyturn.cli"]
        done = subprocess.run(command, env={**env, **asked, **more}, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("keyturn rotate ml/") == ["ml/one", "ml/two"]
    assert completed("keyturn setup store a") == ["aws"]
    assert completed("keyturn revoke --resume INC", VAULT_ADDR="http://127.0.0.1:9", VAULT_TOKEN="none") == []
    assert completed("keyturn rotate ml/", KEYTURN_CATALOGUE=str(tmp_path / "absent")) == []
