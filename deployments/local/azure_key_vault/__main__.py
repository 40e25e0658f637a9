"""``python -m deployments.local.azure_key_vault``: serve one vault until SIGTERM."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from deployments.local.azure_key_vault.auth import ADMINISTRATOR, SECRETS_USER, Application, Directory
from deployments.local.azure_key_vault.emulator import Emulator
from deployments.local.azure_key_vault.server import Server
from deployments.local.azure_key_vault.throttle import Limits

PROGRAM = "azure-key-vault"


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Azure Key Vault on loopback, over HTTPS.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", type=Path, required=True, help="certificate for localhost and 127.0.0.1, PEM")
    parser.add_argument("--key", type=Path, required=True, help="its private key, PEM")
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps the vault between starts")
    parser.add_argument("--tenant-id", default=os.environ.get("AZURE_TENANT_ID"))
    parser.add_argument("--client-id", default=os.environ.get("AZURE_CLIENT_ID"), help="may do everything")
    parser.add_argument("--client-secret-env", default="AZURE_CLIENT_SECRET", metavar="NAME")
    parser.add_argument("--reader-client-id", help="may only read secrets")
    parser.add_argument("--reader-client-secret-env", metavar="NAME")
    parser.add_argument("--identity-header-env", default="IDENTITY_HEADER", metavar="NAME", help="for /msi/token")
    parser.add_argument("--requests-per-10s", type=int, help="refuse more calls than this with 429")
    parser.add_argument("--creates-per-10s", type=int, help="refuse more new secret versions than this with 429")
    parser.add_argument("--settle-seconds", type=float, default=0, help="how long deletions and recoveries take")
    return parser.parse_args(given)


def directory(args: argparse.Namespace) -> Directory:
    """The tenant that the arguments describe. Exits with a sentence when something is missing."""
    if not args.tenant_id or not args.client_id:
        sys.exit(f"{PROGRAM}: --tenant-id and --client-id (or AZURE_TENANT_ID and AZURE_CLIENT_ID) are needed")
    applications = [Application(args.client_id, _secret(args.client_secret_env), ADMINISTRATOR)]
    if args.reader_client_id:
        applications.append(Application(args.reader_client_id, _secret(args.reader_client_secret_env), SECRETS_USER))
    return Directory(args.tenant_id, tuple(applications), os.environ.get(args.identity_header_env))


def _secret(variable: str | None) -> str:
    secret = os.environ.get(variable or "")
    if not secret:
        sys.exit(f"{PROGRAM}: the environment variable {variable or '(not named)'} must hold the client's secret")
    return secret


def main(given: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 when the port can't be had."""
    args = arguments(given)
    limits = Limits(args.requests_per_10s, args.creates_per_10s)
    emulator = Emulator(args.data, directory(args), limits=limits, settle=args.settle_seconds)
    try:
        server = Server(emulator, args.cert, args.key, args.port)
    except OSError as error:
        emulator.close()
        sys.stderr.write(f"{PROGRAM}: can't serve on 127.0.0.1:{args.port}: {error.strerror or error}\n")
        return 1
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    done.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
