"""Run the emulator: ``python -m local.emulators.gcp_secret_manager --port N --data DIR``."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

# Its C library would add lines of its own to the one that says what went wrong. It reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from deployments.server_options import add_certificate, add_host
from local.emulators.gcp_secret_manager.admission import Admission, Login
from local.emulators.gcp_secret_manager.paging import LARGEST_PAGE
from local.emulators.gcp_secret_manager.servicer import make_server
from local.emulators.gcp_secret_manager.state import State


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code says whether it could."""
    options = _parser().parse_args(arguments)
    token = None
    if options.require_token_env and not (token := os.environ.get(options.require_token_env)):
        return _complain(f"the environment variable {options.require_token_env} holds no token")
    state = State(options.data)
    logins = [Login(file) for file in options.login_token]
    server = make_server(state, Admission(token, options.requests_per_minute, logins), options.largest_page)
    try:
        _listen(server, options)
    except OSError as error:
        state.close()
        return _complain(f"the certificate can't be read: {error.strerror}")
    except RuntimeError:
        state.close()
        return _complain(f"port {options.port} is in use")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stopping.wait()
    server.stop(grace=1).wait()
    state.close()
    return 0


def _listen(server: grpc.Server, options: argparse.Namespace) -> None:
    address = f"{options.host}:{options.port}"
    if options.cert and options.key:
        pair = options.key.read_bytes(), options.cert.read_bytes()
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gcp_secret_manager", description="Emulates Google Cloud Secret Manager.")
    add_host(parser)
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    add_certificate(parser)
    parser.add_argument("--data", type=Path, required=True, help="directory of its state; made if absent")
    parser.add_argument("--require-token-env", metavar="NAME", help="admit only the bearer token in this variable")
    parser.add_argument(
        "--login-token", type=Path, action="append", default=[], help="of a login; its rights are in FILE.json"
    )
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="refuse calls above this quota")
    parser.add_argument(
        "--largest-page", type=int, default=LARGEST_PAGE, metavar="N", help="list at most this many on a page"
    )
    return parser


def _complain(problem: str) -> int:
    sys.stderr.write(f"gcp_secret_manager: {problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
