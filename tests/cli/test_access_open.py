"""`keyturn access open` and `end`, and active access in `keyturn status`."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from keyturn.core.errors import NotFound
from keyturn.grants.opening import open_access
from tests.support.access import shell
from tests.support.given import GivenSite, deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.lab import Lab
from tests.support.mcp import call

pytestmark = pytest.mark.sampled(2, of="file")


@pytest.fixture(scope="module")
def given(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


@pytest.fixture
def run(given: GivenSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    made = shell(given.access, tmp_path, monkeypatch)
    # The first use of a hub says which ledger is its own, and people with the least rights may not.
    assert made("cleo", "access", "request", given.access.secret.path, "--purpose", "none").exit_code == 1
    return made


def test_it_is_shown_until_when_opened_once_and_given_back(given: GivenSite, run: Callable[..., Result]) -> None:
    path = given.access.secret.path
    asked = run("ana", "access", "request", path, "--purpose", "a query hangs", "--json")
    assert asked.exit_code == 0, asked.output
    request = json.loads(asked.stdout)["id"]
    first, second = asked.stderr.splitlines()[-2:]
    assert first.endswith(f": keyturn access approve {request}")
    assert second == f"then you: keyturn access open {request}"
    assert run("bea", "access", "approve", request, "--yes").exit_code == 0
    deliver_access(given.at_work("granter"), request)
    shown = json.loads(run("bea", "access", "show", request, "--json").stdout)
    assert (shown["state"], bool(shown["until"])) == ("active", True)
    listed = json.loads(run("cleo", "status", "--json").stdout)["access"]
    assert [(grant["path"], grant["opened"]) for grant in listed if grant["id"] == request] == [(path, False)]
    assert f"{request}: " in run("cleo", "status").stderr
    opened = run("ana", "access", "open", request, "--json")
    assert opened.exit_code == 0, opened.output
    assert given.lab.logs_in(json.loads(opened.stdout)["fields"])
    again = run("ana", "access", "open", request)
    assert again.exit_code == 1
    assert "opens once" in again.stderr
    ended = run("ana", "access", "end", request)
    assert (ended.exit_code, "nothing is given for it any more" in ended.stderr) == (0, True)
    given.sweep()
    assert json.loads(run("ana", "access", "show", request, "--json").stdout)["state"] == "ended"


def test_an_agent_requests_it_and_a_person_approves(
    given: GivenSite, run: Callable[..., Result], tmp_path: Path
) -> None:
    path, said = given.access.secret.path, tmp_path / "said"
    assert run("ana", "access", "list").exit_code == 0  # what follows has her login
    result = call(said, "request_access", {"path": path, "purpose": "a query hangs", "duration": "30m"})
    assert not result.is_error, (result, said.read_text())
    request = result.structured_content["data"]["id"]
    refused = call(said, "request_access", {"path": "no/such", "purpose": "none"})
    assert refused.is_error
    assert run("bea", "access", "approve", request, "--yes").exit_code == 0
    assert json.loads(run("bea", "access", "show", request, "--json").stdout)["purpose"] == "a query hangs"
    assert run("ana", "access", "end", request).exit_code == 0


def test_a_program_gets_it_and_nothing_is_opened_for_one_that_is_not_there(
    given: GivenSite, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = given.given()
    wrong = [
        (("--env", "PGUSER=username"), "belong together"),
        (("--env", "PGUSER=username", "--", "no-such-program"), "no program"),
        (("--env", "PGUSER", "--", "true"), "write NAME=FIELD"),
    ]
    for arguments, words in wrong:
        refused = run("ana", "access", "open", grant.request, *arguments)
        assert (refused.exit_code, words in refused.stderr) == (2, True), refused.output
    started: list[tuple[list[str], dict[str, str]]] = []

    def exec_(program: str, command: list[str], env: dict[str, str]) -> None:
        started.append((command, env))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", exec_)
    done = run("ana", "access", "open", grant.request, "--env", "A=username", "--env", "B=password", "--", "true", "-x")
    assert done.exit_code == 0, done.output
    ((command, env),) = started
    assert command == ["true", "-x"]
    assert given.lab.logs_in({"username": env["A"], "password": env["B"]})
    assert "VAULT_TOKEN" not in env
    assert env["B"] not in done.output
    mistyped = given.given()
    refused = run("ana", "access", "open", mistyped.request, "--env", "A=usrname", "--", "true")
    assert refused.exit_code == 1
    assert "no field usrname was given; there are " in refused.stderr
    assert f"keyturn access end {mistyped.request}" in refused.stderr
    assert len(started) == 1


def test_who_waits_for_what_was_approved_is_told_so(given: GivenSite) -> None:
    request, told = given.approved(), list[str]()
    with pytest.raises(NotFound, match="it is approved, and was not given yet"):
        open_access(given.at_work("ana"), request.id, timedelta(seconds=0.5), told.append)
    (words,) = told
    assert words.startswith(f"{request.id} is approved; waiting up to 0 s until `keyturn serve`")


def test_an_empty_file_is_told_to_be_empty(run: Callable[..., Result], tmp_path: Path) -> None:
    empty = tmp_path / "access.json"
    empty.write_text("\n")
    checked = run("cleo", "access", "check", str(empty), "--approver", f"bea={'A' * 43}=")
    assert checked.exit_code == 1
    assert f"{empty}: it is empty" in checked.stderr.replace("\n", "")
