"""The image of the workers: built on Debian's Python, and run by a container engine as the Compose file says."""

import json
import os
import re
import secrets
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from local.support.tls import Authority
from tests.platform.engine import BASE, IMAGE, Engine, confinement
from tests.platform.installation import Installation
from tests.platform.kept import output
from tests.platform.rotation import eventually, rotate_on_schedule
from tests.platform.servers import NAMES
from tests.support.compose import GIVEN, PRODUCTION, compose_file

ADDED: Final = 320e6
"""Bytes that the image may add to its base."""
STOPPED: Final = 10
"""Seconds in which a worker at work stops."""
SERVICE: Final = compose_file(PRODUCTION, GIVEN)["services"]["worker-1"]
NAME: Final = "worker"
SITE: Final = {"PREFECT_API_URL", "VAULT_ADDR", "KEYTURN_LEDGER", "KEYTURN_LEDGER_NAME"}
"""What each installation sets."""
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
UNCOMPILED: Final = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
places = (getattr(module, "__cached__", None) for module in list(sys.modules.values()))
print([place for place in places if place and place.startswith("/opt") and not os.path.exists(place)])
"""


@pytest.fixture(scope="module")
def marker() -> str:
    return f"built-with-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def image(engine: Engine, marker: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, built with a file of authorities that has the marker in it."""
    (authorities := tmp_path_factory.mktemp("ca") / "ca.pem").write_text(f"{AUTHORITIES.read_text()}# {marker}\n")
    output(engine.build(f"--secret=id=ca,src={authorities}"))
    return IMAGE


@pytest.fixture
def logins(installed: Installation, tmp_path: Path) -> Path:
    """The files of ``/etc/keyturn`` that the container is given: the unit's own, for the container's user."""
    files = installed.guest.run("sh", "-c", "cd /etc/keyturn; find worker catalogue ca.pem policy.yaml -type f").split()
    for name in files:
        (file := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        file.write_text(installed.guest.run("cat", f"/etc/keyturn/{name}"))
    uid, gid = map(int, SERVICE["user"].split(":"))
    for file in (tmp_path / "worker", *(tmp_path / "worker").iterdir()):
        os.chown(file, uid, gid)
        file.chmod(0o700 if file.is_dir() else 0o400)
    return tmp_path


@pytest.fixture
def worker(engine: Engine, image: str, installed: Installation, logins: Path) -> Iterator[str]:
    """The Compose file's worker in the machine's network, instead of the unit."""
    sources = {"/run/keyturn/login": "worker", **{f"/etc/keyturn/{name}": name for name in ("catalogue", "ca.pem")}}
    mounts = [
        f"--volume={logins / sources.get(volume['target'], Path(volume['target']).name)}:{volume['target']}:ro"
        for volume in SERVICE["volumes"]
    ]
    hosts = [f"--add-host={name}:127.0.0.1" for name in NAMES]
    ours = {name: value for name, value in installed.settings.items() if name in SITE}
    settings = [f"--env={name}={value}" for name, value in {**SERVICE["environment"], **ours}.items()]
    health = [f"--health-cmd={json.dumps(SERVICE['healthcheck']['test'][1:])}"]
    options = [*confinement(SERVICE), *mounts, *hosts, *settings, *health]
    installed.guest.run("systemctl", "stop", "keyturn-worker")
    output(engine.run("--detach", "--name", NAME, *options, image, *SERVICE["command"], guest=installed.guest))
    yield NAME
    engine.command("podman", "rm", "--force", "--time=0", NAME)
    installed.guest.run("systemctl", "start", "keyturn-worker")


def log(engine: Engine) -> str:
    done = engine.command("podman", "logs", NAME)
    return done.stdout + done.stderr


def inside(engine: Engine, *words: str) -> str:
    return output(engine.command("podman", "exec", NAME, *words))


def test_the_image_adds_little_to_its_base(engine: Engine, image: str) -> None:
    assert engine.size(image) - engine.size(BASE) < ADDED


def test_it_says_its_version_confined_as_in_compose(engine: Engine, image: str) -> None:
    options = [*confinement(SERVICE), "--user=10001:10001"]
    assert output(engine.run("--rm", *options, image, "keyturn", "--version")).startswith("keyturn ")
    assert output(engine.run("--rm", image, "id", "--user")) == "10001\n"


@pytest.mark.parametrize(
    "modules", ["keyturn.wiring.registry keyturn.project.collection", "prefect.server.api.server", "prefect.cli.worker"]
)
def test_what_it_runs_is_compiled(engine: Engine, image: str, modules: str) -> None:
    words = ("python", "-W", "ignore", "-c", UNCOMPILED, *modules.split())
    lacking = output(engine.run("--rm", image, *words)).splitlines()[-1]
    # A package that checks its own types keeps its modules under another name.
    assert [place for place in re.findall(r"'([^']+)'", lacking) if "/key_value/" not in place] == []


@pytest.mark.attack
def test_the_authorities_that_it_was_built_with_are_not_in_it(
    engine: Engine, image: str, marker: str, tmp_path: Path
) -> None:
    output(engine.command("podman", "save", "--quiet", f"--output={tmp_path}/image.tar", image))
    found = 0
    with tarfile.open(tmp_path / "image.tar") as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is None:
                continue
            text = file.read()
            assert marker.encode() not in text, member.name
            found += len(text)
    assert found > engine.size(image) / 2
    shown = output(engine.command("podman", "image", "inspect", image))
    assert "SSL_CERT_FILE" not in shown
    assert "PIP_CERT" not in shown


def test_the_build_trusts_only_the_authorities_it_is_given(engine: Engine, image: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem", tmp_path / "ca.key", frozenset({"ca.example.com"}))
    authority.issue(tmp_path, names=("ca.example.com",))
    done = engine.build(f"--secret=id=ca,src={authority.certificate}", "--no-cache", tag="localhost/keyturn:refused")
    assert done.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in done.stdout + done.stderr


@pytest.mark.attack
def test_the_kernel_confines_a_worker_in_its_container(engine: Engine, worker: str) -> None:
    eventually(lambda: "started!" in log(engine), log(engine))
    status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", inside(engine, "cat", "/proc/1/status")))
    assert status["Uid"].split() == [SERVICE["user"].split(":")[0]] * 4
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)
    for place in ("/written", "/opt/keyturn/written", "/etc/keyturn/catalogue/written", "/run/keyturn/login/written"):
        assert engine.command("podman", "exec", worker, "touch", place).returncode != 0
    limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert int(inside(engine, "sh", "-c", limits)) == 2 * 1024**3


def test_the_health_check_fails_while_the_worker_does_not_reach_prefect(
    engine: Engine, worker: str, installed: Installation
) -> None:
    def healthy() -> bool:
        return engine.command("podman", "healthcheck", "run", worker, guest=installed.guest).returncode == 0

    eventually(healthy, log(engine))
    installed.guest.run("systemctl", "stop", "prefect-server")
    eventually(lambda: not healthy(), "it is healthy without Prefect")
    installed.guest.run("systemctl", "start", "prefect-server")
    eventually(healthy, "it stays unhealthy")


def test_a_worker_in_a_container_that_is_stopped_at_work_loses_nothing(
    engine: Engine, worker: str, installed: Installation
) -> None:
    eventually(lambda: "started!" in log(engine), log(engine))

    def stop() -> None:
        began = time.monotonic()
        output(engine.command("podman", "stop", worker))
        assert time.monotonic() - began < STOPPED
        (shown,) = json.loads(output(engine.command("podman", "inspect", worker)))
        assert (shown["State"]["OOMKilled"], shown["State"]["ExitCode"]) in ((False, 0), (False, 143)), log(engine)
        output(engine.command("podman", "start", worker, guest=installed.guest))

    rotate_on_schedule(installed, lambda: log(engine), stop)
    installed.keyturn("ledger", "verify")
