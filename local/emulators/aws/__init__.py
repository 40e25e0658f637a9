"""AWS on one machine: moto's server, on loopback, checking keys, holding Secrets Manager to its documentation."""

import sys
from pathlib import Path

from local.support.ports import LOOPBACK
from local.support.process import Process


class LocalAws:
    """One server under ``directory``; starting it again opens the secrets that it held.

    ``credentials`` is a file in the AWS SDKs' own format (mode 0600) whose key may do everything: name it in
    ``AWS_SHARED_CREDENTIALS_FILE``. A user's new access key is known ``key_settle`` seconds after it was made.
    """

    def __init__(self, directory: Path, port: int, *, key_settle: float = 0) -> None:
        self.directory = directory
        self.port = port
        self.key_settle = key_settle
        self.endpoint_url = f"http://{LOOPBACK}:{port}"
        self.credentials = directory / "credentials"
        self.process = Process("aws", directory)

    def start(self) -> None:
        """Start it unless it runs, and return when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "local.emulators.aws",
            f"--port={self.port}",
            f"--data={self.directory}",
        ]
        command.append(f"--key-settle-seconds={self.key_settle}")
        self.process.start(command, ready=lambda: self.process.says("ready on"))

    def stop(self) -> None:
        """End it, with the secrets safe on disk. Absent is success."""
        self.process.stop()

    def __enter__(self) -> "LocalAws":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
