"""How large the image is, from what it is built of, without Docker.

    python benchmarks/image.py

Installs and compiles what the image's Dockerfile does, in a scratch directory, removes what it removes, and packs the
result as a layer of an image is packed. The base is not measured, since no registry is asked: its sizes are those of
python:3.13-slim-bookworm for amd64, rounded up. Megabytes are 10^6 bytes; packed is what a registry stores and a host
downloads. The Python that runs this replaces the image's.
"""

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from deployments import trim

ROOT = Path(__file__).parent.parent
BASE_PACKED, BASE = 50.0, 135.0
"""Megabytes of the base, packed and unpacked."""
LIMIT = 250.0
"""The limit for an image, packed."""


class Counter(io.RawIOBase):
    """Counts what is written, and discards it."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        self.size += len(data)
        return len(data)


def installed(place: Path) -> Path:
    """The image's virtual environment, made as deployments/Dockerfile makes it."""
    python = place / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    subprocess.run([*uv, "--require-hashes", "-r", str(ROOT / "requirements-image.lock")], check=True)
    subprocess.run([*uv, "--no-deps", "--build-constraint", str(ROOT / "requirements.lock"), str(ROOT)], check=True)
    return next((place / "lib").glob("python*/site-packages"))


def sizes(folder: Path) -> tuple[float, float]:
    """Megabytes of a folder, and of the layer made from it."""
    plain = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    counter = Counter()
    packed = gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6)  # type: ignore[arg-type]
    with packed, tarfile.open(fileobj=packed, mode="w|") as layer:
        layer.add(folder, arcname="opt/keyturn")
    return plain / 1e6, counter.size / 1e6


def main() -> int:
    """Print the table; 1 if it is too large."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "keyturn"
        packages = installed(place)
        trim.main([str(packages)])
        # Only a lone python would be left of what venv copies.
        shutil.rmtree(place / "include", ignore_errors=True)
        plain, packed = sizes(place)
    print(f"{'':24}{'packed':>10}{'unpacked':>10}")
    print(f"{'base, as published':24}{BASE_PACKED:8.0f} MB{BASE:7.0f} MB")
    print(f"{'packages, measured':24}{packed:8.0f} MB{plain:7.0f} MB")
    print(f"{'image':24}{BASE_PACKED + packed:8.0f} MB{BASE + plain:7.0f} MB")
    return int(BASE_PACKED + packed > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
