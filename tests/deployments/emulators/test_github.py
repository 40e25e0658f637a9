"""The local GitHub: it behaves as the API is documented, and refuses what GitHub refuses."""

import base64
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests
from nacl.public import PrivateKey, PublicKey, SealedBox

from local.emulators.github import LocalGitHub
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

ACTIONS = "/repos/octo/app/actions"
PROD = "/repos/octo/app/environments/prod%2Feu"
PLACES = ("--repository=octo/app", "--environment=octo/app:prod/eu")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalGitHub]:
    with LocalGitHub(tmp_path / "github", free_port(), *PLACES) as running:
        yield running


def ask(server: LocalGitHub, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """One call with the token; the status and the document, None where there is none."""
    given = {"headers": {"Authorization": f"Bearer {server.token_file.read_text()}"}, **more}
    answer = requests.request(method, server.api_url + path, timeout=10, **given)
    return answer.status_code, answer.json() if answer.content else None


def sealed(server: LocalGitHub, value: bytes, place: str = ACTIONS) -> dict[str, str]:
    """What a client sends."""
    _, key = ask(server, "GET", f"{place}/secrets/public-key")
    box = SealedBox(PublicKey(base64.b64decode(key["key"]))).encrypt(value)
    return {"encrypted_value": base64.b64encode(box).decode(), "key_id": key["key_id"]}


def put(server: LocalGitHub, name: str, value: bytes = b"value", place: str = ACTIONS) -> int:
    return ask(server, "PUT", f"{place}/secrets/{name}", json=sealed(server, value, place))[0]


# secrets


def test_a_secret_is_made_changed_told_without_its_value_and_deleted(server: LocalGitHub) -> None:
    assert ask(server, "GET", f"{ACTIONS}/secrets/A")[0] == 404
    assert put(server, "a", "é".encode()) == 201
    status, told = ask(server, "GET", f"{ACTIONS}/secrets/A")
    assert (status, sorted(told), told["name"]) == (200, ["created_at", "name", "updated_at"], "A")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["updated_at"])
    assert put(server, "A", b"other") == 204
    assert ask(server, "GET", f"{ACTIONS}/secrets")[1]["total_count"] == 1
    assert server.workflow_sees("Octo/App", "a") == "other"
    assert ask(server, "DELETE", f"{ACTIONS}/secrets/a") == (204, None)
    assert ask(server, "DELETE", f"{ACTIONS}/secrets/a")[0] == 404
    assert server.workflow_sees("octo/app", "A") is None


def test_an_environment_has_secrets_and_a_key_of_its_own(server: LocalGitHub) -> None:
    assert put(server, "A", b"inside", PROD) == 201
    assert ask(server, "GET", f"{ACTIONS}/secrets/A")[0] == 404
    assert server.workflow_sees("octo/app", "A", "prod/eu") == "inside"
    keys = [ask(server, "GET", f"{place}/secrets/public-key")[1]["key"] for place in (ACTIONS, PROD)]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("name", ["GITHUB_A", "github_a", "1A", "A-B", "A%20B", "%C3%89"])
def test_an_illegal_name_is_refused(server: LocalGitHub, name: str) -> None:
    assert put(server, name) == 422
    assert ask(server, "POST", f"{ACTIONS}/variables", json={"name": unquote(name), "value": ""})[0] == 422


def test_the_largest_value_is_taken_and_a_larger_one_refused(server: LocalGitHub) -> None:
    assert put(server, "A", b"x" * 49_152) == 201
    assert put(server, "A", b"x" * 49_153) == 422


def test_what_is_not_sealed_under_the_current_key_is_refused(server: LocalGitHub) -> None:
    good = sealed(server, b"value")
    other = base64.b64encode(SealedBox(PrivateKey.generate().public_key).encrypt(b"value")).decode()
    for changed in (
        {"key_id": "1"},
        {"encrypted_value": other},
        {"encrypted_value": "dmFsdWU="},
        {"encrypted_value": "no base64"},
        {"encrypted_value": None},
    ):
        assert ask(server, "PUT", f"{ACTIONS}/secrets/A", json={**good, **changed})[0] == 422
    assert ask(server, "PUT", f"{ACTIONS}/secrets/A", data="{")[0] == 400
    assert ask(server, "PUT", f"{ACTIONS}/secrets/A", json=good)[0] == 201


def test_after_a_rotation_of_keys_the_old_one_is_refused_and_the_values_are_kept(server: LocalGitHub) -> None:
    put(server, "A", b"kept")
    old = sealed(server, b"value")
    server.rotate_keys()
    assert ask(server, "PUT", f"{ACTIONS}/secrets/B", json=old)[0] == 422
    assert put(server, "B") == 201
    assert server.workflow_sees("octo/app", "A") == "kept"


def test_a_hundred_and_first_secret_is_refused(server: LocalGitHub) -> None:
    body = sealed(server, b"value")
    told = [ask(server, "PUT", f"{ACTIONS}/secrets/S{number}", json=body)[0] for number in range(101)]
    assert told == [201] * 100 + [422]


# variables


def test_a_variable_is_made_once_changed_told_and_deleted(server: LocalGitHub) -> None:
    for place in (ACTIONS, PROD):
        assert ask(server, "POST", f"{place}/variables", json={"name": "v", "value": "1"})[0] == 201
        assert ask(server, "POST", f"{place}/variables", json={"name": "V", "value": "2"})[0] == 409
        assert ask(server, "PATCH", f"{place}/variables/v", json={"value": "3"}) == (204, None)
        told = ask(server, "GET", f"{place}/variables/V")[1]
        assert (told["name"], told["value"], sorted(told)) == ("V", "3", ["created_at", "name", "updated_at", "value"])
        assert ask(server, "DELETE", f"{place}/variables/v") == (204, None)
        for method in ("GET", "PATCH", "DELETE"):
            assert ask(server, method, f"{place}/variables/v", json={"value": "4"})[0] == 404


def test_a_variable_that_is_too_large_or_no_text_is_refused(server: LocalGitHub) -> None:
    for value in ("x" * 49_153, 7):
        assert ask(server, "POST", f"{ACTIONS}/variables", json={"name": "V", "value": value})[0] == 422


# lists


def test_lists_come_in_pages_of_a_size_that_has_a_limit(server: LocalGitHub) -> None:
    body = sealed(server, b"value")
    for number in range(35):
        ask(server, "PUT", f"{ACTIONS}/secrets/S{number:02}", json=body)
        ask(server, "POST", f"{ACTIONS}/variables", json={"name": f"V{number:02}", "value": "v"})
    sizes = {"secrets": ("", 30, "?per_page=100", 35), "variables": ("", 10, "?per_page=100", 30)}
    for kind, (plain, first, large, most) in sizes.items():
        for query, size in ((plain, first), (large, most), ("?per_page=0", 1), ("?per_page=x", first)):
            told = ask(server, "GET", f"{ACTIONS}/{kind}{query}")[1]
            assert (told["total_count"], len(told[kind])) == (35, size)
    pages = [ask(server, "GET", f"{ACTIONS}/secrets?per_page=20&page={page}")[1]["secrets"] for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [20, 15, 0]
    assert len({entry["name"] for page in pages for entry in page}) == 35


# who asks, and what


def test_without_the_token_nothing_is_told(server: LocalGitHub) -> None:
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": server.token_file.read_text()}):
        assert ask(server, "GET", f"{ACTIONS}/secrets", headers=header)[0] == 401
    token = server.token_file.read_text()
    assert ask(server, "GET", f"{ACTIONS}/secrets", headers={"Authorization": f"token {token}"})[0] == 200
    nobody = {"Authorization": f"Bearer {token}", "User-Agent": None}
    assert ask(server, "GET", f"{ACTIONS}/secrets", headers=nobody)[0] in (200, 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/repos/octo/other/actions/secrets"),
        ("GET", "/repos/octo/app/environments/absent/secrets"),
        ("GET", "/repos/octo/app"),
        ("GET", f"{ACTIONS}/secrets/A/B"),
        ("POST", f"{ACTIONS}/secrets"),
        ("PATCH", f"{ACTIONS}/secrets/A"),
        ("PUT", f"{ACTIONS}/variables/A"),
    ],
)
def test_what_is_not_there_is_not_found(server: LocalGitHub, method: str, path: str) -> None:
    assert ask(server, method, path)[0] == 404


def test_both_rate_limits_and_a_lack_of_permission_are_told_as_github_tells_them(tmp_path: Path) -> None:
    arguments = (*PLACES, "--hourly-requests=3", "--writes-per-minute=1", "--deny=environments:write")
    with LocalGitHub(tmp_path, free_port(), *arguments) as server:
        header = {"Authorization": f"Bearer {server.token_file.read_text()}", "Content-Type": "application/json"}
        denied = requests.delete(f"{server.api_url}{PROD}/secrets/A", headers=header, timeout=10)
        secondary = requests.delete(f"{server.api_url}{ACTIONS}/secrets/A", headers=header, timeout=10)
        ask(server, "GET", f"{ACTIONS}/secrets")
        primary = requests.get(f"{server.api_url}{ACTIONS}/secrets", headers=header, timeout=10)
    assert (denied.status_code, "retry-after" in denied.headers) == (403, False)
    assert (secondary.status_code, secondary.headers["retry-after"].isdigit()) == (403, True)
    assert (primary.status_code, primary.headers["x-ratelimit-remaining"]) == (403, "0")
    assert primary.headers["x-ratelimit-reset"].isdigit()


# the process


def test_everything_outlasts_a_restart_in_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    server = LocalGitHub(tmp_path / "data", free_port(), *PLACES)
    with server:
        put(server, "A", b"a value of its own")
        before = ask(server, "GET", f"{ACTIONS}/secrets/public-key")
    with server:
        assert ask(server, "GET", f"{ACTIONS}/secrets/public-key") == before
        assert ask(server, "GET", f"{ACTIONS}/secrets/A")[0] == 200
    kept = [path for path in server.directory.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert not [path.name for path in kept if b"a value of its own" in path.read_bytes()]


def run(port: int, data: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "local.emulators.github", f"--port={port}", f"--data={data}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_says_when_it_is_ready_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    with run(free_port(), tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_told_in_one_line(server: LocalGitHub, tmp_path: Path) -> None:
    with run(server.port, tmp_path / "other") as process:
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert err == f"github: can't serve on 127.0.0.1:{server.port}: Address already in use\n"
