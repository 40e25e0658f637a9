"""``python -m local.emulators.github --port N --data DIR --repository OWNER/NAME``: serve until SIGTERM."""

import argparse
import sys

from deployments.server_options import add_certificate
from local.emulators.github.emulator import Conduct, Emulator
from local.emulators.github.server import PROGRAM, Server
from local.emulators.github.state import State
from local.emulators.http_server import cannot_serve, parser, serve
from local.support.files import kept_secret
from local.support.serving import context_of


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 where the port is taken."""
    options = _parser().parse_args(argv)
    state = State(options.data)
    for repository in options.repository:
        state.add(repository, None)
    for place in options.environment:
        repository, _, environment = place.partition(":")
        state.add(repository, environment)
    conduct = Conduct(options.hourly_requests, options.writes_per_minute, frozenset(options.deny))
    try:
        emulator = Emulator(state, kept_secret(options.data / "token"), conduct)
        server = Server(emulator, options.port, host=options.host, tls=context_of(options))
    except OSError as error:
        return cannot_serve(PROGRAM, options.host, options.port, error)
    return serve(server)


def _parser() -> argparse.ArgumentParser:
    description = "Actions secrets and variables of GitHub, on loopback."
    made = parser(PROGRAM, description, data="directory that keeps everything; the token is there")
    add_certificate(made)
    made.add_argument("--repository", action="append", default=[], metavar="OWNER/NAME", help="make it if absent")
    made.add_argument("--environment", action="append", default=[], metavar="OWNER/NAME:ENVIRONMENT")
    made.add_argument("--hourly-requests", type=int, help="the primary rate limit; none without it")
    made.add_argument("--writes-per-minute", type=int, help="a secondary rate limit; none without it")
    made.add_argument("--deny", action="append", default=[], metavar="AREA:ACCESS", help="such as secrets:write")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
