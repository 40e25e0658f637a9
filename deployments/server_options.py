"""Command-line options of servers: the address and the certificate."""

import argparse
from pathlib import Path

from deployments.healthy import LOOPBACK


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add ``--host``; the default serves only this machine or container."""
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")


def add_certificate(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add ``--cert`` and ``--key``; without them the program uses clear text."""
    without = "" if required else "; without it, it speaks in clear"
    parser.add_argument("--cert", type=Path, required=required, help=f"certificate for loopback, PEM{without}")
    parser.add_argument("--key", type=Path, required=required, help="its private key, PEM")
