"""How large the image is, from what it is built of, without Docker.

    python benchmarks/image.py

Installs, removes and compiles what the image's Dockerfile does, in a scratch directory, and packs the result as a layer
of an image is packed. Lists the largest packages. The base is not measured, since no registry is asked: its sizes are
those of python:3.13-slim-bookworm for amd64, rounded up. Megabytes are 10^6 bytes; packed is what a registry stores and
a host downloads. The Python that runs this replaces the image's.
"""

import gzip
import importlib.metadata
import importlib.util
import io
import os
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
LISTED = 12
"""How many packages are listed."""


class Counter(io.RawIOBase):
    """Counts what is written, and discards it."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        self.size += len(data)
        return len(data)


def by_package(packages: Path) -> list[tuple[str, float]]:
    """Megabytes of each installed package with what was compiled of it, the largest first."""
    found = {}
    for package in importlib.metadata.distributions(path=[str(packages)]):
        files = {Path(str(file.locate())) for file in package.files or []}
        files |= {Path(importlib.util.cache_from_source(str(file))) for file in files if file.suffix == ".py"}
        found[package.name] = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    return sorted(found.items(), key=lambda item: -item[1])


def installed(place: Path) -> Path:
    """The image's virtual environment, made as deployments/Dockerfile makes it."""
    python = place / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*uv, "--require-hashes", "-r", str(ROOT / "requirements-image.lock")], check=True)
    subprocess.run([*uv, "--no-deps", "--build-constraint", str(ROOT / "requirements.lock"), str(ROOT)], check=True)
    packages = next((place / "lib").glob("python*/site-packages"))
    trim.main([str(packages)])
    compiled = [str(python), "-m", "keyturn.project", "deployments.compiled"]
    subprocess.run(compiled, check=True, cwd=place, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    return packages


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
        # Only a lone python would be left of what venv copies.
        shutil.rmtree(place / "include", ignore_errors=True)
        plain, packed = sizes(place)
        largest = by_package(packages)[:LISTED]
    print(f"{'':24}{'packed':>10}{'unpacked':>10}")
    print(f"{'base, as published':24}{BASE_PACKED:8.0f} MB{BASE:7.0f} MB")
    print(f"{'packages, measured':24}{packed:8.0f} MB{plain:7.0f} MB")
    print(f"{'image':24}{BASE_PACKED + packed:8.0f} MB{BASE + plain:7.0f} MB")
    for name, size in largest:
        print(f"{name:24}{'':13}{size:7.0f} MB")
    return int(BASE_PACKED + packed > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
