"""Google Cloud IAM on loopback, as far as keys of service accounts go, for unmodified Google clients.

Service accounts and their keys, the OAuth endpoint that takes what such a key signs, and the one metric of Cloud
Monitoring that tells of a key's use. It behaves as the services are documented and refuses what they refuse; it
knows no callers, so everybody may do everything but what it is told to deny.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from local.support.ports import LOOPBACK
from local.support.process import Process


class LocalGcpIam:
    """One server under ``directory``; starting it again opens the accounts and keys that it held.

    ``arguments`` are those of ``python -m local.emulators.gcp_iam`` beside port and directory.
    """

    def __init__(self, directory: Path, port: int, *arguments: str) -> None:
        self.directory = directory
        self.port = port
        self.endpoint = f"{LOOPBACK}:{port}"
        self.arguments: Sequence[str] = arguments
        self.process = Process("gcp-iam", directory)

    def start(self) -> None:
        """Start it unless it runs, and return when it answers."""
        command = [
            sys.executable,
            "-m",
            "local.emulators.gcp_iam",
            f"--port={self.port}",
            f"--data={self.directory}",
        ]
        self.process.start([*command, *self.arguments], ready=lambda: self.process.says("^ready"))

    def stop(self) -> None:
        """End it, with its data safe on disk. Absent is success."""
        self.process.stop()

    def __enter__(self) -> "LocalGcpIam":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
