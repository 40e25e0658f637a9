"""Who read a secret, from raw audit lines, compared with a bare msgspec decode of the same file in the same run.

    python benchmarks/access_log.py [--lines 300000] [--rounds 5]

The file holds what OpenBao writes for reads of KV v2 secrets by 200 AppRoles: a line for the request and one for its
response. A second file holds responses alone, so that every line is a read. Each side reads all lines; ours also sorts
reads by principal, address and login, as a report does. Times are CPU seconds of this process, medians of the rounds,
with alternating sides. Memory is what the first pass added to the process's peak.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgspec

from benchmarks.processes import memory
from keyturn.access_log.hub_log import HubAuditLog
from keyturn.access_log.readers import Readers, gather

BEGAN = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
PRINCIPALS = 200
SECRETS = 500
SUSPECT = "team-7/database"


def hashed(text: str) -> str:
    """What a device writes instead of a text."""
    return f"hmac-sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def pair(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The request and the response of one read, as OpenBao 2.7 writes them."""
    role, secret = number % PRINCIPALS, number * 7 % SECRETS
    time = (BEGAN + timedelta(milliseconds=137 * number)).isoformat(timespec="microseconds")
    auth = {
        "client_token": hashed(f"token {role}"),
        "accessor": hashed(f"accessor {role}"),
        "display_name": "approle",
        "policies": ["default", "reader"],
        "token_policies": ["default", "reader"],
        "policy_results": {
            "allowed": True,
            "granting_policies": [{"name": "reader", "namespace_id": "root", "type": "acl"}],
        },
        "metadata": {"role_name": f"trainer-{role}"},
        "entity_id": "2a8637e3-98c8-95df-821b-a521891ff696",
        "token_type": "service",
        "token_ttl": 2764800,
        "token_issue_time": "2026-03-01T03:00:00Z",
    }
    request = {
        "id": "8b6bcecc-7d0b-7ca6-1d35-9752a8109209",
        "client_id": "2a8637e3-98c8-95df-821b-a521891ff696",
        "operation": "read",
        "mount_point": "secret/",
        "mount_type": "kv",
        "mount_accessor": "kv_d25c1c50",
        "mount_running_version": "v2.7.2+builtin.bao",
        "mount_class": "secret",
        "client_token": auth["client_token"],
        "client_token_accessor": auth["accessor"],
        "namespace": {"id": "root"},
        "path": f"secret/data/team-{secret % 20}/{'database' if secret < 20 else f'key-{secret}'}",
        "remote_address": f"10.3.{role // 100}.{role % 100}",
        "remote_port": 41578,
    }
    served = {
        "data": {"password": hashed("password"), "username": hashed("username")},
        "metadata": {
            "created_time": "2026-02-11T19:26:18.412494742Z",
            "custom_metadata": None,
            "deletion_time": hashed(""),
            "destroyed": False,
            "version": number % 5 + 1,
        },
    }
    response = {"mount_point": "secret/", "mount_type": "kv", "mount_class": "secret", "data": served}
    whole = {"time": f"{time[:26]}875Z", "type": "request", "auth": auth, "request": request}
    return whole, {**whole, "type": "response", "response": response}


def write_log(file: Path, lines: int, *, requests: bool) -> None:
    """Lines of reads."""
    compact = json.JSONEncoder(separators=(",", ":")).encode
    with file.open("w") as out:
        for number in range(lines // (1 + requests)):
            request, response = pair(number)
            out.write((compact(request) + "\n" if requests else "") + compact(response) + "\n")


def bare(file: Path) -> int:
    """Decode every line, and discard it."""
    decode = msgspec.json.Decoder().decode
    with file.open("rb") as text:
        return sum(decode(line) is not None for line in text)


def ours(file: Path) -> Readers:
    """Find who read one secret, and what else they read, as a report does."""
    return gather([HubAuditLog(file, "secret")], [SUSPECT], BEGAN, BEGAN + timedelta(days=3650))


def taken(work: Callable[[], object]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def insist(readers: Readers, lines: int) -> None:
    """Check that all of it was read."""
    (log,), (path,) = readers.logs, readers.paths
    if log.coverage.lines != lines or log.coverage.gaps or not path.readers:
        raise SystemExit(f"it was not read whole: {log}")


def compared(file: Path, rounds: int) -> tuple[float, float]:
    """Seconds of the bare decode, and of ours."""
    both = [(taken(lambda: bare(file)), taken(lambda: ours(file))) for _ in range(rounds)]
    beside, own = (statistics.median(times) for times in zip(*both, strict=True))
    return beside, own


def report(name: str, file: Path, lines: int, rounds: int) -> None:
    """One comparison."""
    before = memory(os.getpid(), "VmHWM")
    insist(ours(file), lines)
    grown = memory(os.getpid(), "VmHWM") - before
    beside, own = compared(file, rounds)
    print(f"{name}: {lines:,} lines, {file.stat().st_size / 1e6:,.0f} MB")
    print(f"  bare msgspec decode {lines / beside:>10,.0f} lines a second")
    print(f"  read and analysed   {lines / own:>10,.0f} lines a second: {own / beside:.2f} times its time")
    print(f"  memory that the first pass added: {grown:.0f} MB")


def logs(directory: Path, lines: int) -> Iterator[tuple[str, Path]]:
    """Compare on both files."""
    for name, requests in (("requests and responses", True), ("responses alone", False)):
        file = directory / f"{name.replace(' ', '-')}.log"
        write_log(file, lines, requests=requests)
        yield name, file
        file.unlink()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=300_000, help="of each file")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for name, file in logs(Path(directory), arguments.lines):
            report(name, file, arguments.lines, arguments.rounds)


if __name__ == "__main__":
    main()
