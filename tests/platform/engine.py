"""Containers by Podman and images by Buildah, with a store of their own, in namespaces that end with this process."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from tests.platform.guest import BUILT, PATH, ROOT, Guest
from tests.platform.kept import Kept, given, output

SUITE: Final = "trixie"
BASE: Final = "localhost/python:3.13-trixie"
IMAGE: Final = "localhost/keyturn:platform"
CONTAINERFILE: Final = ROOT / "deployments" / "Dockerfile"
BUILD_SECONDS: Final = 1800
ULIMITS: Final = ("--ulimit=nofile=20000:20000", "--ulimit=nproc=90000:90000", "--ulimit=core=0")
"""Others than Podman's own, which a confined root may not set."""
BASE_COMMAND: Final = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=ca-certificates,python3,python3-venv,python3-pip",
    # As in the image of Python that the Dockerfile names.
    '--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
    '--customize-hook=ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"',
    '--customize-hook=rm "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
    SUITE,
)


class Engine(Kept):
    """Both; ``directory`` is on a disk, and is removed in the end."""

    def __init__(self, directory: Path) -> None:
        super().__init__("engine", directory)

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.start(("mount", "mount-proc"), ["catatonit", "-P"], lambda: self.command("true").returncode == 0)
        output(self.command("podman", "import", "--quiet", str(self._base()), BASE))
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.directory)

    def command(
        self, *words: str, guest: Guest | None = None, timeout: float = BUILD_SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``podman``, ``buildah`` or another command, in the network of ``guest`` if one is given."""
        store = [f"--root={self.directory}/store", f"--runroot={self.directory}/run", "--storage-driver=overlay"]
        options = {
            "podman": [*store, f"--tmpdir={self.directory}/tmp", "--runtime=runc", "--cgroup-manager=cgroupfs"],
            "buildah": store,
        }
        variables = {
            "PATH": PATH,
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }
        namespaces = ["mount", "pid", *([f"net=/proc/{guest.first_process}/ns/net"] if guest else [])]
        program = [words[0], *options.get(words[0], []), *words[1:]]
        return self.enter(namespaces, [f"--chdir={ROOT}", *given(variables), *program], timeout=timeout)

    def _base(self) -> Path:
        """An image of Python, made of Debian's packages and kept."""
        name = hashlib.sha256("\n".join(BASE_COMMAND).encode()).hexdigest()[:16]
        place = BUILT / f"base-{name}.tar"
        if not place.exists():
            output(self.command(*BASE_COMMAND, str(made := self.directory / "base.tar")))
            made.replace(place)
        return place

    def build(self, *options: str, tag: str = IMAGE) -> "subprocess.CompletedProcess[str]":
        """Build the project's image on that base."""
        words = ["--isolation=chroot", "--network=host", "--layers", f"--build-arg=PYTHON_IMAGE={BASE}", *ULIMITS]
        return self.command("buildah", "build", *words, f"--file={CONTAINERFILE}", f"--tag={tag}", *options, ".")

    def size(self, image: str) -> int:
        """The bytes of an image, unpacked."""
        (shown,) = json.loads(output(self.command("podman", "image", "inspect", image)))
        return int(shown["Size"])

    def run(self, *words: str, guest: Guest | None = None) -> "subprocess.CompletedProcess[str]":
        """``podman run`` with these words."""
        network = "host" if guest else "none"
        return self.command(
            "podman", "run", f"--network={network}", "--cgroup-parent", self.cgroup.name, *words, guest=guest
        )


def confinement(service: Mapping[str, Any]) -> list[str]:
    """What a Compose file says that a service may do, as options of ``podman run``."""
    assert service["read_only"]
    assert service["init"]
    return [
        "--read-only",
        "--init",
        f"--user={service['user']}",
        f"--pids-limit={service['pids_limit']}",
        f"--memory={service['mem_limit']}",
        f"--memory-swap={service['memswap_limit']}",
        f"--stop-timeout={service['stop_grace_period'].removesuffix('s')}",
        *(f"--cap-drop={capability}" for capability in service["cap_drop"]),
        *(f"--security-opt={option.replace(':true', '')}" for option in service["security_opt"]),
        *(f"--ulimit={name}={value}" for name, value in service["ulimits"].items()),
        # Podman gives a tmpfs to no user, as Docker does.
        *(f"--tmpfs={re.sub('mode=0700,uid=.*', 'mode=1777', place)}" for place in service["tmpfs"]),
    ]
