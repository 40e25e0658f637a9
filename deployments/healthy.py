"""``python -m deployments.healthy PORT PATH [CA_FILE HOST]``: whether a server answers 200 over TLS.

The default CA is the stack's, under KEYTURN_HOME.
"""

import http.client
import ssl
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def main(port: str, path: str, ca_file: str = "", host: str = LOOPBACK) -> int:
    from keyturn.cli.environment import home_directory

    trusted = ca_file or str(home_directory() / "tls" / "ca.pem")
    return int(http_status(int(port), path, ca_file=trusted, host=host) != HTTPStatus.OK)


def http_status(
    port: int,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    ca_file: str | None = None,
    host: str = LOOPBACK,
) -> int | None:
    """The status of a plain GET without a proxy, over TLS with ``ca_file``; None without an answer."""
    connection = _connection(host, port, ca_file)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _connection(host: str, port: int, ca_file: str | None) -> http.client.HTTPConnection:
    if ca_file is None:
        return http.client.HTTPConnection(host, port, timeout=2)
    return http.client.HTTPSConnection(host, port, timeout=2, context=ssl.create_default_context(cafile=ca_file))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
