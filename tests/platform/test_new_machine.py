"""README's two commands on a Debian that has Python, make, git and certificates, for a user who is not root.

Each test has a new machine: a Debian of its own below a layer in memory, an empty home, and a fresh clone. Only the
network is this machine's, since packages are fetched.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest

from tests.platform import needs
from tests.platform.guest import BUILT, PATH, ROOT
from tests.platform.kept import Kept, given, output

SUITES: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""Releases of Debian, and the Python that each has."""
PACKAGES: Final = ("python3", "python3-venv", "make", "git", "ca-certificates")
"""What README asks for, and what fetches a checkout over TLS."""
USER: Final = 1000
HOURS: Final = 2 * 3600
SETTINGS: Final = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "http", "https", "no_proxy")
"""Variables of this machine that say where packages come from."""
FILES: Final = ("/etc/pip.conf", "/etc/apt/apt.conf.d", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs")
"""The same as files."""
DEMO: Final = "make demo"
PROGRAMS: Final = {
    "mariadbd": "tests/providers/mysql/test_setup.py",
    "redis-server": "tests/providers/redis/test_target.py",
    "postgres": "tests/deployments/test_postgres.py",
    "slapd": "tests/grants/test_directory.py",
    "rabbitmq-server": "tests/strategies/test_http_password_at_rabbitmq.py",
    "etcd, influxd and sshd": "tests/strategies/test_recipes_at_servers.py",
    "podman": "tests/providers/http/test_stores_at_servers.py",
    "mosquitto, nats-server, docker-registry and named": "tests/strategies/test_accounts_files.py",
    "isql": "tests/core/test_mapping_drivers.py",
    "faketime": "tests/faults/test_whose_clock.py",
    "promtool": "tests/deployments/test_prometheus_rules.py",
    "kubectl": "tests/deployments/test_kubernetes.py",
    "systemd-analyze": "tests/deployments/test_systemd.py",
    "the others": "tests/deployments/test_programs.py",
}
"""One file of tests for each program of `local.programs`."""


class NewMachine(Kept):
    """A Debian ``suite`` with README's packages; its disk and its temporary files are in ``directory``."""

    def __init__(self, suite: str, directory: Path) -> None:
        super().__init__(f"new-machine-{suite}", directory)
        self.suite = suite

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        (given := self.directory / "given").mkdir(parents=True)
        subprocess.run(["git", "-C", ROOT, "bundle", "create", "--quiet", given / "project.bundle", "HEAD"], check=True)
        tar = [
            "tar",
            "--create",
            "--dereference",
            "--hard-dereference",
            f"--file={given / 'settings.tar'}",
            "--directory=/",
        ]
        subprocess.run([*tar, *(file.lstrip("/") for file in self._settings())], check=True)
        boot = ["bash", str(Path(__file__).with_name("new_machine.sh")), str(self.directory), str(self._base())]
        self.start(("mount", "uts", "ipc"), boot, lambda: self._enter("test", "-d", "/srv/given").returncode == 0)
        output(self._enter("tar", "--extract", "--file=/srv/given/settings.tar", "--directory=/"))
        output(self._enter("useradd", "--create-home", f"--uid={USER}", "person"))
        self.run("git clone --quiet /srv/given/project.bundle project")
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.directory)

    def run(self, command: str) -> str:
        """Run a line as a person types it, in the clone once there is one. Fails with its output if it fails."""
        script = f"cd; [ ! -d project ] || cd project; {command} 2>&1"
        variables = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
        person = {"HOME": "/home/person", "USER": "person", "PATH": PATH, "LANG": "C.UTF-8", "CI": "true"}
        words = [*given({**variables, **person}), "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        return output(self._enter(*words, "bash", "-c", script, seconds=HOURS))

    def _enter(self, *words: str, seconds: float = 600) -> "subprocess.CompletedProcess[str]":
        return self.enter(
            ("mount", "uts", "ipc", "pid", "root"), ["--chdir=/", f"PATH={PATH}", *words], timeout=seconds
        )

    def _settings(self) -> set[str]:
        named = (value for name, value in os.environ.items() if name.startswith(SETTINGS))
        return {file for file in (*FILES, *named) if file.startswith("/") and Path(file).exists()}

    def _base(self) -> Path:
        """The release as a tree, made once and kept."""
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join((*PACKAGES, 'passwd'))}", self.suite]
        name = hashlib.sha256("\n".join(command).encode()).hexdigest()[:16]
        place = BUILT / f"new-machine-{self.suite}-{name}"
        if not place.exists():
            BUILT.mkdir(parents=True, exist_ok=True)
            made = place.with_suffix(".new")
            shutil.rmtree(made, ignore_errors=True)
            subprocess.run([*command, str(made)], check=True, stdin=subprocess.DEVNULL)
            made.replace(place)
        return place


@pytest.fixture(scope="module", params=SUITES)
def machine(request: pytest.FixtureRequest) -> Iterator[NewMachine]:
    needs.require(quick=False, programs=needs.ENGINE)
    with NewMachine(request.param, BUILT / f"machine-{request.param}") as machine:
        yield machine


def test_readme_asks_for_no_more_than_the_machine_has(machine: NewMachine) -> None:
    assert machine.run("python3 --version").startswith(f"Python {SUITES[machine.suite]}.")
    assert machine.run("ls -A ~").split() == [".bash_logout", ".bashrc", ".profile", "project"]
    assert machine.run("id --user").strip() == str(USER)
    for program in ("gcc", "sudo", "podman", "psql", "node", "curl"):
        assert machine.run(f"command -v {program} || echo none").strip() == "none"


def test_the_demo_passes(machine: NewMachine) -> None:
    commands = (ROOT / "README.md").read_text().partition("## Try it")[2]
    assert f"$ {DEMO}\n" in commands
    assert "0 failed" in machine.run(DEMO)


@pytest.mark.parametrize("file", PROGRAMS.values(), ids=PROGRAMS)
def test_the_tests_of_each_program_pass(machine: NewMachine, file: str) -> None:
    said = machine.run(f"make test ARGS={file}")
    assert " passed" in said
