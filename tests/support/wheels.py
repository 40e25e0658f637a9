"""Keyturn's wheels in a virtual environment of their own, with the packages of this run and none of its sources."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = {"keyturn": ROOT, "keyturn-local": ROOT / "local"}
"""Where each distribution is built."""


def install(directory: Path, *distributions: str) -> Path:
    """Build and install them below ``directory``. Returns the environment's Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory / "venv")], check=True)
    place = next((directory / "venv").glob("lib/python*/site-packages"))
    for name in distributions:
        wheels = directory / "dist" / name
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(build, cwd=PARTS[name], check=True, capture_output=True)
        zipfile.ZipFile(next(wheels.glob("*.whl"))).extractall(place)
    (place / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory / "venv" / "bin" / "python"
