"""GitHub's REST API on loopback, as far as Actions secrets and variables go, of repositories and environments.

Unmodified clients work with its address. It behaves as GitHub is documented and refuses what GitHub refuses: values
go in sealed and never come out, names fold case, times are whole seconds, and a page has its most entries.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from local.emulators.github.state import State
from local.support.ports import LOOPBACK
from local.support.process import Process


class LocalGitHub:
    """One server under ``directory``; starting it again opens what it held.

    ``arguments`` are those of ``python -m local.emulators.github`` beside port and directory.
    """

    def __init__(self, directory: Path, port: int, *arguments: str) -> None:
        self.directory = directory
        self.port = port
        self.api_url = f"http://{LOOPBACK}:{port}"
        self.token_file = directory / "token"
        self.arguments: Sequence[str] = arguments
        self.process = Process("github", directory)

    def start(self) -> None:
        """Start it unless it runs, and return when it answers."""
        command = [
            sys.executable,
            "-m",
            "local.emulators.github",
            f"--port={self.port}",
            f"--data={self.directory}",
        ]
        self.process.start([*command, *self.arguments], ready=lambda: self.process.says("^ready"))

    def stop(self) -> None:
        """End it, with its data safe on disk. Absent is success."""
        self.process.stop()

    def workflow_sees(self, repository: str, name: str, environment: str | None = None) -> str | None:
        """What a workflow finds in ``secrets.NAME``, which no API tells; None where there is none."""
        scope = State(self.directory).scope(repository, environment)
        return None if scope is None else scope.opened(name)

    def rotate_keys(self) -> None:
        """Give every repository and environment another key pair, as GitHub may at any time."""
        self.stop()
        State(self.directory).rotate_keys()
        self.start()

    def __enter__(self) -> "LocalGitHub":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
