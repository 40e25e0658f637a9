"""The agent returns a secret only if the caller's own token may read it."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests
import trustme
from typer import BadParameter

from keyturn.agent import http
from keyturn.agent.application import Agent
from keyturn.agent.caller_auth import HubEntrance, LocalEntrance
from keyturn.agent.decisions import WAITING, Decisions
from keyturn.agent.plain_names import PlainNames
from keyturn.agent.sockets import open_at, open_file, server_tls
from keyturn.agent.token_file import read_token, token_from
from keyturn.cli import INHERITED
from keyturn.cli.programs.agent_templates import run_command, templates_of
from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.client.sources import HubSource
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.ports.callers import Permit
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.vault.callers import VaultCallers
from tests.cli.command import run_keyturn, surroundings
from tests.support.agent import HEADERS, TOKEN, ask, serving
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.served import MemorySource, secret

pytestmark = pytest.mark.sampled(3, of="file")

FORBIDDEN = "nobody-else-reads-this"


class Callers:
    """A hub that lets tokens read what it is told."""

    def __init__(self, **rights: Permit) -> None:
        self.rights = rights
        self.away = False
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def permit(self, token: Sensitive, path: str) -> Permit:
        self.asked.append(path)
        self.gate.wait(30)
        if self.away:
            raise Unavailable("read", path, "the hub does not answer")
        if token.reveal() not in self.rights:
            raise Denied("read", path, "the hub denies it")
        return self.rights[token.reveal()]


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1)


@pytest.fixture
def client(source: MemorySource) -> Iterator[SecretClient]:
    with SecretClient([source], poll=0) as client:
        client.get("a")
        yield client


@pytest.fixture
def agent(client: SecretClient) -> Agent:
    return Agent(client, PlainNames)


def tls_of(directory: Path) -> tuple[ssl.SSLContext, str]:
    """A server's TLS for localhost, and the file of whoever signed its certificate."""
    authority, certificate, key = trustme.CA(), directory / "cert.pem", directory / "key.pem"
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return server_tls(certificate, key), str(directory / "ca.pem")


def asks(url: str, path: str, token: str) -> requests.Response:
    return ask(f"{url}/secretsmanager/get", params={"secretId": path}, headers={"X-Vault-Token": token})


# --- whoever has a login of their own


def test_a_cached_value_is_returned_only_to_callers_that_the_hub_allows(lab: Lab, tmp_path: Path) -> None:
    """A regional cache over the real hub: two callers, one of which is denied; TLS; a token that is revoked."""
    folder = fresh()
    allowed, forbidden = f"{folder}/allowed", f"{folder}/forbidden"
    lab.hub.write(allowed, SecretFields({"password": "for-the-team"}), cas=0)
    lab.hub.write(forbidden, SecretFields({"password": FORBIDDEN}), cas=0)
    lab.root.sys.create_or_update_policy(folder, f'path "secret/data/{allowed}" {{ capabilities = ["read"] }}')
    tokens = [
        lab.root.auth.token.create(policies=policies, ttl="1h")["auth"]["client_token"]
        for policies in ([folder], ["default"])
    ]
    tls, ca = tls_of(tmp_path)
    clock = Seconds()
    with SecretClient([HubSource(lab.hub)], poll=0) as client:
        client.warm([allowed, forbidden])
        agent = Agent(client, PlainNames)
        decisions = Decisions(VaultCallers(lab.hub), agent.ask, 30.0, clock=clock)
        with serving(agent, HubEntrance(decisions), lambda: tls) as url, requests.Session() as session:

            def status(path: str, token: str) -> tuple[int, str]:
                answer = session.get(
                    f"{url}/secretsmanager/get",
                    params={"secretId": path},
                    headers={"X-Vault-Token": token},
                    timeout=60,
                    verify=ca,
                )
                assert FORBIDDEN not in answer.text
                return answer.status_code, str(answer.json().get("__type", ""))

            assert status(allowed, tokens[0]) == (200, "")
            assert status(allowed, tokens[1]) == (400, "AccessDeniedException")
            assert status(forbidden, tokens[0]) == (400, "AccessDeniedException")
            assert status(allowed, "s.never-was-one") == (400, "AccessDeniedException")
            for trick in tricks(allowed, forbidden):
                assert status(trick, tokens[0])[0] == 400, trick
                raw = session.get(f"{url}/v1/{trick}", headers={"X-Vault-Token": tokens[0]}, timeout=60, verify=ca)
                assert raw.status_code in (400, 404), trick
                assert FORBIDDEN not in raw.text

            # What is taken back is believed no longer than was said.
            lab.root.auth.token.revoke(tokens[0])
            assert status(allowed, tokens[0]) == (200, "")
            clock.now += 31
            assert status(allowed, tokens[0]) == (400, "AccessDeniedException")


def tricks(allowed: str, forbidden: str) -> list[str]:
    """Names that a careless reader takes for another path than whoever checks them."""
    folder, _, last = forbidden.partition("/")
    return [
        f"{allowed}/../{last}",
        f"{allowed}/..%2f{last}",
        f"{folder}/./{last}",
        f"{folder}//{last}",
        f"{folder}/%66orbidden",
        f"{folder}\\{last}",
        f"/{forbidden}",
        f"{forbidden}/",
        f"{forbidden}?version=1",
        f"{forbidden}#",
        f"{forbidden}\x00",
        f"{forbidden}\n",
        f" {forbidden}",
        forbidden.upper(),
        f"{folder}/*",
        f"{folder}/+",
        f"../data/{forbidden}",
        "a" * 600,
    ]


def test_a_denial_is_cached_briefly_and_a_permission_a_little_longer(agent: Agent) -> None:
    callers, clock = Callers(mine=Permit()), Seconds()
    with serving(agent, HubEntrance(Decisions(callers, agent.ask, 30.0, clock=clock))) as url:
        for _ in range(3):
            assert [asks(url, "a", token).status_code for token in ("mine", "other")] == [200, 400]
        assert len(callers.asked) == 2
        callers.rights = {"other": Permit()}
        clock.now += 6
        assert [asks(url, "a", token).status_code for token in ("mine", "other")] == [200, 200]
        clock.now += 25
        assert asks(url, "a", "mine").status_code == 400


def test_a_decision_lasts_no_longer_than_the_token_and_one_for_a_single_use_not_at_all(agent: Agent) -> None:
    callers, clock = Callers(short=Permit(2.0), once=Permit(0.0)), Seconds()
    with serving(agent, HubEntrance(Decisions(callers, agent.ask, 30.0, clock=clock))) as url:
        assert asks(url, "a", "short").status_code == 200
        assert [asks(url, "a", "once").status_code for _ in range(2)] == [200, 200]
        assert len(callers.asked) == 3
        callers.rights = {}
        clock.now += 3
        assert asks(url, "a", "short").status_code == 400
        assert asks(url, "a", "once").status_code == 400


def test_a_token_that_is_bound_to_other_addresses_is_refused(agent: Agent) -> None:
    """The hub sees the agent's address, and would let it pass."""
    callers = Callers(here=Permit(networks=("127.0.0.0/8",)), elsewhere=Permit(networks=("10.0.0.0/8", "nonsense")))
    with serving(agent, HubEntrance(Decisions(callers, agent.ask))) as url:
        assert asks(url, "a", "here").status_code == 200
        for _ in range(2):
            assert asks(url, "a", "elsewhere").json()["__type"] == "AccessDeniedException"


def test_while_rights_can_not_be_checked_every_read_is_refused(agent: Agent, client: SecretClient) -> None:
    callers = Callers(mine=Permit())
    callers.away = True
    with serving(agent, HubEntrance(Decisions(callers, agent.ask))) as url:
        for _ in range(3):
            assert asks(url, "a", "mine").status_code == 502
        assert len(callers.asked) == 1  # it rests meanwhile
    assert client.kept("a") is not None


def test_in_an_outage_the_last_decision_holds_up_to_its_limit_and_the_tokens_end(agent: Agent) -> None:
    callers, clock = Callers(mine=Permit(), short=Permit(40.0), once=Permit(0.0)), Seconds()
    decisions = Decisions(callers, agent.ask, 30.0, lambda path: {"a": 60.0}.get(path, 0.0), clock)
    with serving(agent, HubEntrance(decisions)) as url:
        tokens = ("mine", "short", "once", "other")
        assert [asks(url, "a", token).status_code for token in tokens] == [200, 200, 200, 400]
        assert asks(url, "restricted", "mine").json()["__type"] == "ResourceNotFoundException"
        callers.away = True
        clock.now += 35
        assert [asks(url, "a", token).status_code for token in tokens] == [200, 200, 502, 502]
        assert asks(url, "restricted", "mine").status_code == 502
        clock.now += 10
        assert [asks(url, "a", token).status_code for token in ("mine", "short")] == [200, 502]
        clock.now += 50
        assert asks(url, "a", "mine").status_code == 502
        callers.away, callers.rights = False, {}
        clock.now += 2
        assert asks(url, "a", "mine").json()["__type"] == "AccessDeniedException"


def test_a_caller_that_causes_hub_errors_blocks_no_other(agent: Agent) -> None:
    callers, clock = Callers(mine=Permit()), Seconds()
    decisions = Decisions(callers, agent.ask, 30.0, clock=clock)

    async def both() -> None:
        callers.away = True
        with pytest.raises(Unavailable):
            await decisions.insist(Sensitive("mine"), "a", "10.0.0.1")
        callers.away = False
        with pytest.raises(Unavailable):
            await decisions.insist(Sensitive("mine"), "a", "10.0.0.1")
        await decisions.insist(Sensitive("mine"), "a", "10.0.0.2")

    asyncio.run(both())
    agent.close()


def test_the_hub_is_asked_once_for_all_who_ask_at_the_same_time(agent: Agent) -> None:
    callers = Callers(mine=Permit())
    callers.gate.clear()
    with serving(agent, HubEntrance(Decisions(callers, agent.ask))) as url, ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(asks, url, "a", "mine") for _ in range(20)]
        assert eventually(lambda: callers.asked)
        callers.gate.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert callers.asked == ["a"]


def test_a_flood_of_tokens_does_not_overload_the_hub_or_block_other_programs(agent: Agent) -> None:
    callers = Callers()
    callers.gate.clear()
    tokens = [f"guess-{number}" for number in range(60)]
    with (
        serving(agent, HubEntrance(Decisions(callers, agent.ask))) as url,
        serving(agent, LocalEntrance(TOKEN)) as local,
        ThreadPoolExecutor(60) as pool,
    ):
        guesses = [pool.submit(asks, url, "a", token) for token in tokens]
        assert eventually(lambda: sum(guess.done() for guess in guesses) == 60 - WAITING)
        assert ask(f"{local}/secretsmanager/get?secretId=a&refreshNow=1", headers=HEADERS).status_code == 200
        callers.gate.set()
        kinds = [guess.result().json()["__type"] for guess in guesses]
    assert kinds.count("ThrottlingException") == 60 - WAITING
    assert kinds.count("AccessDeniedException") == WAITING


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Vault-Token": ""},
        {"X-Vault-Token": "two words"},
        {"X-Vault-Token": "x" * 5000},
        {"X-Vault-Token": "mine", "X-Aws-Parameters-Secrets-Token": "mine"},
        {"X-Vault-Token": "mine", "X-Forwarded-For": "10.0.0.1"},
    ],
)
def test_a_request_without_exactly_one_token_never_reaches_the_hub(agent: Agent, headers: dict[str, str]) -> None:
    callers = Callers(mine=Permit())
    with serving(agent, HubEntrance(Decisions(callers, agent.ask))) as url:
        assert ask(f"{url}/v1/a", headers=headers).status_code in (400, 403)
        for numbers in ("statistics", "metrics"):
            assert ask(f"{url}/{numbers}", headers={"X-Vault-Token": "mine"}).status_code == 404
    assert callers.asked == []


def test_no_token_is_kept_in_memory(agent: Agent) -> None:
    callers = Callers(mine=Permit())
    decisions = Decisions(callers, agent.ask)
    with serving(agent, HubEntrance(decisions)) as url:
        asks(url, "a", "mine")
    assert "mine" not in repr(vars(decisions))


# --- programs of this host


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Aws-Parameters-Secrets-Token": "click slippers"}, 403),
        ({"X-Aws-Parameters-Secrets-Token": TOKEN.reveal()[:-1]}, 403),
        ({**HEADERS, "X-Forwarded-For": "54.239.28.85"}, 400),
        ({**HEADERS, "Host": "rebound.example"}, 421),
        ({**HEADERS, "Host": "127.0.0.1.rebound.example:2773"}, 421),
        ({**HEADERS, "Host": "localhost@rebound.example"}, 421),
    ],
)
def test_requests_of_web_pages_and_of_misled_servers_are_refused(
    agent: Agent, headers: dict[str, str], status: int
) -> None:
    with serving(agent, LocalEntrance(TOKEN)) as url:
        assert ask(f"{url}/v1/a", headers=headers).status_code == status
        assert ask(f"{url}/v1/a", headers={**HEADERS, "Host": "localhost:2773"}).status_code == 200


def test_a_token_file_that_others_can_change_or_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token, place = token_from({}, file)
    assert (place, file.stat().st_mode & 0o777, len(token)) == (str(file), 0o600, 43)
    assert token_from({"AWS_TOKEN": f"file://{file}"}, None) == (token, str(file))
    assert token_from({"AWS_TOKEN": "x" * 40}, file) == (token, str(file))
    assert token_from({"RUNTIME_DIRECTORY": str(tmp_path)}, None)[1] == str(tmp_path / "keyturn-agent-token")
    with pytest.raises(Invalid, match="XDG_RUNTIME_DIR is set"):
        token_from({}, None)
    file.chmod(0o640)
    assert read_token(file) == token
    for mode in (0o660, 0o644, 0o602):
        file.chmod(mode)
        with pytest.raises(Invalid, match="others may write it, or all may read it"):
            read_token(file)
    token_from({}, tmp_path / "of-a-group", 0o640)
    assert (tmp_path / "of-a-group").stat().st_mode & 0o777 == 0o640
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        token_from({}, link)
    with pytest.raises(Invalid, match="16 to 4096 characters"):
        token_from({"AWS_TOKEN": "short"}, None)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Invalid, match="no file"):
        read_token(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("10.0.0.5:8443", "in clear"),
        ("0.0.0.0:8443", "in clear"),
        ("[fd00::5]:8443", "in clear"),
        ("example.com:8443", "no address"),
        ("10.0.0.5", "no address"),
    ],
)
def test_nothing_is_sent_in_clear_to_another_machine(place: str, problem: str) -> None:
    with pytest.raises(Invalid, match=problem):
        open_at(place, tls=False)


def test_it_does_not_listen_on_public_addresses() -> None:
    for place in ("8.8.8.8:8443", "[2606:4700::1111]:8443"):
        with pytest.raises(Invalid, match="public"):
            open_at(place, tls=True)


def test_a_socket_in_use_is_not_taken_over(tmp_path: Path) -> None:
    with open_file(tmp_path / "socket"), pytest.raises(Invalid, match="another process listens there"):
        open_file(tmp_path / "socket")
    with open_file(tmp_path / "socket"):  # nobody does any more
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(Invalid, match="something else"):
        open_file(tmp_path / "file")


def test_the_command_says_what_is_wrong_before_it_serves(tmp_path: Path) -> None:
    env = surroundings(tmp_path / "home", VAULT_ADDR="https://127.0.0.1:1", VAULT_TOKEN="x")
    done = run_keyturn("agent", "--no-local", "--listen", "10.0.0.5:8443", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "in clear to other machines" in done.stderr


def test_a_template_has_a_command_that_the_agent_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "app.j2"
    source.write_text("{{ secret('a').password }}")
    for template in (f"{source}:app.conf", f"{source}:/run/app.conf:restart", f"{source}:/run/app.conf:signal:HUP"):
        with pytest.raises(BadParameter):
            templates_of([template], 0o600)
    log = tmp_path / "log"
    monkeypatch.setitem(INHERITED, "VAULT_TOKEN", "the-agents-own")
    run_command(("sh", "-c", f"env > {log}"))
    assert "PATH=" in log.read_text()
    assert "the-agents-own" not in log.read_text()
    for command in (("false",), (str(tmp_path / "none"),)):
        with pytest.raises(Unavailable):
            run_command(command)


# --- clients that mean ill


def connect(url: str, *sent: bytes) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    for data in sent:
        client.sendall(data)
    return client


def answer_to(url: str, *sent: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with connect(url, *sent) as client:
        return rest_of(client)


def rest_of(client: socket.socket) -> bytes:
    """What comes until the other side is gone."""
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: client.recv(65_536), b""))
    return b""


def test_silent_and_slow_clients_delay_no_others(agent: Agent) -> None:
    with ExitStack() as stack, serving(agent, LocalEntrance(TOKEN), connections=8) as url:
        drips = [stack.enter_context(connect(url, b"GET /v1/a HTTP/1.1\r\nX-Slow: ")) for _ in range(20)]
        silent = [stack.enter_context(connect(url)) for _ in range(20)]
        assert ask(f"{url}/v1/a", headers=HEADERS).status_code == 200
        # The first ones have made room for the last.
        assert (rest_of(drips[0]), rest_of(silent[0])) == (b"", b"")


def test_clients_with_an_unfinished_tls_handshake_delay_no_others(agent: Agent, tmp_path: Path) -> None:
    context, ca = tls_of(tmp_path)
    with ExitStack() as stack, serving(agent, LocalEntrance(TOKEN), lambda: context, connections=4) as url:
        place = url.replace("https://localhost", "http://127.0.0.1")
        silent = [stack.enter_context(connect(place)) for _ in range(10)]
        assert ask(f"{url}/v1/a", headers=HEADERS, verify=ca).status_code == 200
        assert rest_of(silent[0]) == b""


def test_a_slow_request_is_ended(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.2)
    with serving(agent, LocalEntrance(TOKEN)) as url:
        assert answer_to(url, b"GET /v1/a HTTP/1.1\r\n") == b""
        assert answer_to(url) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/a HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000, b"431"),
        (b"GET /" + b"x" * 100_000, b"431"),
        (b"POST /v1/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /v1/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 6\r\n\r\n", b"400"),
        (b"GET /v1/a HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n\r\n", b"400"),
        (b"GET /v1/a HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /v1/a HTTP/1.1\r\nHost : localhost\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"CONNECT rebound.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"403"),
    ],
)
def test_an_ambiguous_request_is_refused(agent: Agent, sent: bytes, status: bytes) -> None:
    with serving(agent, LocalEntrance(TOKEN)) as url:
        assert answer_to(url, sent).startswith(b"HTTP/1.1 " + status)


def test_a_body_has_a_limit(agent: Agent) -> None:
    head = b"POST /v1/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(agent, LocalEntrance(TOKEN)) as url:
        answer = answer_to(url, head, b"10001\r\n" + b"x" * 65_537)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""


class LargeSource(MemorySource):
    """Serves a secret that is no small one."""

    def read(self, path: str) -> Secret:
        return secret(path, text="x" * (16 << 20))


def test_a_client_that_does_not_take_its_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.5)
    request = b"GET /v1/a HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: " + TOKEN.reveal().encode() + b"\r\n\r\n"
    with SecretClient([LargeSource()], poll=0) as client:
        agent = Agent(client, PlainNames)
        with serving(agent, LocalEntrance(TOKEN), connections=1) as url, connect(url, request) as greedy:
            assert greedy.recv(10) == b"HTTP/1.1 2"
            assert eventually(lambda: ask(f"{url}/secretsmanager/get", headers=HEADERS).status_code == 400)
            assert len(rest_of(greedy)) < 16 << 20


def test_too_many_connections_are_refused_and_health_is_still_answered() -> None:
    source = MemorySource(a=1, b=1)
    with SecretClient([source], poll=0) as client:
        agent = Agent(client, PlainNames)
        source.gate.clear()
        with serving(agent, LocalEntrance(TOKEN), connections=2) as url, ThreadPoolExecutor(2) as pool:
            under_way = [pool.submit(ask, f"{url}/v1/{path}", headers=HEADERS) for path in ("a", "b")]
            assert eventually(lambda: len(source.reads) == 2)
            assert ask(f"{url}/v1/a", headers=HEADERS).status_code == 429
            assert ask(f"{url}/ping").text == "healthy"
            source.gate.set()
            assert {answer.result().status_code for answer in under_way} == {200}


def test_refused_requests_do_not_fill_the_log(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    with serving(agent, LocalEntrance(TOKEN)) as url:
        for _ in range(20):
            ask(f"{url}/v1/pasted-hunter2", headers={"X-Vault-Token": "wrong-hunter2"})
            ask(f"{url}/v1/pasted-hunter2", headers=HEADERS)
    assert len(caplog.records) < 10
    assert "hunter2" not in caplog.text
