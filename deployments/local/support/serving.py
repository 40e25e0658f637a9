"""How a program of the stack is told of its certificate, and speaks TLS with it."""

import argparse
import ssl
from pathlib import Path

from deployments.local.support.ports import LOOPBACK


def add_host(parser: argparse.ArgumentParser) -> None:
    """The option ``--host``; without it, nothing but this machine, or this container, is served."""
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")


def add_certificate(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The options ``--cert`` and ``--key``; without them, where that is allowed, the program speaks in clear."""
    without = "" if required else "; without it, it speaks in clear"
    parser.add_argument("--cert", type=Path, required=required, help=f"certificate for loopback, PEM{without}")
    parser.add_argument("--key", type=Path, required=required, help="its private key, PEM")


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS as a server with this certificate. Raises OSError where it can't be read, or is not the key's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Tickets for resuming a session would come at any time after the handshake, and nobody resumes one here.
    context.num_tickets = 0
    return context


def context_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    """The same by what the options say; None where they say nothing. Raises OSError."""
    return server_context(options.cert, options.key) if options.cert and options.key else None
