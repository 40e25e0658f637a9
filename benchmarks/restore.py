"""How long a hub takes to be backed up, and to come back: a base, looks at what has changed, a drill.

    python -m benchmarks.restore [SECRETS]

Two OpenBao servers in memory on this machine, and a directory. The floor beside it is the same number of versions
written to the hub by the same client, and nothing else.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from deployments.local.openbao import OpenBao
from deployments.local.support.ports import free_port
from keyturn.core.sensitive import SecretFields
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.files.recovery_key import RecoveryDataKeys
from keyturn.providers.keys.backup_seal import RecipientKeys
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.chains import newest_chain
from keyturn.recovery.drilling import run_drill
from keyturn.recovery.making import BackupMaker
from keyturn.recovery.manifests import SignatureCheck
from keyturn.recovery.subject import BackupSubject
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin

VERSIONS: Final = 3
THREADS: Final = 16
CHANGED: Final = 50
DRILL: Final = "keyturn-drill/benchmark"

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    """Do it, and tell how long it took."""
    began = time.monotonic()
    result = work()
    print(f"{what:48}{time.monotonic() - began:8.1f} s", flush=True)
    return result


def seed(hub: VaultHub, count: int) -> None:
    """So many secrets of three versions each, with metadata as Keyturn keeps it, and a record each."""

    def one(number: int) -> None:
        path = f"team-{number % 50}/secret-{number}"
        for version in range(VERSIONS):
            hub.write(path, SecretFields({"username": "app", "password": f"{number}-{version}" * 4}), cas=version)
        hub.patch_metadata(path, {"keyturn-token": f"rot-{number}", "keyturn-rotated-at": "2026-03-01T12:00:00+00:00"})
        hub.write_state(f"rotations/{path}", {"stage": "idle", "sequence": number, "history": ["x" * 400]}, cas=0)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(count)))


def write_floor(hub: VaultHub, version: int, number: int) -> None:
    """One version of one secret."""
    hub.write(f"floor/{number}", SecretFields({"password": "x" * 40}), cas=version)


def floor(hub: VaultHub, count: int) -> None:
    """As many writes as the restore makes of versions, by the same client."""
    content = hub.content()
    for area in content.areas:
        content.make_mount(area)
    with ThreadPoolExecutor(THREADS) as pool:
        for version in range(VERSIONS):
            list(pool.map(partial(write_floor, hub, version), range(count)))
    for area in content.areas:
        content.unmount(area)


def main(count: int) -> None:
    """Everything once, in order."""
    print(f"{count} secrets of {VERSIONS} versions, a record each; load before: {os.getloadavg()[0]:.1f}")
    with TemporaryDirectory() as place:
        directory = Path(place)
        live, scratch = (OpenBao(directory / name, free_port(), dev=True) for name in ("live", "scratch"))
        with live, scratch:
            os.environ["BENCHMARK_LIVE"], os.environ["BENCHMARK_SCRATCH"] = live.root_token, scratch.root_token
            measure(directory, live, scratch, count)
    print(f"load after: {os.getloadavg()[0]:.1f}")


def measure(directory: Path, live: OpenBao, scratch: OpenBao, count: int) -> None:
    """With both servers up."""
    hub = VaultHub(HubSettings(live.address, login=TokenLogin("BENCHMARK_LIVE")))
    hub.content().make_mount("state")
    timed("seed", lambda: seed(hub, count))
    key = directory / "recovery.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", str(key)], check=True)
    key.chmod(0o600)
    keys, store = RecipientKeys({"x25519": RecoveryDataKeys(key)}), BackupDirectory(directory / "backups")
    maker = BackupMaker(BackupSubject(hub.content(), hub.fingerprint_keys), store, keys)
    base = timed("a base", maker.make_base)
    print(f"{'':4}{sum(part.size for part in base.parts) / 1e6:.1f} MB in {len(base.parts)} parts")
    timed("a look, nothing changed", maker.make_increment)
    for number in range(CHANGED):
        hub.write(f"team-{number % 50}/secret-{number}", SecretFields({"password": "new"}), cas=VERSIONS)
    timed(f"an increment of {CHANGED}", maker.make_increment)
    print(f"{'':4}memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    settings = HubSettings(scratch.address, login=TokenLogin("BENCHMARK_SCRATCH"))
    timed("the floor: writing as many versions", lambda: floor(VaultHub(replace(settings, mount="floor")), count))
    drill = VaultHub(
        replace(settings, mount=f"{DRILL}/secret", state_mount=f"{DRILL}/state", transit_mount=f"{DRILL}/transit")
    )
    check = SignatureCheck(verify_ed25519)
    report = run_drill(
        drill.content(), drill.fingerprint_keys, store, lambda: newest_chain(store, keys, check)[0], hub.now()
    )
    print(f"{'recovery time':48}{report.seconds:8.1f} s")
    print(f"{'compare all by fingerprint':48}{report.compare_seconds:8.1f} s")
    print(f"{'':4}{report.entries} entries, {report.versions} versions, proven: {report.proven}")
    print(f"{'':4}memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
