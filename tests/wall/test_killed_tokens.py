"""A leaked token is sent only to its own service, and shown in no output."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import pytest
import urllib3.util.connection
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.emergencies import kill
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.tokens.library import load_formats
from local.emulators.recipes.matching import Received
from local.emulators.recipes.server import RecipeServer, base_of
from local.emulators.tokens import IssuedTokens
from tests.support.leaked_tokens import make_token
from tests.support.liar import HUGE, SLOW, Behaviour, Liar, answers_in_turn, redirects_to

FORMATS = load_formats()
ENDED = sorted(name for name, each in FORMATS.items() if each.end)
UNNAMED = [name for name in ENDED if not FORMATS[name].named_only and not FORMATS[name].asks_host]
GITHUB, BUILDKITE, SLACK = "github-personal-access-token", "buildkite-api-token", "slack-bot-token"
WAIT = 0.5
"""Seconds that a service has to answer."""

runner = CliRunner()


def keyturn(*arguments: str, given: str) -> Result:
    return runner.invoke(app, ["kill", "--stdin", "--yes", *arguments], input=given)


def results(result: Result) -> list[str]:
    return [each["result"] for each in json.loads(result.stdout)["tokens"]]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, no catalogue, no waiting; a ledger on this machine."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "KEYTURN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keyturn.tokens.ending.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("keyturn.tokens.ending.ATTEMPTS", 1)


@contextmanager
def leading_to(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every API is at this server, below a path of its host's name."""

    def open_api(address: str, ca_file: str | None) -> HttpApi:
        place, timeout = url + base_of(address), timedelta(seconds=WAIT)
        return HttpApi("api", url=place, admin=lambda: SecretFields({}), ca_file=ca_file, timeout=timeout)

    with monkeypatch.context() as patched:
        patched.setattr(kill, "open_api", open_api)
        yield


# --- where a token goes


def hosts_of(name: str, named: str) -> set[str]:
    """The hosts that the format's data names."""
    each = FORMATS[name]
    urls = {each.address(named), *([each.address(named, each.prove.url)] if each.prove else [])}
    return {urlsplit(url).netloc for url in urls}


def parts_of(name: str, text: str) -> list[str]:
    """What a request may carry of a token: the whole, or its secret part."""
    return [text, text.rpartition("/")[2]] if name == "discord-webhook" else [text]


def carries(received: Received, parts: list[str]) -> bool:
    whole = " ".join([received.path, *received.headers.values(), received.body.decode()])
    return any(part in whole or part in unquote_plus(whole) for part in parts)


@pytest.mark.parametrize("given_with_others", [True, False], ids=["with others", "alone"])
def test_a_token_is_sent_to_the_hosts_of_its_own_format_alone(
    given_with_others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = IssuedTokens(FORMATS)
    texts = {name: make_token(FORMATS[name]) for name in (UNNAMED if given_with_others else ENDED)}
    for name, text in texts.items():
        service.issue(name, text)
    with RecipeServer(service) as server, leading_to(server.url, monkeypatch):
        if given_with_others:
            keyturn(given="\n".join(texts.values()))
        for name, text in texts.items() if not given_with_others else ():
            host = ("--host", service.host) if FORMATS[name].asks_host and not FORMATS[name].hosts else ()
            host = ("--host", "acme.okta.com") if FORMATS[name].hosts else host
            service.host = host[1] if host else service.host
            keyturn("--format", name, *host, given=text)
    for name, text in texts.items():
        reached = {each.path.split("/")[1][1:] for each in service.received if carries(each, parts_of(name, text))}
        named = "acme.okta.com" if FORMATS[name].hosts else "self-hosted.example.com"
        expected = hosts_of(name, named) | hosts_of(name, "acme.okta.com")
        assert reached
        assert reached <= expected, name


@pytest.mark.parametrize("name", UNNAMED)
def test_the_only_connection_is_to_the_formats_host_at_the_port_of_tls(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(urllib3.util.connection, "create_connection", refuse)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://proxy.example.net:3128")
    result = keyturn("--json", given=make_token(FORMATS[name]))
    assert results(result) == ["not ended"]
    assert set(reached) <= {(host, 443) for host in hosts_of(name, "")}
    assert reached


def test_a_token_of_a_self_hosted_service_is_sent_nowhere_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    service = IssuedTokens(FORMATS)
    asking = [name for name in ENDED if FORMATS[name].asks_host and not FORMATS[name].named_only]
    with RecipeServer(service) as server, leading_to(server.url, monkeypatch):
        result = keyturn("--json", given="\n".join(make_token(FORMATS[name]) for name in asking))
    assert set(results(result)) == {"not ended"}
    assert service.received == []


def test_a_host_is_never_given_the_tokens_of_two_services(monkeypatch: pytest.MonkeyPatch) -> None:
    service = IssuedTokens(FORMATS)
    tokens = [make_token(FORMATS[name]) for name in ("vault-token", "gitlab-personal-access-token")]
    with RecipeServer(service) as server, leading_to(server.url, monkeypatch):
        assert keyturn("--host", service.host, given="\n".join(tokens)).exit_code == 2
    assert service.received == []


@pytest.mark.parametrize("name", [GITHUB, BUILDKITE, SLACK])
def test_a_redirect_takes_a_token_nowhere_and_ends_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Liar(answers_in_turn(lambda *_: {"ok": True, "revoked": True})) as thief,
        Liar(redirects_to(thief.url)) as server,
        leading_to(server.url, monkeypatch),
    ):
        result = keyturn("--json", given=make_token(FORMATS[name]))
    assert results(result) == ["not ended"]
    assert thief.requests == []


def test_a_wrong_host_that_refuses_every_token_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who named another host than the token's own would believe that it is dead."""
    token = make_token(FORMATS["gitlab-personal-access-token"])
    with RecipeServer(IssuedTokens(FORMATS)) as server, leading_to(server.url, monkeypatch):
        result = keyturn("--json", "--host", "self-hosted.example.com", given=token)
    assert results(result) == ["not ended"]
    assert "belongs to another host of GitLab" in result.stdout


def test_a_token_of_an_enterprise_server_is_not_proven_dead_by_github(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecipeServer(IssuedTokens(FORMATS)) as server, leading_to(server.url, monkeypatch):
        result = keyturn("--json", given=make_token(FORMATS[GITHUB]))
    assert results(result) == ["not ended"]
    assert "belongs to a GitHub Enterprise Server" in result.stdout


# --- a service that lies


def page(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A page to log in at, as a portal answers everything."""
    body = b"<!doctype html><title>Sign in</title>revoked"
    liar.send(
        connection, b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )


LIES: list[Behaviour] = [
    page,
    answers_in_turn(lambda *_: {"ok": False, "error": "internal_error"}),
    answers_in_turn(lambda *_: {"ok": True, "revoked": False}),
    answers_in_turn(lambda *_: {"errors": [{"message": "no"}]}),
    answers_in_turn(lambda *_: []),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [GITHUB, SLACK, "buildkite-api-token"])
@pytest.mark.parametrize("lie", [*LIES, *SLOW, *HUGE[1:3]])
def test_a_false_answer_does_not_count_as_a_revoked_token(
    name: str, lie: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.providers.outbound.LARGEST_ANSWER", 1 << 20)
    token = make_token(FORMATS[name])
    with Liar(lie) as server, leading_to(server.url, monkeypatch):
        result = keyturn("--json", given=token)
    assert result.exit_code == 1
    assert results(result) == ["not ended"]
    assert token not in result.output


# --- where a token is shown


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_token_is_shown_logged_and_recorded_nowhere(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    service, text = IssuedTokens(FORMATS), make_token(FORMATS[name])
    service.issue(name, text) if FORMATS[name].end else None
    host = ("--host", "acme.okta.com" if FORMATS[name].hosts else service.host) if FORMATS[name].asks_host else ()
    service.host = host[1] if host else service.host
    with RecipeServer(service) as server, leading_to(server.url, monkeypatch):
        for more in (["--json"], ["--preview"], []):
            result = keyturn("--format", name, *host, *more, given=text)
            shown = [result.output, caplog.text]
            kept = [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
            for part in parts_of(name, text):
                assert not any(part in each for each in (*shown, *kept))
                assert not any(part[-16:] in each for each in (*shown, *kept))
    assert (tmp_path / "ledger.db.spool").exists()


def test_a_failure_that_no_one_foresaw_shows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: HttpApi, *_: object, **__: object) -> None:
        raise RuntimeError(f"cannot use {token}")

    token = make_token(FORMATS[BUILDKITE])
    monkeypatch.setattr(HttpApi, "call", fail)
    result = keyturn(given=token)
    assert result.exit_code == 1
    assert "unexpected RuntimeError" in result.output
    assert token not in result.output


def test_a_short_value_is_not_shown_by_a_guessable_hash() -> None:
    result = keyturn("--json", given="hunter2")
    (made,) = json.loads(result.stdout)["tokens"]
    assert (made["result"], made["sha256"]) == ("not recognised", "")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("text", ["ghp_\x1b[2J", "\x00", "=cmd|' /C calc'!A0", "{{token}}", "\ud800", "x" * 100_000])
def test_a_line_without_a_token_does_not_change_the_output(text: str) -> None:
    result = keyturn("--json", given=f"{text}\n".encode("utf-8", "surrogatepass").decode("latin-1"))
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "not recognised" in result.output
