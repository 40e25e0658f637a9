"""``python -m deployments.local.healthy PORT PATH [CA_FILE HOST]``: whether a server answers 200 there, over TLS.

The check of a container. On loopback the stack's authority is trusted, which lies under KEYTURN_HOME.
"""

import sys
from http import HTTPStatus

from deployments.local.support.ports import LOOPBACK, http_status
from keyturn.cli.environment import home_directory


def main(port: str, path: str, ca_file: str = "", host: str = LOOPBACK) -> int:
    """0 where it does."""
    trusted = ca_file or str(home_directory() / "tls" / "ca.pem")
    return int(http_status(int(port), path, ca_file=trusted, host=host) != HTTPStatus.OK)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
