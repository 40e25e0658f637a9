"""``python -m local.emulators.aws --port N --data DIR``: AWS on loopback, in the foreground."""

import argparse
import socket
import sys
from pathlib import Path

from deployments.server_options import add_certificate, add_host
from local.support.serving import context_of


def main() -> int:
    """Serve until told to stop; 1 where the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators.aws", description=__doc__)
    add_host(parser)
    parser.add_argument("--port", type=int, required=True, help="port; 0 takes a free one")
    add_certificate(parser)
    parser.add_argument("--data", type=Path, required=True, help="directory of the secrets and of the access key")
    parser.add_argument("--credentials", type=Path, help="file of that key, if not in there")
    parser.add_argument("--reader-credentials", type=Path, help="file of a key that may only read secrets")
    parser.add_argument(
        "--login-credentials", type=Path, action="append", default=[], help="file of the key of the user FILE"
    )
    parser.add_argument("--key-settle-seconds", type=float, default=0, help="until a user's new access key is known")
    arguments = parser.parse_args()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tls = context_of(arguments)
            listener.bind((arguments.host, arguments.port))
        except OSError as error:
            sys.stderr.write(f"can't listen on {arguments.host}:{arguments.port}: {error.strerror}\n")
            return 1
        listener.listen(128)
        # Loading moto takes a second; a taken port is told before that.
        from local.emulators.aws.server import serve

        first = arguments.credentials or arguments.data / "credentials"
        keys = first, arguments.reader_credentials, arguments.login_credentials
        serve(listener, arguments.data, keys, arguments.key_settle_seconds, tls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
