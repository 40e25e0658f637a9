"""The agent's listeners: loopback, Unix sockets, and private addresses with TLS."""

import errno
import ipaddress
import os
import re
import socket
import ssl
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid

QUEUE: Final = 256
"""Connections that wait to be accepted."""
PLACE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


def open_loopback(port: int) -> socket.socket:
    """A listener for programs of this host only. Raises OSError."""
    return _listening(socket.AF_INET, ("127.0.0.1", port))


def open_at(place: str, *, tls: bool, sent: str = "tokens and values") -> socket.socket:
    """A listener at ``ADDRESS:PORT``. Raises OSError, and Invalid for a public address or remote clear text.

    ``sent`` names what others could read.
    """
    match = PLACE.fullmatch(place)
    try:
        address, port = ipaddress.ip_address(match[1] or match[2]), int(match[3])  # type: ignore[index]
    except (TypeError, ValueError):
        hint = "Write an address and a port, such as 10.0.0.5:8443 or [fd00::5]:8443"
        raise Invalid("listen", place, "it is no address with a port", hint) from None
    if not address.is_loopback and not tls:
        problem = f"{sent} would be sent in clear to other machines"
        raise Invalid("listen", place, problem, "Give --cert and --key, or listen on 127.0.0.1")
    if address.is_global or address.is_multicast:
        raise Invalid("listen", place, "the address is public", "Listen on a private address of the network")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return _listening(family, (str(address), port))


def open_file(path: Path, mode: int = 0o600) -> socket.socket:
    """A Unix socket, by default for this user's programs. Raises Invalid, OSError.

    A socket without a listening process is replaced.
    """
    _remove_left(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.umask(before)
    listener.listen(QUEUE)
    return listener


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate. Raises Invalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # Otherwise a key with a passphrase would ask for it at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError:
        hint = "Check that both files can be read, are PEM, belong together, and that the key has no passphrase"
        raise Invalid("use", f"{certificate} and {key}", "they are no certificate with its own key", hint) from None
    return context


def _listening(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(QUEUE)
    except OSError as error:
        listener.close()
        place = f"port {address[1]} of {address[0]}"
        if error.errno == errno.EACCES:
            hint = "Choose one from 1024 on, or give this process CAP_NET_BIND_SERVICE"
            raise Invalid("listen", place, "this user may not", hint) from None
        raise OSError(error.errno, error.strerror, place) from None
    return listener


def _remove_left(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Invalid("listen", str(path), "there is something else than a socket", "Choose another place")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise Invalid("listen", str(path), "another process listens there", "End the other agent first")
