"""Command-line options of programs that serve: the address and the certificate."""

import argparse
from pathlib import Path

from deployments.healthy import LOOPBACK


def add_host(parser: argparse.ArgumentParser) -> None:
    """The option ``--host``; without it, nothing but this machine, or this container, is served."""
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")


def add_certificate(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The options ``--cert`` and ``--key``; without them, where that is allowed, the program speaks in clear."""
    without = "" if required else "; without it, it speaks in clear"
    parser.add_argument("--cert", type=Path, required=required, help=f"certificate for loopback, PEM{without}")
    parser.add_argument("--key", type=Path, required=required, help="its private key, PEM")
