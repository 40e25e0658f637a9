"""`keyturn proxy` as its manual runs it, over the real hub with the least rights: tools, notices, reloads."""

# ruff: noqa: F811 - a fixture of another file

import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from keyturn.core.notifications.notices import SECRET_REVOKED
from keyturn.core.sensitive import SecretFields
from local.support.ports import free_port
from tests.agent.test_command import Host, Running, host, notice  # noqa: F401  a fixture
from tests.cli.command import SCRIPT
from tests.manual.lines import lines_of
from tests.support.hooks import eventually
from tests.support.upstream import Service, service

DOCUMENT = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
KEYS = {"openai": "sk-openai-live-0123456789", "anthropic": "sk-ant-live-0123456789"}

CLAUDE = """#!{python}
# Sends what Claude Code sends first, with its variables.
import os, sys, requests
headers = {{"authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"], "anthropic-version": "2023-06-01"}}
body = {{"model": "m", "max_tokens": 1, "messages": [{{"role": "user", "content": sys.argv[2]}}]}}
url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages?beta=true"
print(requests.post(url, json=body, headers=headers, timeout=30).text)
"""
OPENAI = """
# The part of the package that the manual uses, with its variables and addresses.
import os, requests

class OpenAI:
    @property
    def chat(self): return self
    completions = chat

    def create(self, **body):
        headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
        url = os.environ["OPENAI_BASE_URL"].rstrip("/") + "/chat/completions"
        return requests.post(url, json=body, headers=headers, timeout=30)
"""


@dataclass
class Proxy(Running):
    """A proxy that serves, with the directory of its placeholders."""

    placeholders: Path

    def placeholder(self, caller: str) -> str:
        return (self.placeholders / caller).read_text().strip()

    def send(self, path: str, caller: str = "trainer", **arguments: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.placeholder(caller)}"}
        return requests.post(f"{self.url}/to/{path}", headers=headers, timeout=30, **arguments)


@contextmanager
def proxying(host: Host, *options: str) -> Iterator[Proxy]:
    """The proxy of the manual's command, in the test's directories."""
    port, placeholders, log = free_port(), host.directory / "placeholders", host.directory / "log"
    (line,) = lines_of("agents.md")
    for example, real in (
        ("/etc/keyturn/catalogue", host.directory / "catalogue"),
        ("/run/keyturn/placeholders", placeholders),
        ("webhooks/proxy", f"webhooks/{host.folder}"),
    ):
        line = line.replace(example, str(real))
    words = [*SCRIPT, *shlex.split(line)[1:], "--port", str(port), "--access-log", *options]
    with log.open("w") as stream:
        process = subprocess.Popen(words, env=host.env, stdout=subprocess.DEVNULL, stderr=stream)
    try:
        assert eventually(lambda: "ready:" in log.read_text() or process.poll() is not None, 60), log.read_text()
        assert process.poll() is None, log.read_text()
        yield Proxy(host, process, f"http://127.0.0.1:{port}", log, placeholders)
    finally:
        process.kill()
        process.wait()


def declare(host: Host, upstream: Service, **changes: Any) -> None:
    """The manual's routes before the service of the test, and the secrets that they name."""
    routes = yaml.safe_load(block("yaml", "routes:"))["routes"]
    secret = {"owner": "a@example.com", "classification": "confidential", "rotation": {"strategy": "manual"}}
    for name, route in routes.items():
        route |= {"secret": f"{host.folder}/{name}", "url": upstream.url + route["url"].partition(".com")[2], **changes}
    declared = {"secrets": {route["secret"]: secret for route in routes.values()}, "routes": routes}
    folder = host.directory / "catalogue"
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump(declared))


def write_key(host: Host, name: str, key: str) -> int:
    path = f"{host.folder}/{name}"
    info = host.lab.hub.describe(path)
    return host.lab.hub.write(path, SecretFields({"key": key}), cas=info.version if info else 0)


def block(language: str, begin: str) -> str:
    """The block of the manual that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return next(text for text in blocks if text.startswith(begin))


@pytest.fixture
def upstream() -> Iterator[Service]:
    with service() as made:
        yield made


@pytest.fixture
def ready(host: Host, upstream: Service) -> Host:
    for name, key in KEYS.items():
        write_key(host, name, key)
    declare(host, upstream)
    return host


def run(proxy: Proxy, language: str, code: str, tools: Path) -> str:
    """Run a block of the manual, with the addresses of the test."""
    for example, real in (("http://127.0.0.1:2773", proxy.url), ("/run/keyturn/placeholders", str(proxy.placeholders))):
        code = code.replace(example, real)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(tools)}
    env |= {"OPENAI_BASE_URL": f"{proxy.url}/to/openai", "OPENAI_API_KEY": proxy.placeholder("trainer")}
    words = ["bash", "-euc", code] if language == "bash" else [sys.executable, "-c", f"{code}\nprint(answer.text)"]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_tools_of_the_manual_call_with_placeholders_and_the_service_sees_the_keys(
    ready: Host, upstream: Service, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "claude").write_text(CLAUDE.format(python=sys.executable))
    (tools / "claude").chmod(0o755)
    (tools / "openai.py").write_text(OPENAI)
    with proxying(ready) as proxy:
        assert stat.S_IMODE((proxy.placeholders / "coder").stat().st_mode) == 0o600
        outputs = [
            run(proxy, "bash", block("bash", "export ANTHROPIC"), tools),
            run(proxy, "python", block("python", "from openai"), tools),
            run(proxy, "bash", block("bash", "curl"), tools),
            litellm(proxy),
        ]
        written = proxy.log.read_text()
    lines = [request.line.split(" ")[1] for request in upstream.requests]
    assert lines == ["/v1/messages?beta=true", "/v1/chat/completions", "/v1/embeddings", "/v1/chat/completions"]
    sent = [request.value("x-api-key") or request.value("authorization") for request in upstream.requests]
    assert sent == [KEYS["anthropic"], *[f"Bearer {KEYS['openai']}"] * 3]
    assert not any(key in text for key in KEYS.values() for text in (*outputs, written))
    assert re.search(r"trainer used \S+/openai, version 1: openai POST 200, \d+ bytes sent, \d+ returned", written)


def litellm(proxy: Proxy) -> str:
    """What a LiteLLM gateway with the manual's configuration sends for a call of its model."""
    (model,) = yaml.safe_load(block("yaml", "model_list"))["model_list"]
    settings = model["litellm_params"]
    assert settings["api_key"] == "os.environ/KEYTURN_PLACEHOLDER"
    url = settings["api_base"].replace("http://127.0.0.1:2773", proxy.url) + "/chat/completions"
    headers = {"Authorization": f"Bearer {proxy.placeholder('gateway')}"}
    body = {"model": settings["model"].partition("/")[2], "messages": []}
    return requests.post(url, json=body, headers=headers, timeout=30).text


def test_notices_reloads_and_misuse_from_the_start_to_the_end(ready: Host, upstream: Service) -> None:
    socket_file = ready.directory / "socket"
    declare(ready, upstream, users=[getuser()])
    with proxying(ready, "--socket", str(socket_file)) as proxy:
        assert proxy.send("openai/embeddings", json={}).status_code == 200
        version = write_key(ready, "openai", "sk-openai-second-0123456789")
        assert notice(proxy, f"{ready.folder}/openai", version) == 200
        assert proxy.send("openai/embeddings", json={}).status_code == 200
        assert upstream.requests[-1].value("authorization") == "Bearer sk-openai-second-0123456789"

        # A user of a route needs no placeholder on the socket, and the kernel says who it is.
        head = "POST /to/openai/embeddings HTTP/1.1\r\nHost: proxy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert by_socket(socket_file, head).startswith(b"HTTP/1.1 200")
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o666

        # The proxy gives out nothing, and another's placeholder opens nothing.
        headers = {"X-Vault-Token": proxy.placeholder("trainer")}
        assert requests.get(f"{proxy.url}/v1/{ready.folder}/openai", headers=headers, timeout=30).status_code == 404
        assert proxy.send("anthropic/v1/messages", json={}).status_code == 403
        assert requests.get(f"{proxy.url}/ping", timeout=30).text == "healthy"

        # A broken catalogue changes nothing; a sound one is used from then on.
        (ready.directory / "catalogue" / "all.yaml").write_text("routes: 3")
        proxy.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: proxy.log.read_text().count("reloaded") == 1)
        assert proxy.send("openai/embeddings", json={}).status_code == 200
        declare(ready, upstream, callers=["gateway"])
        proxy.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: proxy.log.read_text().count("reloaded") == 2)
        assert proxy.send("openai/embeddings", json={}).status_code in (401, 403)
        assert proxy.send("openai/embeddings", "gateway", json={}).status_code == 200

        ended = notice(proxy, f"{ready.folder}/openai", version, event=SECRET_REVOKED, replaced=False)
        assert ended == 200
        assert proxy.send("openai/embeddings", "gateway", json={}).json()["error"]["code"] == "credential_revoked"
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(30) == 0
    written = proxy.log.read_text()
    assert "the placeholder of trainer was shown at" in written
    assert not any(text in written for text in (*KEYS.values(), "sk-openai-second", headers["X-Vault-Token"]))


def test_without_routes_it_says_what_to_add(ready: Host) -> None:
    (ready.directory / "catalogue" / "all.yaml").write_text("{}\n")
    words = [
        *SCRIPT,
        "proxy",
        "--catalogue",
        str(ready.directory / "catalogue"),
        "--placeholders",
        str(ready.directory),
    ]
    ended = subprocess.run(words, env=ready.env, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode != 0
    assert "the catalogue has no routes" in ended.stderr


def by_socket(file: Path, head: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(file))
        client.sendall(head.encode())
        answer = b""
        with suppress(OSError):
            while piece := client.recv(65_536):
                answer += piece
        return answer
