"""A real OpenSSH server on loopback, out of Debian's package, that lets in who holds one of the keys it is given."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local.database_server import STATE, passable, service_account
from local.debian import Program, within_reach
from local.programs import find_program
from local.support.files import write_private
from local.support.ports import LOOPBACK, free_port, in_use
from local.support.process import Account, Process


class Sshd:
    """Serves while it is entered; ``public_keys`` returns the lines that are its authorized keys at a login.

    It runs as an account without rights, and lets in only that. A session is one of SFTP.
    """

    def __init__(self, public_keys: Callable[[], Iterable[str]]) -> None:
        self.port = free_port()
        self._public_keys = public_keys

    def __enter__(self) -> "Sshd":
        account = service_account()
        if account:
            passable(STATE)
        self._directory = Path(tempfile.mkdtemp(prefix="sshd-", dir=STATE if account else None))
        self._directory.chmod(0o711)
        self._process = Process("sshd", self._directory / "log")
        self._user = account.name if account else pwd.getpwuid(os.geteuid()).pw_name
        server = find_program("sshd")
        server = within_reach(server, STATE) if account else server
        self._generate(self._file("host"))
        self._own(self._file("host"), account)
        self._readable("sshd_config", self._settings(server))
        command = [str(server.path), "-D", "-e", "-f", str(self._file("sshd_config"))]
        environment = {**os.environ, **server.environment}
        self._process.start(command, ready=lambda: in_use(self.port), environment=environment, account=account)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        shutil.rmtree(self._directory)

    def logs_in(self, private_key: str) -> bool:
        """Whether the server lets in who holds this key."""
        done = self._client(private_key, "-s", stdin=subprocess.DEVNULL)
        _, told = done.communicate(timeout=60)
        assert done.returncode in {0, 255}, told
        return done.returncode == 0

    @contextmanager
    def opened(self, private_key: str) -> Iterator[Callable[[], bool]]:
        """A session that stays, and what tells whether it is still open."""
        with self._client(private_key, "-s", stdin=subprocess.PIPE) as session:
            while not self._accepted(session):
                time.sleep(0.1)
            yield lambda: session.poll() is None
            session.terminate()

    def _accepted(self, session: "subprocess.Popen[str]") -> bool:
        assert session.poll() is None, "the server has not let it in"
        return "Starting session" in self._process.log.read_text()

    def _client(self, private_key: str, *options: str, stdin: int) -> "subprocess.Popen[str]":
        self._readable("authorized_keys", "".join(f"{line}\n" for line in self._public_keys()))
        write_private(self._file("id"), private_key)
        client = find_program("ssh")
        settings = {
            "IdentityFile": self._file("id"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "Port": self.port,
        }
        command = [str(client.path), "-F", "none", *(f"-o{name}={value}" for name, value in settings.items()), *options]
        return subprocess.Popen(
            [*command, f"{self._user}@{LOOPBACK}", "sftp"],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **client.environment},
        )

    def _generate(self, file: Path) -> None:
        maker = find_program("ssh-keygen")
        command = [str(maker.path), "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
        subprocess.run(command, check=True, timeout=60, env={**os.environ, **maker.environment})

    def _readable(self, name: str, content: str) -> None:
        write_private(self._file(name), content)
        self._file(name).chmod(0o644)

    def _own(self, file: Path, account: Account | None) -> None:
        if account:
            os.chown(file, account.uid, account.gid)

    def _file(self, name: str) -> Path:
        return self._directory / name

    def _settings(self, server: Program) -> str:
        folder = server.path.parent.parent / "lib" / "openssh"
        # OpenSSH before 9.8 has no such helpers.
        helpers = {part: folder / f"sshd-{part}" for part in ("session", "auth")}
        return "\n".join(
            [
                f"Port {self.port}",
                f"ListenAddress {LOOPBACK}",
                f"HostKey {self._file('host')}",
                f"AuthorizedKeysFile {self._file('authorized_keys')}",
                *(f"{name} no" for name in ("StrictModes", "UsePAM", "PasswordAuthentication")),
                "KbdInteractiveAuthentication no",
                "PidFile none",
                "LogLevel VERBOSE",
                "Subsystem sftp internal-sftp",
                "ForceCommand internal-sftp",
                *(f"Sshd{part.title()}Path {file}" for part, file in helpers.items() if file.exists()),
                "",
            ]
        )
