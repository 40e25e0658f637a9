"""Where a server's certificate lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Three PEM files: the authority that signed it, the certificate, and its private key (0600)."""

    authority: Path
    certificate: Path
    key: Path
