"""``python -m deployments.local.healthy PORT PATH``: whether a server on loopback answers 200 there, over TLS.

The check of a container: the stack's authority is trusted, which lies under KEYTURN_HOME.
"""

import sys
from http import HTTPStatus

from deployments.local.support.ports import http_status
from keyturn.cli.environment import home_directory


def main(port: str, path: str) -> int:
    """0 where it does."""
    trusted = str(home_directory() / "tls" / "ca.pem")
    return int(http_status(int(port), path, ca_file=trusted) != HTTPStatus.OK)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
