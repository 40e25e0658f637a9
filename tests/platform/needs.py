"""What these tests need of a machine. ``python -m tests.platform.needs`` installs what is lacking, as root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.platform.guest import PATH, SYSTEMD
from tests.platform.kept import cgroups
from tests.support.sampling import deep

VARIABLE: Final = "KEYTURN_PLATFORM"
"""Set by ``make platform-test``: then a machine that can't run a part fails; in a deep run it skips the part."""

SYSTEM: Final[Mapping[str, str]] = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "make": "make",
    "openssl": "openssl",
    "systemctl": "systemd",
    SYSTEMD: "systemd",
}
ENGINE: Final[Mapping[str, str]] = {
    "mmdebstrap": "mmdebstrap",
    "podman": "podman",
    "buildah": "buildah",
    "runc": "runc",
    "catatonit": "catatonit",
}
"""Debian's package for each program: of the units, and of the containers."""


def lacking(programs: Mapping[str, str]) -> list[str]:
    """The packages that are not installed."""
    return sorted({package for name, package in programs.items() if not shutil.which(name, path=PATH)})


def problem(programs: Mapping[str, str]) -> str | None:
    """Why this machine can't run these in namespaces, if it can't."""
    if os.geteuid() != 0:
        return "root is needed, to make namespaces and to mount"
    if packages := lacking(programs):
        return f"install the packages {' '.join(packages)}: python -m tests.platform.needs"
    if not Path("/usr/bin/python3").exists():
        return "install the package python3-venv: units run the system's own Python"
    try:
        cgroups()
    except AssertionError as error:
        return str(error)
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "true"], capture_output=True)
    return None if done.returncode == 0 else "this kernel, or what confines this machine, allows no namespaces"


def require(*, quick: bool, programs: Mapping[str, str] = SYSTEM) -> None:
    """Skip unless this run is for these tests: by ``make platform-test``, or deep where they are ``quick``."""
    if not os.environ.get(VARIABLE):
        if not (quick and deep()):
            pytest.skip("make platform-test")
        if reason := problem(programs):
            pytest.skip(reason)
    elif reason := problem(programs):
        pytest.fail(f"this machine can't run it: {reason}")


def install() -> int:
    """Install what is lacking by apt-get. Returns its exit code."""
    packages = lacking({**SYSTEM, **ENGINE})
    if not packages:
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.stderr.write(f"platform-test: lacking: {' '.join(packages)}. Install them, or run it as root on Debian.\n")
        return 1
    sys.stderr.write(f"platform-test: installing {' '.join(packages)}\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=False, env=environment)
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(install())
