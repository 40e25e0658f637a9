"""``python -m deployments.local.github --port N --data DIR --repository OWNER/NAME``: serve until SIGTERM."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from deployments.local.files import kept_secret
from deployments.local.github.emulator import Conduct, Emulator
from deployments.local.github.server import Server
from deployments.local.github.state import State

PROGRAM = "github"


def main(given: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 where the port is taken."""
    options = _parser().parse_args(given)
    state = State(options.data)
    for repository in options.repository:
        state.add(repository, None)
    for place in options.environment:
        repository, _, environment = place.partition(":")
        state.add(repository, environment)
    conduct = Conduct(options.hourly_requests, options.writes_per_minute, frozenset(options.deny))
    try:
        server = Server(Emulator(state, kept_secret(options.data / "token"), conduct), options.port)
    except OSError as error:
        sys.stderr.write(f"{PROGRAM}: can't serve on 127.0.0.1:{options.port}: {error.strerror or error}\n")
        return 1
    _stop_on_signal(server)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Actions secrets and variables of GitHub, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps everything; the token is there")
    parser.add_argument("--repository", action="append", default=[], metavar="OWNER/NAME", help="make it if absent")
    parser.add_argument("--environment", action="append", default=[], metavar="OWNER/NAME:ENVIRONMENT")
    parser.add_argument("--hourly-requests", type=int, help="the primary rate limit; none without it")
    parser.add_argument("--writes-per-minute", type=int, help="a secondary rate limit; none without it")
    parser.add_argument("--deny", action="append", default=[], metavar="AREA:ACCESS", help="such as secrets:write")
    return parser


def _stop_on_signal(server: Server) -> None:
    def stop(*_: object) -> None:
        # shutdown() waits for the loop that this handler interrupted, so it needs a thread of its own.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
