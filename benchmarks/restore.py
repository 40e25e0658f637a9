"""How long a hub takes to be backed up and restored: a base, increments, a drill.

    python -m benchmarks.restore [SECRETS]

Two OpenBao servers in memory on this machine, and a directory. The floor is the same number of versions written to the
hub by the same client, and nothing more.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from benchmarks.processes import cpu
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
from local.openbao import OpenBao
from local.support.ports import free_port

VERSIONS: Final = 3
THREADS: Final = 16
CHANGED: Final = 50
GOAL: Final = 300
"""The maximum of seconds for a restore."""
LOSS: Final = 60
"""The maximum age of the recovery point, in seconds."""
INTERVAL: Final = 30
"""Seconds between two backups, as the guide says."""
DRILL: Final = "keyturn-drill/benchmark"

T = TypeVar("T")


def timed(what: str, work: Callable[[], T], servers: Sequence[OpenBao] = ()) -> tuple[T, float]:
    """Do it, and print how long it took, and how much CPU, here and in the servers."""
    processes = [server.process for server in servers]
    began, own, theirs = time.monotonic(), time.process_time(), cpu(*processes)
    result = work()
    seconds = time.monotonic() - began
    spent = f"{time.process_time() - own:8.1f} s of CPU, {cpu(*processes) - theirs:.1f} of the hub's"
    print(f"{what:48}{seconds:8.1f} s,{spent}", flush=True)
    return result, seconds


def seed(hub: VaultHub, count: int) -> None:
    """Secrets of three versions each, with metadata as Keyturn keeps it, and a record each."""

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
    """As many writes of versions as the restore makes, by the same client."""
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
    """Run with both servers up."""
    hub = VaultHub(HubSettings(live.address, login=TokenLogin("BENCHMARK_LIVE")))
    hub.content().make_mount("state")
    timed("seed", lambda: seed(hub, count), [live])
    key = directory / "recovery.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", str(key)], check=True)
    key.chmod(0o600)
    keys, store = RecipientKeys({"x25519": RecoveryDataKeys(key)}), BackupDirectory(directory / "backups")
    maker = BackupMaker(BackupSubject(hub.content(), hub.fingerprint_keys), store, keys)
    base, _ = timed("a base", maker.make_base, [live])
    print(f"{'':4}{sum(part.size for part in base.parts) / 1e6:.1f} MB in {len(base.parts)} parts")
    timed("a look, nothing changed", maker.make_increment, [live])
    for number in range(CHANGED):
        hub.write(f"team-{number % 50}/secret-{number}", SecretFields({"password": "new"}), cas=VERSIONS)
    _, taken = timed(f"an increment of {CHANGED}", maker.make_increment, [live])
    # A change during a backup is in the next one.
    print(f"    recovery point at most {INTERVAL} s and twice that: {INTERVAL + 2 * taken:.0f} s, goal {LOSS}")
    print(f"    memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    settings = HubSettings(scratch.address, login=TokenLogin("BENCHMARK_SCRATCH"))
    bare = VaultHub(replace(settings, mount="floor"))
    timed("the floor: writing as many versions", lambda: floor(bare, count), [scratch])
    drill = VaultHub(
        replace(settings, mount=f"{DRILL}/secret", state_mount=f"{DRILL}/state", transit_mount=f"{DRILL}/transit")
    )
    check = SignatureCheck(verify_ed25519)
    report, _ = timed(
        "the drill",
        lambda: run_drill(
            drill.content(), drill.fingerprint_keys, store, lambda: newest_chain(store, keys, check)[0], hub.now()
        ),
        [scratch],
    )
    print(f"    recovery time {report.seconds:.1f} s, goal {GOAL}; then to compare all {report.compare_seconds:.1f} s")
    print(f"    {report.entries} entries, {report.versions} versions, proven: {report.proven}")
    print(f"    memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
