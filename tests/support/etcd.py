"""A real etcd on loopback, out of Debian's package, whose users are asked for a password."""

import os
import secrets
from pathlib import Path

import requests

from keyturn.core.sensitive import SecretFields
from local.programs import find_program
from local.support.files import private_directory
from local.support.ports import LOOPBACK, free_ports
from local.support.process import Process


class Etcd:
    """One member with the user root, under ``directory``."""

    def __init__(self, directory: Path) -> None:
        client, peer = free_ports(2)
        self.url = f"http://{LOOPBACK}:{client}"
        self._peer = f"http://{LOOPBACK}:{peer}"
        self.admin = SecretFields({"username": "root", "password": secrets.token_hex(16)})
        self._directory = directory
        self._process = Process("etcd", directory)

    def __enter__(self) -> "Etcd":
        server = find_program("etcd")
        private_directory(self._directory)
        options = {
            "data-dir": str(self._directory / "data"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peer,
            "initial-advertise-peer-urls": self._peer,
            "initial-cluster": f"default={self._peer}",
            "bcrypt-cost": "4",
        }
        command = [str(server.path), *(f"--{name}={value}" for name, value in options.items())]
        environment = {**os.environ, **server.environment}
        self._process.start(command, ready=self._answers, environment=environment, cwd=self._directory)
        self.ask("auth/user/add", name="root", password=self.admin["password"].reveal())
        self.ask("auth/role/add", name="root")
        self.ask("auth/user/grant", user="root", role="root")
        self.ask("auth/enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def ask(self, path: str, token: str = "", **body: str) -> requests.Response:
        """Send a request that must succeed."""
        answer = self.send(path, token, **body)
        answer.raise_for_status()
        return answer

    def send(self, path: str, token: str = "", **body: str) -> requests.Response:
        headers = {"authorization": token} if token else {}
        return requests.post(f"{self.url}/v3/{path}", json=body, headers=headers, timeout=30)

    def token(self, fields: SecretFields) -> str | None:
        """A client's login, as long as it is valid; None where it is refused."""
        name, password = fields["username"].reveal(), fields["password"].reveal()
        answer = self.send("auth/authenticate", name=name, password=password)
        return str(answer.json()["token"]) if answer.ok else None

    def add(self, fields: SecretFields) -> None:
        """Add a user, as a person does."""
        name, password = fields["username"].reveal(), fields["password"].reveal()
        self.ask("auth/user/add", self.token(self.admin) or "", name=name, password=password)

    def is_valid(self, token: str) -> bool:
        """Whether a client's token still is: its user has no rights, which another refusal says."""
        return self.send("kv/range", token, key="YQ==").status_code == 403

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).json()["health"] == "true"
        except (requests.RequestException, ValueError):
            return False
