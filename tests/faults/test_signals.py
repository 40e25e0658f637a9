"""SIGTERM and SIGHUP end a command like Ctrl-C: it says what continues, wakes the keeper, and nothing is lost."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.sensitive import SecretFields
from local.emulators.aws import LocalAws
from tests.cli.command import ROOT, SCRIPT, run_keyturn, surroundings
from tests.faults.shell import Shell
from tests.support.lab import Declared, Lab

ENDING = [pytest.param(signal.SIGTERM, id="SIGTERM"), pytest.param(signal.SIGHUP, id="SIGHUP")]
RUN = {"id": "0a", "name": "brave-otter", "state": {"type": "SCHEDULED", "name": "Late", "message": None}}


def heed_hangups() -> None:
    """Undo what nohup does, under which these tests may run."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Stopping:
    """Starts a command whose consumer accepts connections and never answers, and ends it there."""

    def __init__(self, lab: Lab, directory: Path, prefect: HTTPServer, silent: socket.socket, aws: LocalAws) -> None:
        self.aws = aws
        self.lab, self.shell, self.silent, self.prefect = lab, Shell(lab, directory), silent, prefect
        self.woken = 0
        self.key = f"webhooks/app/{secrets.token_hex(4)}"
        lab.keep(self.key, {"key": f"whsec_{secrets.token_hex(24)}"})
        prefect.expect_request("/api/health").respond_with_json(True)
        prefect.expect_request("/api/deployments/name/keeper/keeper").respond_with_json({"id": "k1"})
        prefect.expect_request("/api/deployments/k1/create_flow_run").respond_with_handler(self._create)
        prefect.expect_request("/api/flow_runs/0a").respond_with_json(RUN | {"start_time": None})
        prefect.expect_request("/api/task_runs/filter").respond_with_json([])

    def _create(self, request: Request) -> Response:
        self.woken += 1
        return Response('{"id": "0a", "name": "brave-otter", "state": null, "start_time": null}', 201)

    def catalogue(self, secret: Declared) -> Path:
        url = f"http://127.0.0.1:{self.silent.getsockname()[1]}"
        return self.shell.catalogue(secret, {"app": {"url": url, "signing_key": self.key}})

    def ended(self, number: signal.Signals, secret: Declared, *arguments: str) -> "tuple[int, str]":
        """The exit code and stderr of a command that got this signal while it told its consumer."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        pipes["preexec_fn"] = heed_hangups
        with subprocess.Popen([*SCRIPT, *arguments], env=self.environment(secret), cwd=ROOT, **pipes) as process:
            self.silent.settimeout(60)
            connection, _ = self.silent.accept()
            with connection:
                process.send_signal(number)
                _, said = process.communicate(timeout=120)
        return process.returncode, said

    def environment(self, secret: Declared) -> dict[str, str]:
        """Of a command that works with the lab's hub, the local AWS and the Prefect server."""
        return surroundings(
            self.shell.directory / "no",
            VAULT_ADDR=self.lab.world.hub_address,
            VAULT_TOKEN=self.lab.world.hub_token,
            KEYTURN_CATALOGUE=str(self.catalogue(secret)),
            PREFECT_API_URL=self.prefect.url_for("/api"),
            XDG_STATE_HOME=str(self.shell.directory / "state"),
            AWS_ENDPOINT_URL=self.aws.endpoint_url,
            **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        )


@pytest.fixture
def stopping(lab: Lab, tmp_path: Path, httpserver: HTTPServer, aws: LocalAws) -> Iterator[Stopping]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield Stopping(lab, tmp_path, httpserver, silent, aws)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("number", ENDING)
def test_a_rotation_says_who_finishes_it(stopping: Stopping, number: signal.Signals) -> None:
    secret = stopping.lab.alternating(consumers=("app",))
    code, said = stopping.ended(number, secret, "rotate", secret.path, "--now", "--local")
    assert code == 128 + number, said
    assert (
        f"interrupted: the schedule finishes a rotation that was begun; at once: keyturn rotate {secret.path}" in said
    )
    assert said.splitlines()[-1] == "the keeper was asked to look at once"
    assert stopping.woken == 1
    assert "Traceback" not in said
    assert stopping.lab.logs_in(stopping.lab.current(secret))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("number", ENDING)
def test_a_revocation_says_how_it_continues_and_the_credential_has_ended(
    stopping: Stopping, number: signal.Signals
) -> None:
    secret = stopping.lab.alternating(consumers=("app",))
    first = stopping.lab.current(secret)
    name = f"INC-{secrets.token_hex(4)}"
    code, said = stopping.ended(
        number, secret, "revoke", secret.path, "--reason", "leaked", "--incident", name, "--local"
    )
    assert code == 128 + number, said
    assert f"while {name} is open, finish-incidents retries it every 5 minutes" in said
    assert said.splitlines()[-1] == "the keeper was asked to look at once"
    assert (stopping.woken, "Traceback" in said) == (1, False)
    assert not stopping.lab.logs_in(first)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("command", [("apply", "--auto"), ("sync", "--local")], ids=lambda command: command[0])
def test_a_sync_says_what_pushes_the_rest(stopping: Stopping, number: signal.Signals, command: tuple[str, ...]) -> None:
    secret = stopping.lab.generated(
        consumers=("app",), destinations=({"store": "memory", "name": f"signals/{secrets.token_hex(4)}"},)
    )
    first = run_keyturn("apply", "--auto", secret.path, env=stopping.environment(secret), cwd=ROOT)
    assert first.returncode == 0, first.stderr
    stopping.lab.hub.write(secret.path, SecretFields({"value": "by hand"}), cas=1)
    code, said = stopping.ended(number, secret, *command, secret.path)
    assert code == 128 + number, said
    assert "interrupted: the next sync" in said
    assert said.splitlines()[-1] == "the keeper was asked to look at once"
    assert (stopping.woken, "Traceback" in said) == (1, False)


def test_a_hangup_that_the_parent_ignores_as_nohup_does_ends_nothing() -> None:
    program = (
        "import os, signal\n"
        "from keyturn.cli.interruption import continues_later\n"
        "with continues_later('the rest'):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('went on')\n"
    )
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", program]
    done = subprocess.run(ignoring, capture_output=True, text=True, check=False, env={**os.environ}, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
