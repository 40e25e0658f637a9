"""``keyturn kill`` from the command line: what it asks, ends, leaves alone, records and never shows."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.emergencies import kill
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_tail
from keyturn.providers.http.api_target import HttpApi
from keyturn.tokens.library import load_formats
from local.emulators.recipes.server import RecipeServer, base_of
from local.emulators.tokens import IssuedTokens, path_of
from tests.cli.command import run_keyturn
from tests.support.lab import Lab, fresh
from tests.support.leaked_tokens import make_token

FORMATS = load_formats()
GITHUB, BUILDKITE, OPENAI = "github-personal-access-token", "buildkite-api-token", "openai-api-key"

runner = CliRunner()


@dataclass(frozen=True)
class Site:
    """Services that issued tokens, in place of all hosts of the formats."""

    service: IssuedTokens

    def issue(self, name: str) -> str:
        text = make_token(FORMATS[name])
        self.service.issue(name, text)
        return text

    @property
    def requests(self) -> int:
        return len(self.service.received)


def keyturn(*arguments: str, given: str = "") -> Result:
    return runner.invoke(app, ["kill", "--stdin", *arguments], input=given)


def told(*arguments: str, given: str, code: int = 0) -> Any:
    """The data of one call with --json and --yes, which ends with ``code``."""
    result = keyturn("--yes", "--json", *arguments, given=given)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Every address leads to one server, whose tokens live until they are ended."""
    service = IssuedTokens(FORMATS)
    with RecipeServer(service) as server:

        def open_api(address: str, ca_file: str | None) -> HttpApi:
            return HttpApi("api", url=server.url + base_of(address), admin=lambda: SecretFields({}), ca_file=ca_file)

        monkeypatch.setattr(kill, "open_api", open_api)
        monkeypatch.setattr("keyturn.tokens.ending.PAUSES", (0.0,))
        yield Site(service)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a hub, a catalogue or a ledger; its spool."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "KEYTURN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "spool"


@pytest.fixture
def shop(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """A hub whose catalogue has one secret; the function writes its value and returns its path."""
    path = f"shop/{fresh()}"
    entry = {"owner": "a@example.com", "classification": "internal"}
    entry |= {"rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"}}  # type: ignore[dict-item]
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump({"secrets": {path: entry}}))
    for variable, value in {
        "VAULT_ADDR": lab.world.hub_address,
        "VAULT_TOKEN": lab.world.hub_token,
        "KEYTURN_CATALOGUE": str(tmp_path / "catalogue"),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(variable, value)

    def write(value: str) -> str:
        lab.root.secrets.kv.v2.create_or_update_secret(path, {"value": value})
        return path

    return write


def entries() -> list[dict[str, Any]]:
    result = runner.invoke(app, ["ledger", "show", "--action", "kill", "--json"])
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["entries"])


# --- with a hub


def test_a_token_that_the_catalogue_does_not_know_is_ended_proven_and_recorded(
    shop: Callable[[str], str], site: Site
) -> None:
    shop("something else")
    token = site.issue(BUILDKITE)
    data = told("--reason", "pasted in a chat", given=f"{token}\n")
    (made,) = data["tokens"]
    assert data["looked"] is True
    assert (made["format"], made["host"], made["result"]) == (BUILDKITE, "api.buildkite.com", "ended and proven")
    assert site.service.live[token] is False
    begun, done = (entry for entry in entries() if entry["fingerprint"] == made["sha256"])
    assert {begun["outcome"], done["outcome"]} == {"begun", "done"}
    assert all("pasted in a chat" in entry["note"] for entry in (begun, done))
    assert token not in json.dumps(entries())


def test_a_token_that_the_catalogue_has_is_left_to_revoke(shop: Callable[[str], str], site: Site) -> None:
    token, other = site.issue(GITHUB), site.issue(GITHUB)
    path = shop(token)
    result = keyturn("--yes", given=f"{token}\n{other}\n")
    assert result.exit_code == 1
    assert site.service.live == {token: True, other: False}
    assert f"keyturn revoke {path} --reason TEXT" in result.stderr
    assert f"version 1 of {path}, in force" in result.stdout
    assert "replace nothing" in result.stderr


def test_what_the_catalogue_has_is_ended_here_only_if_a_person_says_so(shop: Callable[[str], str], site: Site) -> None:
    token = site.issue(GITHUB)
    path = shop(token)
    (made,) = told("--despite-catalogue", given=token)["tokens"]
    assert (made["result"], made["secret"], made["version"]) == ("ended and proven", path, 1)
    assert site.service.live[token] is False


def test_any_value_of_the_catalogue_is_found_even_if_no_format_fits(shop: Callable[[str], str], site: Site) -> None:
    path = shop("hunter2-hunter2")
    (made,) = told(given="hunter2-hunter2", code=1)["tokens"]
    assert (made["result"], made["secret"], made["sha256"]) == ("in the catalogue", path, "")
    assert site.requests == 0


def test_an_older_value_that_was_replaced_may_be_ended(shop: Callable[[str], str], site: Site) -> None:
    token = site.issue(GITHUB)
    shop(token)
    path = shop("the next one")
    (made,) = told(given=token)["tokens"]
    assert (made["result"], made["secret"], made["version"]) == ("ended and proven", path, 1)


def test_a_hub_that_does_not_answer_stops_nothing_and_the_entries_wait_in_the_spool(
    shop: Callable[[str], str], site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("KEYTURN_LEDGER_SPOOL", str(tmp_path / "spool"))
    token = site.issue(GITHUB)
    result = keyturn("--yes", given=token)
    assert result.exit_code == 0, result.output
    assert "COULD NOT LOOK whether the catalogue has them" in result.stderr
    assert spooled(tmp_path / "spool") == ["begun", "done"]
    assert token not in (tmp_path / "spool").read_text()


def spooled(file: Path) -> list[str]:
    return [str(parse_tail(line[1:]).outcome) for line in file.read_bytes().splitlines()]


# --- without a hub


def test_without_a_hub_or_a_ledger_the_last_line_says_that_nothing_is_recorded(alone: Path, site: Site) -> None:
    token = site.issue(BUILDKITE)
    result = keyturn("--yes", given=token)
    assert result.exit_code == 0
    assert site.service.live[token] is False
    assert "COULD NOT LOOK" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[-1].startswith("NOT RECORDED: there is no hub, and KEYTURN_LEDGER is not set")
    assert not alone.exists()


def test_each_token_gets_its_own_result_and_the_worst_one_decides_the_exit_code(alone: Path, site: Site) -> None:
    living, by_hand = site.issue(BUILDKITE), make_token(FORMATS[OPENAI])
    unproven = site.issue("github-app-refresh-token")
    assert told(given=living)["tokens"][0]["result"] == "ended and proven"
    assert told(given=unproven, code=3)["tokens"][0]["result"] == "ended, not proven"
    data = told(given=f"{site.issue(BUILDKITE)}\n\n{by_hand}\nhunter2\n", code=1)
    assert [(each["line"], each["result"]) for each in data["tokens"]] == [
        (1, "ended and proven"),
        (3, "by hand"),
        (4, "not recognised"),
    ]
    assert data["looked"] is False
    assert data["tokens"][1]["page"] == "https://platform.openai.com/api-keys"
    assert data["tokens"][2]["sha256"] == "", "something short could be guessed"


def test_what_a_person_must_do_is_listed_once_for_each_format(alone: Path, site: Site) -> None:
    given = "\n".join(make_token(FORMATS[OPENAI]) for _ in range(3))
    result = keyturn("--yes", given=given)
    assert result.exit_code == 1
    assert "OpenAI API key (line 1, 2, 3), by hand: https://platform.openai.com/api-keys" in result.stdout
    assert result.stdout.count("  1. Delete the key there") == 1


def test_the_same_token_twice_is_one(alone: Path, site: Site) -> None:
    token = site.issue(GITHUB)
    assert len(told(given=f"{token}\n{token}\r\n  {token}  \n")["tokens"]) == 1


def test_a_preview_sends_nothing(alone: Path, site: Site) -> None:
    token = site.issue(GITHUB)
    result = keyturn("--preview", given=token)
    assert result.exit_code == 0
    assert "sent to api.github.com, which ends it" in result.stdout
    assert "this would end 1 token; nothing was changed" in result.stderr
    unknown = keyturn("--preview", given="not-a-token")
    assert (unknown.exit_code, "this would end 0 tokens; nothing was changed" in unknown.stderr) == (1, True)
    assert site.requests == 0
    assert json.loads(keyturn("--preview", "--json", given=token).stdout)["tokens"][0]["result"] == ""


@pytest.mark.parametrize(
    ("arguments", "given", "problem"),
    [
        ([], "", "none was given"),
        ([], "\n".join(f"token-{number}" for number in range(1001)), "there are more than 1,000"),
        (["--format", "nothing"], "x", "no format has the name"),
        (["--host", "http://gitlab.example.com"], "x", "not the host of a service"),
        (["--host", "gitlab.example.com/api"], "x", "not the host of a service"),
        (["--host", "user@gitlab.example.com"], "x", "not the host of a service"),
        (["--host", "169.254.169.254"], "x", "not the host of a service"),
        (["--host", "gitlab.example.com"], "x", "no token here needs --host"),
        (["--ca-file", __file__], "x", "is for the host of --host alone"),
        (["--host", "gitlab.example.com", "--ca-file", "nowhere.pem"], "x", "--ca-file must be a file"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    arguments: list[str], given: str, problem: str, alone: Path, site: Site
) -> None:
    result = keyturn("--yes", *arguments, given=given)
    assert result.exit_code in (1, 2)
    assert problem in " ".join(result.output.replace("│", " ").split())
    assert site.requests == 0


def test_a_token_is_never_an_argument() -> None:
    assert runner.invoke(app, ["kill", make_token(FORMATS[GITHUB])]).exit_code == 2
    assert "give --stdin" in runner.invoke(app, ["kill"]).output


def test_a_service_of_ones_own_needs_its_host_and_one_service_at_a_time(alone: Path, site: Site) -> None:
    gitlab, vault = "gitlab-personal-access-token", "vault-token"
    token = site.issue(gitlab)
    (made,) = told(given=token, code=1)["tokens"]
    assert (made["result"], made["why"]) == ("not ended", "name the host of GitLab that issued it: --host")
    mixed = keyturn("--yes", "--host", site.service.host, given=f"{token}\n{make_token(FORMATS[vault])}")
    assert mixed.exit_code == 2
    assert site.requests == 0
    (made,) = told("--host", f"https://{site.service.host}/", given=token)["tokens"]
    assert (made["result"], made["host"]) == ("ended and proven", site.service.host)


def test_a_host_outside_of_a_services_own_domains_is_refused(alone: Path, site: Site) -> None:
    token = make_token(FORMATS["okta-api-token"])
    result = keyturn("--yes", "--format", "okta-api-token", "--host", "okta.com.example.net", given=token)
    assert result.exit_code == 2
    assert "is no host of Okta" in " ".join(result.output.replace("│", " ").split())
    assert site.requests == 0


def test_every_format_is_listed_with_who_ends_it(alone: Path) -> None:
    listed = json.loads(runner.invoke(app, ["kill", "--list", "--json"]).stdout)["formats"]
    assert {each["name"] for each in listed} == set(FORMATS)
    table = runner.invoke(app, ["kill", "--list"]).stdout
    assert all(name in table for name in FORMATS)
    assert "itself, with --host, with --format" in table


# --- in a process of its own


def surroundings(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "KEYTURN_"))}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": root, "KEYTURN_HOME": str(tmp_path / "no-stack"), "HOME": str(tmp_path)}


def test_a_question_goes_to_the_terminal_although_the_token_comes_by_a_pipe(tmp_path: Path) -> None:
    token = make_token(FORMATS[BUILDKITE])
    (tmp_path / "leaked").write_text(token)
    command = f"{sys.executable} -m keyturn.cli kill --stdin < leaked"
    for answer in ("n", ""):
        code, shown = at_shell(command, {"End 1 token? [y/N]": answer}, tmp_path)
        assert code == 1
        assert "Aborted" in shown
        assert token not in shown


def at_shell(command: str, answers: dict[str, str], tmp_path: Path) -> tuple[int, str]:
    """Run a command of a shell whose terminal is one of its own."""
    program = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['sh', '-c', {command!r}])))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="".join(f"{answer}\n" for answer in answers.values()),
        capture_output=True,
        text=True,
        env=surroundings(tmp_path),
        cwd=tmp_path,
        check=False,
        timeout=120,
    )
    assert all(question in done.stdout for question in answers), done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_without_a_terminal_it_asks_for_yes_and_reads_nothing(tmp_path: Path) -> None:
    done = run_keyturn("kill", "--stdin", env=surroundings(tmp_path), input="x", start_new_session=True)
    assert done.returncode == 2
    assert "there is no terminal to ask on: give --yes" in done.stderr


def test_a_service_of_ones_own_over_tls_is_trusted_by_its_own_authority_alone(tmp_path: Path) -> None:
    authority, name = trustme.CA(), "vault-token"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    service, token = IssuedTokens(FORMATS, base=path_of), make_token(FORMATS[name])
    service.issue(name, token)
    with RecipeServer(service, tls=tls) as server:
        arguments = ("kill", "--stdin", "--yes", "--json", "--host", f"localhost:{server.port}")
        distrusted = run_keyturn(*arguments, env=surroundings(tmp_path), input=token)
        assert distrusted.returncode == 1
        assert json.loads(distrusted.stdout)["tokens"][0]["why"] == "its certificate is not trusted"
        assert service.received == []
        ended = run_keyturn(*arguments, "--ca-file", str(tmp_path / "ca.pem"), env=surroundings(tmp_path), input=token)
    assert ended.returncode == 0, ended.stderr
    assert service.live[token] is False
    assert token not in ended.stdout + ended.stderr + distrusted.stdout + distrusted.stderr
