"""Logins to servers with credential files, by their own protocols: for tests, and as a check of the operator's.

``python login_check.py PROTOCOL PORT [PROGRAM]`` reads a name and a password, and exits with 0 or 1. It imports nothing
but the standard library.
"""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from typing import Any, BinaryIO

LOOPBACK = "127.0.0.1"
TIMEOUT = 20


def mqtt(port: int, name: str, password: str) -> socket.socket | None:
    """An open session (MQTT 3.1.1); None where the login is refused."""
    connection = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT)
    texts = (os.urandom(8).hex(), name, password)
    payload = b"".join(struct.pack("!H", len(text)) + text.encode() for text in texts)
    body = b"\0\4MQTT\4" + bytes([0xC2]) + struct.pack("!H", 600) + payload
    connection.sendall(b"\x10" + bytes([len(body)]) + body)
    answer = connection.recv(4)
    if len(answer) == 4 and answer[3] == 0:
        return connection
    connection.close()
    return None


def mqtt_answers(session: socket.socket) -> bool:
    """Whether an open session still works: it is pinged."""
    try:
        session.sendall(b"\xc0\0")
        return session.recv(2) == b"\xd0\0"
    except OSError:
        return False


def nats(port: int, name: str, password: str) -> socket.socket | None:
    """An open session; None where the login is refused."""
    connection = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT)
    with connection.makefile("rb") as stream:
        return _greeted(connection, stream, name, password)


def _greeted(connection: socket.socket, stream: BinaryIO, name: str, password: str) -> socket.socket | None:
    stream.readline()
    said = json.dumps({"user": name, "pass": password, "verbose": False, "pedantic": False})
    connection.sendall(f"CONNECT {said}\r\nPING\r\n".encode())
    if stream.readline().startswith(b"PONG"):
        return connection
    connection.close()
    return None


def nats_answers(session: socket.socket) -> bool:
    try:
        session.sendall(b"PING\r\n")
        return session.recv(4) == b"PONG"
    except OSError:
        return False


def http(port: int, name: str, password: str) -> bool:
    """Whether a request with this login is answered (HTTP Basic)."""
    login = base64.b64encode(f"{name}:{password}".encode()).decode()
    connection = HTTPConnection(LOOPBACK, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/v2/", headers={"authorization": f"Basic {login}"})
        status = connection.getresponse().status
    finally:
        connection.close()
    assert status in (200, 401), status
    return status == 200


def tsig(port: int, name: str, password: str, dig: str, libraries: str) -> bool:
    """Whether a query that is signed with this key is answered (TSIG)."""
    with tempfile.NamedTemporaryFile("w", suffix=".key") as file:
        file.write(f'key "{name}" {{ algorithm hmac-sha256; secret "{password}"; }};\n')
        file.flush()
        command = [dig, f"@{LOOPBACK}", "-p", str(port), "-k", file.name, "+tcp", "+tries=1", "example.test", "SOA"]
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT, env=environment)
    found = re.search(r"status: (\w+)", done.stdout)
    assert found, done.stdout
    return found[1] == "NOERROR"


LOGINS = {"mqtt": mqtt, "nats": nats, "http": http, "tsig": tsig}


def lets_in(protocol: str, port: int, name: str, password: str, *more: str) -> bool:
    """Whether the server accepts the login; a session that it opens is closed again."""
    accepted: Any = LOGINS[protocol](port, name, password, *more)  # type: ignore[operator]
    if isinstance(accepted, socket.socket):
        accepted.close()
    return accepted not in (None, False)


def main(protocol: str, port: str, *more: str) -> int:
    name, password = sys.stdin.read().splitlines()
    return 0 if lets_in(protocol, int(port), name, password, *more) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
