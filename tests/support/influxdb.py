"""A real InfluxDB 1.x on loopback, out of Debian's package, that asks for logins."""

import os
import secrets
from pathlib import Path

import requests

from keyturn.core.sensitive import SecretFields
from local.programs import find_program
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK, free_ports
from local.support.process import Process


class InfluxDb:
    """One server with an administrator, under ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._port, self._backup = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self._port}"
        self.admin = SecretFields({"username": "admin", "password": secrets.token_hex(16)})
        self._directory = directory
        self._process = Process("influxdb", directory)

    def __enter__(self) -> "InfluxDb":
        server = find_program("influxd")
        private_directory(self._directory)
        file = self._directory / "influxdb.conf"
        write_private(file, self._settings())
        command = [str(server.path), "run", "-config", str(file)]
        self._process.start(command, ready=self._answers, environment={**os.environ, **server.environment})
        statement = f"CREATE USER admin WITH PASSWORD '{self.admin['password'].reveal()}' WITH ALL PRIVILEGES"
        requests.post(f"{self.url}/query", data={"q": statement}, timeout=30).raise_for_status()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def add(self, fields: SecretFields) -> None:
        """Add a user, as a person does."""
        name, password = fields["username"].reveal(), fields["password"].reveal()
        self.query(self.admin, f"CREATE USER \"{name}\" WITH PASSWORD '{password}'").raise_for_status()

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether a client gets in with this version."""
        return self.query(fields, "SHOW DATABASES").ok

    def query(self, fields: SecretFields, statement: str) -> requests.Response:
        login = fields["username"].reveal(), fields["password"].reveal()
        return requests.post(f"{self.url}/query", data={"q": statement}, auth=login, timeout=30)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/ping", timeout=5).status_code == 204
        except requests.RequestException:
            return False

    def _settings(self) -> str:
        return "\n".join(
            [
                "reporting-disabled = true",
                f'bind-address = "{LOOPBACK}:{self._backup}"',
                *(f'[{part}]\ndir = "{self._directory / part}"' for part in ("meta", "data")),
                f'wal-dir = "{self._directory / "wal"}"',
                f'[http]\nbind-address = "{LOOPBACK}:{self._port}"\nauth-enabled = true',
                "",
            ]
        )
