"""``python -m local.emulators.azure_key_vault``: serve one vault until SIGTERM."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from local.emulators.azure_key_vault.auth import ADMINISTRATOR, SECRETS_USER, Application, Directory, assign
from local.emulators.azure_key_vault.emulator import Emulator
from local.emulators.azure_key_vault.server import PROGRAM, Server
from local.emulators.azure_key_vault.throttle import Limits
from local.emulators.http_server import cannot_serve, parser, serve
from local.emulators.rights import Rights


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line, read."""
    description = "Azure Key Vault on loopback, over HTTPS."
    made = parser(PROGRAM, description, data="directory that keeps the vault between starts", tls=True)
    made.add_argument("--tenant-id", default=os.environ.get("AZURE_TENANT_ID"))
    made.add_argument("--client-id", default=os.environ.get("AZURE_CLIENT_ID"), help="may do everything")
    made.add_argument("--client-secret-env", default="AZURE_CLIENT_SECRET", metavar="NAME")
    made.add_argument("--reader-client-id", help="may only read secrets")
    made.add_argument("--reader-client-secret-env", metavar="NAME")
    made.add_argument(
        "--login-secret", type=Path, action="append", default=[], help="of the client FILE; its rights are in FILE.json"
    )
    made.add_argument("--identity-header-env", default="IDENTITY_HEADER", metavar="NAME", help="for /msi/token")
    made.add_argument("--requests-per-10s", type=int, help="refuse more calls than this with 429")
    made.add_argument("--creates-per-10s", type=int, help="refuse more new secret versions than this with 429")
    made.add_argument("--settle-seconds", type=float, default=0, help="how long deletions and recoveries take")
    return made.parse_args(argv)


def directory(args: argparse.Namespace) -> Directory:
    """The tenant that the arguments describe. Exits with a sentence when something is missing."""
    if not args.tenant_id or not args.client_id:
        sys.exit(f"{PROGRAM}: --tenant-id and --client-id (or AZURE_TENANT_ID and AZURE_CLIENT_ID) are needed")
    applications = [Application(args.client_id, _secret(args.client_secret_env), ADMINISTRATOR)]
    if args.reader_client_id:
        applications.append(Application(args.reader_client_id, _secret(args.reader_client_secret_env), SECRETS_USER))
    for file in args.login_secret:
        assign(file.name, None)
        applications.append(Application(file.name, file.read_text(), file.name))
    return Directory(args.tenant_id, tuple(applications), os.environ.get(args.identity_header_env))


def _secret(variable: str | None) -> str:
    secret = os.environ.get(variable or "")
    if not secret:
        sys.exit(f"{PROGRAM}: the environment variable {variable or '(not named)'} must hold the client's secret")
    return secret


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 when the port can't be had."""
    args = arguments(argv)
    rights = [Rights(file.with_suffix(".json"), partial(assign, file.name)) for file in args.login_secret]
    limits = Limits(args.requests_per_10s, args.creates_per_10s)
    emulator = Emulator(args.data, directory(args), limits=limits, settle=args.settle_seconds, rights=rights)
    try:
        server = Server(emulator, args.cert, args.key, args.port, host=args.host)
    except OSError as error:
        emulator.close()
        return cannot_serve(PROGRAM, args.host, args.port, error)
    return serve(server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
