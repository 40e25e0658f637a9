"""``python -m local.emulators.kubernetes``: serve a cluster's API until SIGTERM."""

import argparse
import sys
from functools import partial
from pathlib import Path

from local.emulators.http_server import cannot_serve, parser, serve
from local.emulators.kubernetes.access import READ, Account, rules, rules_in
from local.emulators.kubernetes.emulator import Emulator
from local.emulators.kubernetes.objects import SECRETS, WORKLOADS
from local.emulators.kubernetes.server import PROGRAM, Server
from local.emulators.rights import Documents, Rights


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line, read."""
    description = "A Kubernetes API server on loopback, over HTTPS."
    made = parser(PROGRAM, description, data="directory that keeps the objects between starts", tls=True)
    made.add_argument("--namespace", action="append", help="a namespace that is there; may be given again")
    made.add_argument("--token-file", type=Path, required=True, help="the token of who may do everything")
    made.add_argument(
        "--login-token",
        type=Path,
        action="append",
        default=[],
        help="of the service account FILE; its rights are in FILE.json",
    )
    made.add_argument("--reader-token-file", type=Path, help="the token of who may only read")
    made.add_argument("--requests-per-10s", type=int, help="refuse more calls than this with 429")
    return made.parse_args(argv)


def accounts(args: argparse.Namespace) -> list[Account]:
    """Who may sign in. Exits with a sentence where a token is missing."""
    accounts = [Account("system:serviceaccount:default:keyturn", _token(args.token_file))]
    if args.reader_token_file:
        reading = rules(**{kind.resource: READ for kind in (SECRETS, *WORKLOADS)})
        accounts.append(Account("system:serviceaccount:default:reader", _token(args.reader_token_file), reading))
    return [*accounts, *(login(file, None) for file in args.login_token)]


def login(file: Path, documents: Documents | None) -> Account:
    """The account of a login's token."""
    granted = None if documents is None else rules_in(documents)
    return Account(f"system:serviceaccount:default:{file.name}", _token(file), granted)


def _token(path: Path) -> str:
    token = path.read_text().strip() if path.is_file() else ""
    if not token:
        sys.exit(f"{PROGRAM}: {path} must hold a token")
    return token


def _admit(emulator: Emulator, file: Path, documents: Documents | None) -> None:
    emulator.admit(login(file, documents))


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; 1 when the port can't be had."""
    args = arguments(argv)
    emulator = Emulator(
        args.data,
        accounts(args),
        namespaces=args.namespace or ("default",),
        requests_per_10s=args.requests_per_10s,
    )
    emulator.rights = tuple(
        Rights(file.with_suffix(".json"), partial(_admit, emulator, file)) for file in args.login_token
    )
    try:
        server = Server(emulator, args.cert, args.key, args.port, host=args.host)
    except OSError as error:
        emulator.close()
        return cannot_serve(PROGRAM, args.host, args.port, error)
    return serve(server, f"ready on {args.host}:{server.port}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
