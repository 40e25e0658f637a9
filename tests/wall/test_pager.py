"""The demonstration's pager rejects malformed messages."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests

from local.pager import Pager
from local.support.ports import LOOPBACK, free_port

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture
def pager() -> Iterator[tuple[Pager, int]]:
    """One that listens, and its port."""
    port = free_port()
    with closing(Pager(port)) as listening:
        yield listening, port


def answer_to(port: int, head: str, body: bytes = b"") -> bytes:
    """The first line of what it says to a request, after which nothing more is sent."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    "head",
    ["x: y", "content-length: many", "content-length: -1", f"content-length: {'9' * 5000}", "content-length: 7"],
    ids=["none", "no number", "negative", "5000 digits", "too long for what comes"],
)
def test_an_invalid_length_is_refused(pager: tuple[Pager, int], head: str) -> None:
    listening, port = pager
    assert b" 400 " in answer_to(port, head, b"{}")
    assert listening.messages == []


@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b"\xff", b"[" * 60_000])
def test_a_malformed_message_is_refused(pager: tuple[Pager, int], body: bytes) -> None:
    listening, port = pager
    assert b" 400 " in answer_to(port, f"content-length: {len(body)}", body)
    assert listening.messages == []
    message = json.dumps({"title": "t", "message": "m"}).encode()
    assert requests.post(f"http://{LOOPBACK}:{port}/", message, timeout=20).status_code == 200
    assert listening.messages == ["t\nm"]
