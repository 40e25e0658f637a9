"""What `keyturn proxy` adds to a request, next to no proxy and to a bare asyncio proxy, in the same run.

    python -m benchmarks.proxy [--requests 3000] [--rotations 200] [--callers 16]

Each server is a process: the service, the bare proxy (`benchmarks/bare_proxy.py`), and Keyturn's. One client sends
small requests over kept connections, to each in turn. On a busy machine the median tells more of the load than of the
proxy: see the fastest tenth. Then callers stream answers through Keyturn's while the key is
rotated: it counts failed calls, calls with a key that had ended, and the time from the acknowledgement of a notice to
the first call with the new key.
"""

import argparse
import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from keyturn.agent.application import Agent
from keyturn.agent.caller_auth import LocalEntrance
from keyturn.agent.http import Door, Server
from keyturn.agent.plain_names import PlainNames
from keyturn.agent.proxy.callers import Placeholders
from keyturn.agent.proxy.gateway import Gateway
from keyturn.agent.proxy.routes import Route
from keyturn.agent.sockets import open_loopback
from keyturn.catalogue.routes import RouteSettings
from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import SecretFields, Sensitive
from local.support.ports import free_port

PLACEHOLDER: Final = "placeholder-0"
PATH: Final = "ai/service"
BODY: Final = json.dumps({"model": "small", "messages": [{"role": "user", "content": "x" * 300}]}).encode()
BLOCK: Final = 50
"""Requests to one server before the next one."""


class Versions:
    """A source whose only secret has version after version."""

    name = "versions"
    version = 1

    def read(self, path: str) -> Secret:
        fields = SecretFields({"value": key_of(self.version)})
        now = datetime.now(UTC)
        return Secret(path, fields, self.version, str(self.version), self.name, now, now)

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        return {path: self.read(path) for path in paths}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(paths, str(self.version))


def key_of(version: int) -> str:
    return f"sk-{version:032d}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The service: a small answer, or a stream of twenty events, with the number of the key in it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            await reader.readexactly(int(lines.get(b"content-length", b"0")))
            number = int(lines[b"authorization"].rpartition(b"-")[2])
            if b"/stream" in head.partition(b"\r\n")[0]:
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for event in range(20):
                    data = b"data: %d %d\n\n" % (number, event)
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                    await asyncio.sleep(0.005)
                writer.write(b"0\r\n\r\n")
            else:
                text = b'{"key": %d, "usage": {"total_tokens": 12}}' % number
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text)
                )
                writer.write(text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve_service(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


async def serve_keyturn(port: int, upstream: int) -> None:
    """Keyturn's proxy; a line on the standard input rotates the key, and is answered by its acknowledgement."""
    source, loop = Versions(), asyncio.get_running_loop()
    with SecretClient([source], poll=0) as client:
        allow = [{"methods": ["POST"], "paths": ["/**"]}]
        settings = {"secret": PATH, "url": f"http://127.0.0.1:{upstream}", "allow": allow, "callers": ["bench"]}
        route = Route("service", RouteSettings.model_validate(settings))
        placeholders = Placeholders({"bench": Sensitive(PLACEHOLDER)})
        gateway = Gateway(client, lambda: {"service": route}, lambda: placeholders, lambda passage: None)
        agent, server = Agent(client, PlainNames, on_notice=gateway.told), Server()
        client.get(PATH)
        server.open(Door(open_loopback(port), agent.behind(LocalEntrance(Sensitive("x" * 32))), None, gateway))
        print("ready", flush=True)

        def rotate() -> None:
            for _ in sys.stdin:
                source.version += 1
                gateway.told(Notice(SECRET_ROTATED, PATH, source.version, datetime.now(UTC)))
                print(source.version, flush=True)

        await loop.run_in_executor(None, rotate)


@contextmanager
def process(*words: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if not server.stdout or server.stdout.readline() != "ready\n":
            raise RuntimeError(f"{words[0]} did not start")
        try:
            yield server
        finally:
            server.kill()


def send(connection: http.client.HTTPConnection, path: str) -> bytes:
    headers = {"authorization": f"Bearer {PLACEHOLDER}", "content-type": "application/json", "accept": "*/*"}
    connection.request("POST", path, BODY, headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status} {text!r}")
    return text


def times(ports: Mapping[str, int], requests: int) -> dict[str, list[float]]:
    """Seconds of each small request, by server."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, port in ports.items()}
    taken: dict[str, list[float]] = {name: [] for name in ports}
    for block in range(requests // BLOCK + 1):
        for name, connection in connections.items():
            for _ in range(BLOCK):
                began = time.perf_counter()
                send(connection, "/to/service/small")
                if block:  # the first block warms up
                    taken[name].append(time.perf_counter() - began)
    return taken


def rotated(
    port: int, proxy: "subprocess.Popen[str]", rotations: int, callers: int
) -> tuple[int, int, int, list[float]]:
    """Calls, failed calls, calls with an ended key, and the seconds until the new key was used."""
    if not (proxy.stdin and proxy.stdout):
        raise RuntimeError("the proxy has no pipes")
    acknowledged, seen = [1, time.perf_counter()], threading.Condition()
    calls, failed, ended, first = 0, 0, 0, dict[int, float]()
    over = threading.Event()

    def work() -> None:
        nonlocal calls, failed, ended
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not over.is_set():
            least = acknowledged[0]
            try:
                version = int(send(connection, "/to/service/stream").split()[1])
            except (OSError, RuntimeError, http.client.HTTPException):
                failed += 1
                connection.close()
                continue
            with seen:
                calls, ended = calls + 1, ended + (version < least)

    def small() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not over.is_set():
            version = json.loads(send(connection, "/to/service/small"))["key"]
            with seen:
                first.setdefault(version, time.perf_counter())

    threads = [threading.Thread(target=work) for _ in range(callers)] + [threading.Thread(target=small)]
    for thread in threads:
        thread.start()
    late = list[float]()
    for _ in range(rotations):
        proxy.stdin.write("\n")
        proxy.stdin.flush()
        version, now = int(proxy.stdout.readline()), time.perf_counter()
        acknowledged[:] = [version, now]
        while version not in first and time.perf_counter() < now + 10:
            time.sleep(0.001)
        late.append(max(0.0, first.get(version, float("inf")) - now))
    over.set()
    for thread in threads:
        thread.join()
    return calls, failed, ended, late


def measure(requests: int, rotations: int, callers: int) -> dict[str, float]:
    """The figures, by name; times in milliseconds."""
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("none", "bare", "keyturn")}
        upstream = str(ports["none"])
        stack.enter_context(process("benchmarks.proxy", "--serve-service", upstream))
        stack.enter_context(process("benchmarks.bare_proxy", str(ports["bare"]), upstream))
        proxy = stack.enter_context(process("benchmarks.proxy", "--serve-keyturn", str(ports["keyturn"]), upstream))
        taken = times(ports, requests)
        medians = {name: 1000 * statistics.median(seconds) for name, seconds in taken.items()}
        high = {name: 1000 * statistics.quantiles(seconds, n=100)[98] for name, seconds in taken.items()}
        calls, failed, ended, late = rotated(ports["keyturn"], proxy, rotations, callers)
    tenth = {name: statistics.quantiles(seconds, n=10)[0] for name, seconds in taken.items()}
    return {
        **{f"{name} ms": median for name, median in medians.items()},
        "ratio": medians["keyturn"] / medians["bare"],
        "ratio of the fastest tenth": tenth["keyturn"] / tenth["bare"],
        "added": medians["keyturn"] - medians["none"],
        "added p99": high["keyturn"] - high["none"],
        "calls": calls,
        "failed": failed,
        "ended": ended,
        "new key p99": 1000 * statistics.quantiles(late, n=100)[98],
    }


def main() -> None:
    """Measure and print, or serve one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rotations", type=int, default=200)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--serve-service", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve-keyturn", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_service:
        asyncio.run(serve_service(options.serve_service))
    elif options.serve_keyturn:
        asyncio.run(serve_keyturn(*options.serve_keyturn))
    else:
        for name, figure in measure(options.requests, options.rotations, options.callers).items():
            print(f"{name:26} {figure:10.3f}")


if __name__ == "__main__":
    main()
