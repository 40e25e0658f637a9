"""Real servers on loopback whose accounts are lines of a file, out of Debian's packages."""

import os
import secrets
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from keyturn.core.sensitive import SecretFields
from keyturn.providers.credential_files.formats import FORMATS
from keyturn.providers.credential_files.target import CredentialFile
from keyturn.settings.credential_files import CredentialFileSettings, FileFormat
from local.programs import find_program
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK, free_port, in_use
from local.support.process import Process
from tests.support import login_check
from tests.support.lab import fresh

CHECK = Path(login_check.__file__)


class FileServer:
    """A server with some accounts that no test changes, under ``directory``."""

    format: ClassVar[FileFormat]
    protocol: ClassVar[str]
    program: ClassVar[str]
    reloads: ClassVar[bool] = True
    sessions: ClassVar[str] = "kept"

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.file = directory / "accounts"
        self._process = Process(self.program, directory)

    def __enter__(self) -> Self:
        private_directory(self.directory)
        self.server = find_program(self.program)
        write_private(
            self.file, self.whole([self.line(f"neighbour-{number}", secrets.token_hex(16)) for number in range(2)])
        )
        command = [str(self.server.path), *self.arguments()]
        environment = {**os.environ, **self.server.environment}
        self._process.start(command, ready=lambda: in_use(self.port), environment=environment, cwd=self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    @abstractmethod
    def arguments(self) -> list[str]:
        """What the server is started with, after its settings are written."""

    @abstractmethod
    def line(self, name: str, password: str) -> str:
        """An account's line, as a person writes it."""

    def whole(self, lines: list[str]) -> str:
        """The file with these lines."""
        return "".join(f"{line}\n" for line in lines)

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether a client gets in with this version."""
        name, password = fields["username"].reveal(), fields["password"].reveal()
        return login_check.lets_in(self.protocol, self.port, name, password, *self.more())

    def more(self) -> list[str]:
        """Further arguments of a login."""
        return []

    def place(self, **changes: Any) -> CredentialFileSettings:
        """The operator's settings, as pydantic makes them of YAML."""
        settings: dict[str, Any] = {
            "path": str(self.file),
            "format": self.format,
            "accounts": ["*"],
            "reload": ["/bin/sh", "-c", f"kill -HUP {self._process.pid}"] if self.reloads else None,
            "check": [sys.executable, str(CHECK), self.protocol, str(self.port), *self.more()],
        }
        return CredentialFileSettings.model_validate(settings | changes)

    def target(self, **changes: Any) -> CredentialFile:
        return CredentialFile("server", file="accounts", place=self.place(**changes), sessions=self.sessions)

    def add(self) -> SecretFields:
        """Add a fresh account, as a person does."""
        name, password = fresh(), secrets.token_hex(16)
        lines = [line for line in self.file.read_text().splitlines() if self.is_account(line)]
        self.write(self.whole([*lines, self.line(name, password)]))
        fields = SecretFields({"username": name, "password": password})
        while not self.logs_in(fields):
            pass
        return fields

    def write(self, content: str) -> None:
        """Write the whole file and have it read, as a person does."""
        self.file.write_text(content)
        if self.reloads and self._process.pid:
            os.kill(self._process.pid, 1)

    def is_account(self, line: str) -> bool:
        return True


class Mosquitto(FileServer):
    format = FileFormat.MOSQUITTO
    protocol = "mqtt"
    program = "mosquitto"
    sessions = "ended"

    def arguments(self) -> list[str]:
        lines = [f"listener {self.port} {LOOPBACK}", f"password_file {self.file}", "allow_anonymous false"]
        lines += ["user root"] if os.geteuid() == 0 else []
        write_private(self.directory / "mosquitto.conf", "".join(f"{line}\n" for line in lines))
        return ["-c", str(self.directory / "mosquitto.conf")]

    def line(self, name: str, password: str) -> str:
        return f"{name}:{FORMATS[self.format].value(password)}"

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A session that stays, and what tells whether it still works."""
        session = login_check.mqtt(self.port, fields["username"].reveal(), fields["password"].reveal())
        assert session is not None
        with session:
            yield lambda: login_check.mqtt_answers(session)


class Nats(FileServer):
    format = FileFormat.NATS
    protocol = "nats"
    program = "nats-server"
    sessions = "ended"

    def arguments(self) -> list[str]:
        return ["-c", str(self.file)]

    def line(self, name: str, password: str) -> str:
        return f'    {{user: "{name}", password: "{password}", permissions: {{publish: "apps.>"}}}}'

    def whole(self, lines: list[str]) -> str:
        users = "".join(f"{line}\n" for line in lines)
        return f"listen: {LOOPBACK}:{self.port}\nauthorization: {{\n  users: [\n{users}  ]\n}}\n"

    def is_account(self, line: str) -> bool:
        return "user:" in line

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A session that stays, and what tells whether it still works."""
        session = login_check.nats(self.port, fields["username"].reveal(), fields["password"].reveal())
        assert session is not None
        with session:
            yield lambda: login_check.nats_answers(session)


class Registry(FileServer):
    format = FileFormat.HTPASSWD
    protocol = "http"
    program = "docker-registry"
    reloads = False

    def arguments(self) -> list[str]:
        lines = [
            "version: 0.1",
            f"storage: {{filesystem: {{rootdirectory: {self.directory / 'images'}}}}}",
            f"http: {{addr: '{LOOPBACK}:{self.port}'}}",
            f"auth: {{htpasswd: {{realm: keyturn, path: {self.file}}}}}",
        ]
        write_private(self.directory / "config.yml", "".join(f"{line}\n" for line in lines))
        return ["serve", str(self.directory / "config.yml")]

    def line(self, name: str, password: str) -> str:
        return f"{name}:{FORMATS[self.format].value(password)}"


class Bind(FileServer):
    """Each account is a key, which a query of the only zone must be signed with."""

    format = FileFormat.TSIG
    protocol = "tsig"
    program = "named"

    def arguments(self) -> list[str]:
        zone = "$TTL 60\n@ IN SOA ns.example.test. admin.example.test. 1 60 60 60 60\n@ IN NS ns.example.test.\n"
        write_private(self.directory / "zone", f"{zone}ns IN A {LOOPBACK}\n")
        options = f"listen-on port {self.port} {{ {LOOPBACK}; }}; listen-on-v6 {{ none; }}; recursion no;"
        options += f' directory "{self.directory}"; pid-file none; session-keyfile none; dnssec-validation no;'
        lines = [
            f'include "{self.file}";',
            f"options {{ {options} allow-query {{ apps; }}; }};",
            "controls { };",
            f'zone "example.test" {{ type primary; file "{self.directory / "zone"}"; }};',
        ]
        write_private(self.directory / "named.conf", "".join(f"{line}\n" for line in lines))
        return ["-g", "-c", str(self.directory / "named.conf")]

    def line(self, name: str, password: str) -> str:
        return f'key "{name}" {{ algorithm hmac-sha256; secret "{password}"; }};'

    def whole(self, lines: list[str]) -> str:
        names = [line.split('"')[1] for line in lines]
        keys = " ".join(f'key "{name}";' for name in names)
        return super().whole([*lines, f"acl apps {{ {keys} }};"])

    def is_account(self, line: str) -> bool:
        return line.startswith("key")

    def more(self) -> list[str]:
        dig = find_program("dig")
        return [str(dig.path), dig.environment.get("LD_LIBRARY_PATH", "")]
