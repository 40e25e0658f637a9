"""What an encrypted offline file costs with large values in it, compared with a memory-mapped file in clear.

    python benchmarks/offline.py [--rounds 7]

Values of 1 MB and of 16 MB, in ms, the best of the rounds: to seal and write the file, to open it and find the value in
a process that has just started, and to return the value once it is in memory. The mapped file in clear is timed for
mapping it, and for reading through it once, as a user of the value does.
"""

import argparse
import mmap
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from keyturn.client.client import SecretClient
from keyturn.client.offline.cache_file import OfflineCache
from keyturn.client.secrets import Secret
from keyturn.core.errors import Unavailable
from keyturn.core.sensitive import SecretFields
from keyturn.providers.files.data_keys import FileDataKeys
from keyturn.providers.keys.aes_gcm import AesEnvelope, fresh_key

SIZES: Final = {"1 MB": 10**6, "16 MB": 16 * 10**6}
PATH: Final = "ml-training/model-configuration"


class Source:
    """Serves one value, or is unreachable."""

    name = "constant"

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read(self, path: str) -> Secret:
        if self.text is None:
            raise Unavailable("read", path, "it does not answer")
        return Secret(path, SecretFields({"value": self.text}), 1, "1", self.name, datetime.now(UTC))

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        return {}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        return {}


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def sealed(directory: Path, text: str) -> dict[str, float]:
    """What the encrypted file costs."""

    def offline() -> OfflineCache:
        return OfflineCache(directory / "offline", lambda: AesEnvelope(FileDataKeys(directory / "key")), delay=3600)

    writing = offline()
    with SecretClient([Source(text)], poll=0, offline=writing) as client:
        client.get(PATH)
        written = timed(writing.flush)
    with SecretClient([Source(None)], poll=0, offline=offline()) as client:
        opened = timed(lambda: client.get(PATH))
        given = timed(lambda: client.get(PATH)["value"].reveal())
    return {"sealed and written": written, "opened and found": opened, "given again": given}


def mapped(directory: Path, text: str) -> dict[str, float]:
    """What a file in clear costs."""
    file = directory / "clear"
    file.write_text(text)
    with open(file, "rb") as opened:
        view: list[mmap.mmap] = []
        mapping = timed(lambda: view.append(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)))
        reading = timed(lambda: view[0].rfind(b"\0"))
        view[0].close()
    return {"clear: mapped": mapping, "clear: read through": reading}


def main() -> int:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for name, size in SIZES.items():
        best: dict[str, float] = {}
        text = secrets.token_hex(size // 2)
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as directory:
                (Path(directory) / "key").touch(0o600)
                (Path(directory) / "key").write_text(fresh_key().reveal())
                round_ = {**sealed(Path(directory), text), **mapped(Path(directory), text)}
            best = {what: min(ms, best.get(what, ms)) for what, ms in round_.items()}
        for what, ms in best.items():
            print(f"{name:6} {what:22} {ms:9.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
