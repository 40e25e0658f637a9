"""``keyturn exec`` and ``keyturn render`` as people run them, at the real hub, with no more rights than they need."""

import errno
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from standardwebhooks import Webhook
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.programs.exec_order import LOGINS
from keyturn.core.notifications.notices import NOTICE_PATH, Notice
from keyturn.core.sensitive import SecretFields
from keyturn.programs.children import lives
from local.support.ports import free_port
from tests.cli.command import ROOT, SCRIPT, surroundings
from tests.manual.lines import lines_of
from tests.support.lab import Declared, Lab, fresh
from tests.support.offline import add_generation

GUIDE = ROOT / "docs" / "exec.md"
KEY = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.generated()


CLOUDS = {
    "AWS_REGION": "eu-west-1",
    "AWS_PROFILE": "app",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "x",
    "AZURE_CLIENT_ID": "x",
    "AZURE_CLIENT_SECRET": "x",
    "IDENTITY_ENDPOINT": "x",
    "KUBECONFIG": "x",
    "GOOGLE_APPLICATION_CREDENTIALS": "x",
    "CLOUDSDK_CONFIG": "x",
    "PREFECT_API_KEY": "x",
}


@pytest.fixture
def env(lab: Lab, tmp_path: Path, secret: Declared) -> dict[str, str]:
    """A login that may read this secret and those of the example, and nothing else; it lies in a file."""
    policy = fresh()
    rules = (f'path "secret/data/{path}" {{ capabilities = ["read"] }}' for path in (secret.path, "ml-training/*"))
    lab.root.sys.create_or_update_policy(policy, "\n".join(rules))
    token = lab.root.auth.token.create(policies=[policy])["auth"]["client_token"]
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "key").write_text(KEY)
    hub = {"VAULT_ADDR": lab.world.hub_address, "VAULT_CACERT": lab.world.hub_ca or ""}
    given = {"KEYTURN_HUB_TOKEN_FILE": str(tmp_path / "token"), "BAO_TOKEN": "of-somebody", "OUT": str(tmp_path)}
    return surroundings(tmp_path / "home", **hub, **given)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def until_holds(file: Path, word: str, process: "subprocess.Popen[str]") -> str:
    """What a program has written, once this is in it."""
    deadline = time.monotonic() + 90
    while not file.exists() or word not in file.read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file.read_text()


@contextmanager
def running(command: list[str], env: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """A process, which is gone afterwards."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.terminate()


def tell(address: str, notice: Notice, key: str = KEY, *, ca: Path | None = None) -> int:
    """Tell a program, as any sender of Standard Webhooks does; what it answers."""
    body, at = notice.to_json(), datetime.now(UTC)
    signature = Webhook(key).sign("msg_1", at, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    trusted = str(ca) if ca else True
    return requests.post(f"{address}{NOTICE_PATH}", body, headers=headers, timeout=60, verify=trusted).status_code


def shown_of(process: "subprocess.Popen[str]") -> str:
    """The arguments of a process and of its children."""
    pids = [process.pid, *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    return " ".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)


def test_a_rotation_reaches_a_program_before_it_is_acknowledged(
    lab: Lab, env: dict[str, str], secret: Declared, tmp_path: Path
) -> None:
    port, first, second = free_port(), secret.first["value"], fresh()
    program = 'env >"$OUT/env"; stat -c "%a %n" "$KEYTURN_FILES"/* >"$OUT/files"; trap "exit 3" TERM; '
    program += 'echo "$PW" $(cat "$KEYTURN_FILES/pw") $$ >>"$OUT/shown"; while :; do sleep 0.05; done'
    given = ("--env", f"PW={secret.path}#value", "--file", f"pw={secret.path}#value", "--poll", "0s")
    receiving = ("--receive", f"127.0.0.1:{port}", "--webhook-key-file", str(tmp_path / "key"), "--settle", "0s")
    options = ("--keep-env", "AWS_PROF*", "--keep-env", "AZURE_CLIENT_ID")
    command = [*SCRIPT, "exec", *given, *receiving, *options, "--", "sh", "-c", program]
    with running(command, env | CLOUDS) as process:
        pid = int(until_holds(tmp_path / "shown", first, process).split()[-1])
        variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
        files = Path(variables["KEYTURN_FILES"])
        logins = {name for name in variables if name.startswith(LOGINS)}
        assert logins == {"KEYTURN_FILES", "AWS_REGION", "AWS_PROFILE", "AZURE_CLIENT_ID"}
        assert (tmp_path / "files").read_text() == f"600 {files}/pw\n"
        assert files.parent in (Path("/dev/shm"), Path(os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"))
        assert files.stat().st_mode & 0o777 == 0o700
        version = lab.hub.write(secret.path, SecretFields({"value": second}), cas=1)
        notice = Notice("secret_rotated", secret.path, version, datetime.now(UTC))
        assert tell(f"http://127.0.0.1:{port}", notice) == HTTPStatus.OK
        assert not lives(pid)
        until_holds(tmp_path / "shown", f"{second} {second} ", process)
        assert not any(value in shown_of(process) for value in (first, second))
        process.send_signal(signal.SIGTERM)
        output = "".join(process.communicate(timeout=60))
    assert process.returncode == 3
    assert not files.exists()
    assert not any(value in output for value in (first, second))


def test_files_are_rendered_once_all_or_none(
    env: dict[str, str], secret: Declared, in_memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = in_memory / "app.ini.j2"
    template.write_text(f'[app]\nkey = {{{{ secret("{secret.path}").value | ini }}}}\n')
    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, text in env.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "mount").symlink_to(in_memory)  # memory, as a mount is, below what is none
    given = ["render", "--directory", str(tmp_path / "mount"), "--file", f"value={secret.path}#value"]
    given += ["--template", f"{template}:app.ini"]
    done = CliRunner().invoke(app, [*given, "--mode", "0640"])
    assert done.exit_code == 0, done.output
    assert (in_memory / "value").read_text() == secret.first["value"]
    assert (in_memory / "app.ini").read_text() == f"[app]\nkey = {secret.first['value']}\n"
    assert {file.stat().st_mode & 0o777 for file in (in_memory / "value", in_memory / "app.ini")} == {0o640}
    assert secret.first["value"] not in done.output
    (in_memory / "value").unlink()
    template.write_text(f'one\n{{{{ secret("{secret.path}").valeu }}}}\n')
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 1
    assert f"{template}:2" in done.stderr
    assert secret.first["value"] not in done.output
    assert sorted(file.name for file in in_memory.iterdir()) == ["app.ini", "app.ini.j2"]


def test_what_was_revoked_without_a_replacement_ends_a_program_that_says_so(
    lab: Lab, env: dict[str, str], secret: Declared, tmp_path: Path
) -> None:
    port, authority = free_port(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "cert.key")
    receiving = ("--receive", f"127.0.0.1:{port}", "--webhook-key-file", str(tmp_path / "key"), "--on-revoked", "stop")
    tls = ("--receive-cert", str(tmp_path / "cert.pem"), "--receive-key", str(tmp_path / "cert.key"))
    program = 'echo $PW $$ >"$OUT/shown"; exec sleep 1000'
    command = [*SCRIPT, "exec", "--env", f"PW={secret.path}#value", *receiving, *tls, "--", "sh", "-c", program]
    with running(command, env) as process:
        pid = int(until_holds(tmp_path / "shown", "\n", process).split()[-1])
        notice = Notice("secret_revoked", secret.path, 1, datetime.now(UTC), replaced=False)
        with pytest.raises(requests.ConnectionError):
            tell(f"http://127.0.0.1:{port}", notice)
        assert tell(f"https://localhost:{port}", notice, ca=tmp_path / "ca.pem") == HTTPStatus.OK
        assert not lives(pid)
        output = "".join(process.communicate(timeout=60))
    assert process.returncode == 125
    assert f"{secret.path}: it was revoked, and nothing has taken its place" in output
    assert secret.first["value"] not in output


def test_a_program_is_begun_in_an_outage_with_what_the_one_before_it_had(
    env: dict[str, str], secret: Declared, tmp_path: Path, in_memory: Path
) -> None:
    add_generation(tmp_path / "offline-key")
    kept = ("--offline", str(tmp_path / "offline"), "--offline-key", f"file:{tmp_path / 'offline-key'}")
    command = [*SCRIPT, "exec", *kept, "--env", f"PW={secret.path}#value", "--", "sh", "-c", 'echo "it is $PW"']
    for address in (env["VAULT_ADDR"], f"https://127.0.0.1:{free_port()}"):
        there = {**env, "VAULT_ADDR": address}
        done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=120)
        assert done.stdout == f"it is {secret.first['value']}\n", done.stderr
    assert f"no source answers: what was read before is given from {tmp_path / 'offline'}" in done.stderr
    command = [*SCRIPT, "render", *kept, "--directory", str(in_memory), "--file", f"pw={secret.path}#value"]
    assert subprocess.run(command, env=there, timeout=120).returncode == 0
    assert (in_memory / "pw").read_text() == secret.first["value"]
    assert subprocess.run([*command, "--restricted", "**"], env=there, timeout=120).returncode == 1


def test_what_was_closed_stays_so_for_the_program_and_hinders_nothing(
    env: dict[str, str], secret: Declared, tmp_path: Path
) -> None:
    program = 'for number in 0 1 2; do [ -e /proc/$$/fd/$number ] && exit 9; done; echo "$PW" >"$OUT/shown"; exit 4'
    command = [*SCRIPT, "exec", "--env", f"PW={secret.path}#value", "--", "sh", "-c", program]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], env=env, timeout=120, check=False)
    assert done.returncode == 4
    assert (tmp_path / "shown").read_text() == f"{secret.first['value']}\n"


def test_what_the_system_refuses_ends_as_what_is_not_given_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    done = CliRunner().invoke(app, ["exec", "--file", "a=a/b#x", "--", "true"])
    assert done.exit_code == 125
    assert f"{tmp_path}: No space left" in done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--env", "A=a/c#x"], "A is given twice"),
        (["--env-all", "B=a/b", "--env-all", "B=a/c"], "B is given twice"),
        (["--webhook-key", "webhooks/trainer"], "--receive"),
        (["--on-revoked", "stop", "--poll", "0s"], "no change would be noticed"),
    ],
)
def test_what_would_count_for_nothing_is_wrong_usage(given: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["exec", "--env", "A=a/b#x", *given, "--", "true"])
    assert done.exit_code == 2
    assert words in done.stderr


# --- the guide ---------------------------------------------------------------------------------------------


def template_of_the_guide() -> str:
    """The template that the guide shows."""
    shown = re.search(r"\$ cat pgpass.j2\n(.*?)\$ keyturn", GUIDE.read_text(), re.S)
    assert shown
    return shown[1]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("line", lines_of("exec.md"))
def test_what_the_guide_says_works(line: str, env: dict[str, str], tmp_path: Path, in_memory: Path) -> None:
    (tmp_path / "pgpass.j2").write_text(template_of_the_guide())
    (tmp_path / "app.ini.j2").write_text("")
    (tmp_path / "webhook-key").write_text(KEY)
    add_generation(tmp_path / "offline.key")
    (tmp_path / "train.py").write_text("#!/bin/sh\n")
    (tmp_path / "train.py").chmod(0o755)
    # What the reader has, and others here have not: the command on the path, a mount, and that port.
    (tmp_path / "keyturn").write_text(f'#!/bin/sh\nexec {" ".join(SCRIPT)} "$@"\n')
    (tmp_path / "keyturn").chmod(0o755)
    line = line.replace("/secrets", str(in_memory)).replace("8201", str(free_port()))
    line = line.replace("/var/cache/ml", str(tmp_path))
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line], env={**env, "PATH": path}, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
