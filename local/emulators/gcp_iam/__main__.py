"""``python -m local.emulators.gcp_iam --port N --data DIR``: serve until SIGTERM."""

import argparse
import sys

from local.emulators.gcp_iam.emulator import Conduct, Emulator
from local.emulators.gcp_iam.server import PROGRAM, Server
from local.emulators.http_server import cannot_serve, parser, serve


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 where the port is taken."""
    options = _parser().parse_args(argv)
    life = options.key_life_hours * 3600 if options.key_life_hours else None
    emulator = Emulator(options.data, Conduct(options.key_settle_seconds, life, frozenset(options.deny)))
    for email in options.service_account:
        emulator.add_account(email)
    try:
        server = Server(emulator, options.port, host=options.host)
    except OSError as error:
        emulator.close()
        return cannot_serve(PROGRAM, options.host, options.port, error)
    return serve(server)


def _parser() -> argparse.ArgumentParser:
    description = "Keys of Google Cloud service accounts, on loopback."
    made = parser(PROGRAM, description, data="directory that keeps the accounts between starts")
    made.add_argument("--service-account", action="append", default=[], metavar="EMAIL", help="make it if absent")
    made.add_argument("--key-settle-seconds", type=float, default=0, help="until a new key signs in")
    made.add_argument("--key-life-hours", type=float, help="as the constraint iam.serviceAccountKeyExpiryHours")
    made.add_argument("--deny", action="append", default=[], metavar="PERMISSION", help="the caller lacks this one")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
