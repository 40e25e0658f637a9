"""How a program of the stack is told of its certificate, and speaks TLS with it."""

import argparse
import ssl
from pathlib import Path


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
