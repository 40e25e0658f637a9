"""``python -m deployments.local.gcp_iam --port N --data DIR``: serve until SIGTERM."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from deployments.local.gcp_iam.emulator import Conduct, Emulator
from deployments.local.gcp_iam.server import Server

PROGRAM = "gcp-iam"


def main(given: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 where the port is taken."""
    options = _parser().parse_args(given)
    life = options.key_life_hours * 3600 if options.key_life_hours else None
    emulator = Emulator(options.data, Conduct(options.key_settle_seconds, life, frozenset(options.deny)))
    for email in options.service_account:
        emulator.add_account(email)
    try:
        server = Server(emulator, options.port)
    except OSError as error:
        emulator.close()
        sys.stderr.write(f"{PROGRAM}: can't serve on 127.0.0.1:{options.port}: {error.strerror or error}\n")
        return 1
    _stop_on_signal(server)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    emulator.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Keys of Google Cloud service accounts, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps the accounts between starts")
    parser.add_argument("--service-account", action="append", default=[], metavar="EMAIL", help="make it if absent")
    parser.add_argument("--key-settle-seconds", type=float, default=0, help="until a new key signs in")
    parser.add_argument("--key-life-hours", type=float, help="as the constraint iam.serviceAccountKeyExpiryHours")
    parser.add_argument("--deny", action="append", default=[], metavar="PERMISSION", help="the caller lacks this one")
    return parser


def _stop_on_signal(server: Server) -> None:
    def stop(*_: object) -> None:
        # shutdown() waits for the loop that this handler interrupted, so it needs a thread of its own.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
