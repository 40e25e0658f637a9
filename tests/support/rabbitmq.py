"""A real RabbitMQ on loopback, out of Debian's package, with its management API."""

import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests

from local.debian import Program
from local.programs import find_program
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process

STARTS_WITHIN: Final = 300
"""Seconds; on a busy machine it takes over a minute."""

FRAME_END: Final = b"\xce"
CONNECTION: Final = 10
START_OK, TUNE_OK, OPEN = 11, 31, 40
"""Methods of the class connection (AMQP 0-9-1, 1.4)."""


class RabbitMq:
    """One node with an administrator, under ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{free_port()}"
        self.admin_password = secrets.token_hex(16)
        self._directory = directory
        self._epmd = Process("epmd", directory)
        self._node = Process("rabbitmq", directory)

    def __enter__(self) -> "RabbitMq":
        server = find_program("rabbitmq-server")
        private_directory(self._directory)
        write_private(self._directory / "enabled_plugins", "[rabbitmq_management].\n")
        write_private(self._directory / "rabbitmq.conf", self._settings())
        environment = self._environment(server)
        erts = next((self._root(server) / "usr/lib/erlang").glob("erts-*")) / "bin"
        epmd = [str(erts / "epmd"), "-address", LOOPBACK]
        self._epmd.start(epmd, ready=lambda: self._epmd.pid is not None, environment=environment)
        scripts = next((self._root(server) / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")) / "sbin"
        try:
            command = [str(scripts / "rabbitmq-server")]
            self._node.start(command, ready=self._answers, environment=environment, timeout=STARTS_WITHIN)
        except BaseException:
            self._epmd.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._node.stop()
        self._epmd.stop()

    def ask(self, method: str, path: str, **body: object) -> requests.Response:
        """Send a request as the administrator."""
        login = ("admin", self.admin_password)
        return requests.request(method, f"{self.url}{path}", json=body or None, auth=login, timeout=30)

    def logs_in(self, username: str, password: str) -> bool:
        """Whether a client may open an AMQP connection."""
        try:
            with self.connected(username, password):
                return True
        except ConnectionError:
            return False

    @contextmanager
    def connected(self, username: str, password: str) -> Iterator[Callable[[], bool]]:
        """An AMQP connection, and what tells whether it is still open. Raises ConnectionError for a refused login."""
        with socket.create_connection((LOOPBACK, self.port), timeout=30) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            received(connection)  # start
            response = f"\0{username}\0{password}".encode()
            start_ok = struct.pack("!L", 0) + short(b"PLAIN") + struct.pack("!L", len(response)) + response
            send(connection, START_OK, start_ok + short(b"en_US"))
            tune = received(connection)
            send(connection, TUNE_OK, tune[4:])
            send(connection, OPEN, short(b"/") + short(b"") + b"\0")
            received(connection)  # open-ok
            connection.settimeout(0.5)
            yield lambda: is_open(connection)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/api/overview").status_code == 200 and self.logs_in("admin", self.admin_password)
        except (OSError, requests.RequestException):
            return False

    def _settings(self) -> str:
        return "\n".join(
            [
                f"listeners.tcp.default = {LOOPBACK}:{self.port}",
                f"management.tcp.ip = {LOOPBACK}",
                f"management.tcp.port = {self.url.rpartition(':')[2]}",
                "default_user = admin",
                f"default_pass = {self.admin_password}",
                "heartbeat = 0",
                "",
            ]
        )

    def _root(self, server: Program) -> Path:
        return server.root or Path("/")

    def _environment(self, server: Program) -> dict[str, str]:
        """Debian's ``erl`` begins with a fixed directory, so another one leads to where the package was unpacked."""
        erlang = self._root(server) / "usr/lib/erlang"
        binaries = next(erlang.glob("erts-*")) / "bin"
        erl = self._directory / "bin" / "erl"
        private_directory(erl.parent)
        exports = f"export EMU=beam PROGNAME=erl ROOTDIR={erlang} BINDIR={binaries}"
        write_private(erl, f'#!/bin/sh\n{exports}\nexec {binaries}/erlexec "$@"\n')
        erl.chmod(0o700)
        return {
            **os.environ,
            **server.environment,
            "PATH": f"{erl.parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._directory),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": "keyturn@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(self._directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._directory / "data"),
            "RABBITMQ_LOG_BASE": str(self._directory / "log"),
            "RABBITMQ_PID_FILE": str(self._directory / "node.pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }


def short(text: bytes) -> bytes:
    """A short string of AMQP."""
    return bytes([len(text)]) + text


def send(connection: socket.socket, method: int, arguments: bytes) -> None:
    """Send a method of the class connection."""
    payload = struct.pack("!HH", CONNECTION, method) + arguments
    connection.sendall(struct.pack("!BHL", 1, 0, len(payload)) + payload + FRAME_END)


def received(connection: socket.socket) -> bytes:
    """The next method, without its frame. Raises ConnectionError where the server closes."""
    _, _, length = struct.unpack("!BHL", exactly(connection, 7))
    payload = exactly(connection, length + 1)[:-1]
    if struct.unpack("!HH", payload[:4]) == (CONNECTION, 50):
        raise ConnectionError("the server closes the connection")
    return payload


def exactly(connection: socket.socket, length: int) -> bytes:
    read = b""
    while len(read) < length:
        piece = connection.recv(length - len(read))
        if not piece:
            raise ConnectionError("the server has closed the connection")
        read += piece
    return read


def is_open(connection: socket.socket) -> bool:
    """Whether the server says nothing, and so neither closes nor has closed it."""
    try:
        received(connection)
    except TimeoutError:
        return True
    except OSError:
        return False
    return True
