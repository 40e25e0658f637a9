"""`keyturn login` and `keyturn logout` with a real hub and an OIDC provider."""

import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.cli.setup import callback
from keyturn.cli.setup.callback import Callback, awaited_state
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import LOGIN_VARIABLES
from local.support.ports import free_port
from tests.manual.lines import lines_of
from tests.support.issuers import CLIENT, Provider
from tests.support.lab import Lab, fresh


class Person:
    """Somebody at a terminal, with a home and a browser."""

    def __init__(self, lab: Lab, provider: Provider, home: Path) -> None:
        self.lab, self.home, self.port, self.mount = lab, home, free_port(), f"oidc-{fresh()}"
        self.file, root = home / ".vault-token", lab.root
        self.visits: list[requests.Response] = []
        root.sys.enable_auth_method("oidc", path=self.mount)
        config = {"oidc_discovery_url": provider.url, "oidc_client_id": CLIENT, "oidc_client_secret": provider.secret}
        root.write_data(f"auth/{self.mount}/config", data={**config, "default_role": "oncall"})
        root.sys.create_or_update_policy("oncall", 'path "secret/*" { capabilities = ["read"] }')
        self.allow(f"http://localhost:{self.port}/oidc/callback")

    def allow(self, back: str) -> None:
        """Where the role lets people come back to."""
        role = {"user_claim": "sub", "bound_audiences": CLIENT, "token_policies": "oncall"}
        data = {**role, "allowed_redirect_uris": back}
        self.lab.root.write_data(f"auth/{self.mount}/role/oncall", data=data)

    def runs(self, *arguments: str) -> Result:
        """A command of theirs."""
        return CliRunner().invoke(app, arguments)

    def logs_in(self, *more: str) -> Result:
        """Through the browser, which signs them in at once, as the page says; the mount and the port are one's own."""
        (line,) = lines_of("own-vault-and-clouds.md", "keyturn login")
        return self.runs(*line.split()[1:], "--path", self.mount, "--port", str(self.port), *more)

    def visit(self, page: str) -> None:
        """What a browser does with the page; one in the terminal does not return before it has."""
        self.visits.append(requests.get(page, timeout=10))

    def hub(self) -> VaultHub:
        """The hub as every command opens it."""
        return VaultHub(HubSettings.from_environment())

    def token_lives(self, token: str) -> bool:
        """Whether the hub takes a token."""
        answer = requests.get(
            f"{self.lab.world.hub_address}/v1/auth/token/lookup-self", headers={"X-Vault-Token": token}, timeout=10
        )
        return answer.status_code == 200


@pytest.fixture
def provider(httpserver: HTTPServer) -> Provider:
    return Provider(httpserver)


@pytest.fixture
def person(lab: Lab, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    for name in ("VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT", *LOGIN_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    made = Person(lab, provider, tmp_path)
    monkeypatch.setattr("webbrowser.open", made.visit)
    return made


def test_a_person_logs_in_through_the_browser_and_every_command_finds_it(person: Person) -> None:
    result = person.logs_in()
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"logged in as {person.mount}-alice\n"
    assert stat.S_IMODE(person.file.stat().st_mode) == 0o600
    assert person.file.read_text() not in result.output
    with closing(person.hub()) as hub:
        assert hub.read("ml-training/database") is not None
        identity = hub.identity()
    assert identity.entity_id
    assert identity.display_name == f"{person.mount}-alice"
    assert [file.name for file in person.home.iterdir()] == [".vault-token"]


def test_logging_out_ends_the_token_and_removes_it(person: Person) -> None:
    person.logs_in()
    token = person.file.read_text()
    assert person.token_lives(token)
    result = person.runs("logout")
    assert result.exit_code == 0
    assert result.stdout == "logged out\n"
    assert not person.token_lives(token)
    assert not person.file.exists()
    assert "no one is logged in" in person.runs("logout").stderr


def test_a_token_that_has_ended_is_only_removed(person: Person) -> None:
    person.logs_in()
    person.lab.root.auth.token.revoke(person.file.read_text())
    result = person.runs("logout")
    assert result.exit_code == 0
    assert "does not take the token any more" in result.stderr
    assert not person.file.exists()


def test_a_token_that_can_not_be_ended_now_stays(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.logs_in()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{free_port()}")
    result = person.runs("logout")
    assert result.exit_code == 1
    assert "the hub does not answer" in result.stderr
    assert person.file.exists()


def test_a_token_that_no_login_has_made_is_not_ended(person: Person) -> None:
    person.file.write_text(person.lab.world.hub_token)
    person.file.chmod(0o600)
    result = person.runs("logout")
    assert result.exit_code == 1
    assert "not by a login" in result.stderr
    assert person.token_lives(person.lab.world.hub_token)


def test_a_password_is_asked_for_unseen_and_taken_from_nowhere_else(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, password = f"userpass-{fresh()}", fresh()
    person.lab.root.sys.enable_auth_method("userpass", path=mount)
    person.lab.root.write_data(f"auth/{mount}/users/alice", data={"password": password})
    told = ("login", "alice", "--method", "userpass", "--path", mount)
    refused = CliRunner().invoke(app, told, input=f"{password}\n")
    assert refused.exit_code == 1
    assert "a password is asked for at a terminal alone" in refused.stderr
    assert not person.file.exists()
    for typed, code in (("wrong", 1), (password, 0)):
        monkeypatch.setattr("keyturn.cli.setup.login.typed_password", lambda typed=typed: Sensitive(typed))
        result = person.runs(*told)
        assert result.exit_code == code, result.stderr
        assert password not in result.output
    assert result.stdout == f"logged in as {mount}-alice\n"


def test_a_role_or_an_address_that_is_not_allowed_is_named(person: Person) -> None:
    result = person.logs_in("--role", "nobody")
    assert result.exit_code == 1
    assert "the role nobody" in result.stderr
    assert "allowed_redirect_uris" in result.stderr
    person.allow("https://hub.example.com/callback")
    result = person.logs_in()
    assert result.exit_code == 1
    assert f"allowed_redirect_uris in the hub have http://localhost:{person.port}/oidc/callback" in result.stderr
    assert not person.file.exists()


def test_what_comes_before_the_login_is_said(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_HUB_ROLE_ID_FILE", "/etc/keyturn/role-id")
    result = person.logs_in()
    assert result.exit_code == 0
    assert "KEYTURN_HUB_ROLE_ID_FILE is set: commands go by that, and not by this login" in result.stderr


def test_a_link_in_the_tokens_place_is_replaced_and_not_followed(person: Person) -> None:
    (person.home / "elsewhere").write_text("precious")
    person.file.symlink_to(person.home / "elsewhere")
    assert person.logs_in().exit_code == 0
    assert not person.file.is_symlink()
    assert (person.home / "elsewhere").read_text() == "precious"


def test_a_token_that_can_not_be_kept_is_ended(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: list[str] = []

    def full(file: str, token: Sensitive) -> None:
        tokens.append(token.reveal())
        raise OSError(28, "No space left on device", file)

    monkeypatch.setattr("keyturn.providers.vault.logins.files.write_own", full)
    result = person.logs_in()
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert not person.token_lives(tokens[0])


# --- where the browser comes back to -----------------------------------------------------------------------

PAGE = "https://login.example.com/authorize?" + urlencode({"state": "the-state-of-this-login", "nonce": "n"})


@pytest.fixture
def listening() -> Iterator[Callback]:
    made = Callback(free_port())
    yield made
    made.close()


def answers(page: Callback, *queries: dict[str, str]) -> Callable[[str], None]:
    """A browser that comes back with each of these, one after another."""

    def visit(_: str) -> None:
        for query in queries:
            requests.get(f"{page.url}?{urlencode(query)}", timeout=10)

    return visit


@pytest.mark.attack
def test_an_answer_with_another_state_is_refused(listening: Callback) -> None:
    right = {"state": "the-state-of-this-login", "code": "right"}
    browser = answers(listening, {"state": "forged", "code": "of-an-attacker"}, {"code": "x"}, {}, right)
    assert listening.wait(PAGE, browser) == right


def test_nobody_is_waited_for_without_end(listening: Callback) -> None:
    with pytest.raises(Unavailable, match="no sign-in came back"):
        listening.wait(PAGE, answers(listening, {"state": "forged", "code": "x"}), timeout=0.5)


def test_a_no_of_the_identity_provider_ends_it(listening: Callback) -> None:
    no = {"state": "the-state-of-this-login", "error": "access_denied", "error_description": "\x1b[2Jno"}
    with pytest.raises(Denied, match="did not sign you in"):
        listening.wait(PAGE, answers(listening, no))


@pytest.mark.parametrize(
    "page",
    [
        "file:///etc/passwd?state=the-state-of-this-login",
        "javascript:alert(1)?state=the-state-of-this-login",
        "https:///nowhere?state=the-state-of-this-login",
        "https://login.example.com/authorize",
        "https://login.example.com/?state=short",
        "https://login.example.com/\x1b[2J?state=the-state-of-this-login",
    ],
)
@pytest.mark.attack
def test_a_page_that_a_hub_should_not_send_people_to_is_not_opened(page: str) -> None:
    with pytest.raises(Invalid, match="the page that it sends people to"):
        awaited_state(page)


def test_it_listens_on_loopback_alone_and_says_where_the_port_is_taken(listening: Callback) -> None:
    assert listening._server.server_address[0] == "127.0.0.1"
    with pytest.raises(Unavailable, match="--port"):
        Callback(int(listening._server.server_address[1]))
    assert callback.TIMEOUT <= 600
    assert re.fullmatch(r"http://localhost:\d+/oidc/callback", listening.url)
    assert parse_qs(urlsplit(PAGE).query)["state"] == [awaited_state(PAGE)]
