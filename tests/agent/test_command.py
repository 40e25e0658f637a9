"""`keyturn agent` under a supervisor, over a real hub with least rights."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from standardwebhooks import Webhook

from keyturn.core.notifications.notices import NOTICE_PATH, SECRET_REVOKED, SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import SecretFields
from local.support.ports import free_port
from tests.cli.command import SCRIPT, surroundings
from tests.support.agent import ask
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.offline import add_generation
from tests.support.people import Person, program

WEBHOOK_KEY = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
REGION = "eu-central-1"
DOCUMENT = Path(__file__).parents[2] / "docs" / "agent.md"


@dataclass
class Host:
    """A host with an agent: what it may read lies in one folder of the hub."""

    lab: Lab
    folder: str
    directory: Path
    env: dict[str, str]
    login: Person

    @property
    def path(self) -> str:
        return f"{self.folder}/database"

    def write(self, password: str, path: str | None = None) -> int:
        info = self.lab.hub.describe(path or self.path)
        cas = info.version if info else 0
        return self.lab.hub.write(path or self.path, SecretFields({"password": password}), cas=cas)

    @property
    def token_file(self) -> Path:
        return self.directory / "token"

    def declare(self, **others: str) -> None:
        """A catalogue that pushes the secret to AWS, under names of there; other secrets by their classification."""
        secret = {
            "owner": "shop@example.com",
            "classification": "internal",
            "rotation": {"strategy": "manual"},
            "destinations": [
                {"store": "aws", "name": "prod/db"},
                {"store": "aws", "name": "prod/db-password", "field": "password"},
            ],
        }
        store = {"kind": "aws-secrets-manager", "region": REGION}
        secrets = {self.path: secret}
        for path, classification in others.items():
            secrets[path] = {**secret, "classification": classification, "destinations": []}
        text = yaml.safe_dump({"stores": {"aws": store}, "secrets": secrets})
        (self.directory / "catalogue").mkdir()
        (self.directory / "catalogue" / "all.yaml").write_text(text)

    @contextmanager
    def agent(self, *options: str) -> Iterator["Running"]:
        port = free_port()
        words = [*SCRIPT, "agent", "--port", str(port), "--token-file", str(self.token_file), *options]
        log = self.directory / "log"
        with log.open("w") as stream:
            process = subprocess.Popen(words, env=self.env, stdout=subprocess.DEVNULL, stderr=stream)
        try:
            assert eventually(lambda: "ready:" in log.read_text() or process.poll() is not None, 60), log.read_text()
            assert process.poll() is None, log.read_text()
            yield Running(self, process, f"http://127.0.0.1:{port}", log)
        finally:
            process.kill()
            process.wait()


@dataclass
class Running:
    """An agent that serves."""

    host: Host
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def headers(self) -> dict[str, str]:
        return {"X-Aws-Parameters-Secrets-Token": self.host.token_file.read_text().strip()}

    def get(self, secret_id: str, **parameters: str) -> Any:
        answer = ask(
            f"{self.url}/secretsmanager/get", params={"secretId": secret_id, **parameters}, headers=self.headers()
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def password(self) -> Any:
        return json.loads(self.get(self.host.path)["SecretString"])["password"]


@pytest.fixture
def host(lab: Lab, tmp_path: Path) -> Host:
    folder = fresh()
    rules = f"""
path "secret/data/{folder}/*" {{ capabilities = ["read"] }}
path "keyturn/data/webhooks/{folder}" {{ capabilities = ["read"] }}
"""
    login = program(lab, "agent", rules=rules)
    lab.keep(f"webhooks/{folder}", {"key": WEBHOOK_KEY})
    files = {"KEYTURN_HUB_ROLE_ID_FILE": login.role, "KEYTURN_HUB_SECRET_ID_FILE": login.secret}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    hub = {"VAULT_ADDR": lab.world.hub_address, "VAULT_CACERT": str(lab.world.hub_ca)}
    env = surroundings(tmp_path / "home", **hub, **{name: str(tmp_path / name) for name in files})
    made = Host(lab, folder, tmp_path, env, login)
    made.write("first-value")
    return made


def test_an_agent_from_its_start_to_its_end(host: Host) -> None:
    host.declare()
    socket_file = host.directory / "socket"
    options = ("--webhook-key", f"webhooks/{host.folder}", "--catalogue", str(host.directory / "catalogue"))
    source, configuration, copy = (host.directory / name for name in ("app.j2", "app.conf", "copy"))
    source.write_text(f'password = {{{{ secret("{host.path}").password | toml }}}}\n')
    template = ("--template", f"{source}:{configuration}:cp {configuration} {copy}")
    with host.agent(*options, *template, "--socket", str(socket_file), "--access-log") as agent:
        assert configuration.stat().st_mode & 0o777 == 0o600
        assert configuration.read_text() == copy.read_text() == 'password = "first-value"\n'
        assert host.token_file.stat().st_mode & 0o777 == 0o600
        assert socket_file.stat().st_mode & 0o777 == 0o600
        assert agent.password() == "first-value"
        assert by_socket(socket_file, host.path, agent.headers()).startswith(b"HTTP/1.1 200")

        assert run_example(agent)["password"] == "first-value"

        # Programs that asked AWS's agent go on with its names, and its ARNs.
        assert agent.get("prod/db-password")["SecretString"] == "first-value"
        arn = f"arn:aws:secretsmanager:{REGION}:111122223333:secret:prod/db-a1B2c3"
        document = agent.get(arn)
        assert (document["ARN"], document["Name"]) == (arn, "prod/db")
        assert document["SecretString"] == '{"password":"first-value"}'

        # What was noticed is not given any more once the notice is acknowledged.
        version = host.write("second-value")
        assert agent.password() == "first-value"
        assert notice(agent, host.path, version) == 200
        assert agent.password() == "second-value"
        assert configuration.read_text() == copy.read_text() == 'password = "second-value"\n'
        assert notice(agent, host.path, version, key="whsec_" + "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI=") == 401

        # Another token in the file is taken up at SIGHUP.
        before = agent.headers()
        host.token_file.write_text("another-token-of-this-host\n")
        agent.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "reloaded" in agent.log.read_text())
        assert agent.password() == "second-value"
        assert ask(f"{agent.url}/v1/{host.path}", headers=before).status_code == 403

        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(30) == 0
        assert not socket_file.exists()
    written = agent.log.read_text()
    assert written.splitlines()[-1] == "ended"
    assert f"was given {host.path}, version 2" in written
    assert not any(text in written for text in ("first-value", "second-value", *before.values()))


@pytest.mark.attack
def test_an_agent_that_begins_in_an_outage_gives_what_may_be_given_and_never_what_was_revoked(host: Host) -> None:
    directory, key = host.directory / "offline", host.directory / "key"
    add_generation(key)
    card, revoked, printer = (f"{host.folder}/{name}" for name in ("card", "revoked", "printer"))
    versions = {path: host.write("value-of-it", path) for path in (card, revoked, printer)}
    host.declare(**{card: "restricted", revoked: "internal"})
    kept = ("--offline", str(directory), "--offline-key", f"file:{key}", "--restricted", f"{host.folder}/print*")
    options = (*kept, "--catalogue", str(host.directory / "catalogue"), "--webhook-key", f"webhooks/{host.folder}")
    with host.agent(*options) as agent:
        for path in (card, printer, revoked, host.path):
            agent.get(path)
        assert eventually((directory / "secrets").exists)
        assert notice(agent, revoked, versions[revoked], event=SECRET_REVOKED, replaced=False) == 200
        # It is killed here.
    host.env["VAULT_ADDR"] = f"https://127.0.0.1:{free_port()}"
    with host.agent(*options) as agent:
        assert agent.password() == "first-value"
        for path in (card, printer, revoked):
            assert ask(f"{agent.url}/v1/{path}", headers=agent.headers()).status_code == 502
    everything = [file.read_bytes() for file in directory.iterdir()] + [agent.log.read_bytes()]
    assert not any(value in content for content in everything for value in (b"first-value", b"value-of-it"))


def run_example(agent: Running) -> Any:
    """The secret as the document's example reads it."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    there = {
        "http://127.0.0.1:2773": agent.url,
        "/run/keyturn/agent-token": str(agent.host.token_file),
        "ml-training/database": agent.host.path,
    }
    for example, real in there.items():
        assert example in code
        code = code.replace(example, real)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)  # noqa: S102  our own document
    return names["secret"]


def by_socket(file: Path, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET /v1/{path} HTTP/1.1", "Host: agent", "Connection: close"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(file))
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return b"".join(iter(lambda: client.recv(65_536), b""))


def notice(
    agent: Running,
    path: str,
    version: int,
    key: str = WEBHOOK_KEY,
    event: str = SECRET_ROTATED,
    *,
    replaced: bool = True,
) -> int:
    """The status that a signed notice is answered with."""
    now = datetime.now(UTC)
    made, message = Notice(event, path, version, now, replaced=replaced), message_id(path, version, event)
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(key).sign(message, now, made.to_json()),
    }
    return ask(agent.url + NOTICE_PATH, "POST", data=made.to_json(), headers=headers).status_code
