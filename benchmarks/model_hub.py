"""How Keyturn's own work grows up to 100,000 secrets with three copies each, against a model of the hub.

    python benchmarks/model_hub.py [--secrets 25000 50000 100000] [--json FILE]

The model is a process that answers as OpenBao does: pages of a thousand secrets and of a thousand records with their
metadata, one record at a time, and entries of the state mount, which it keeps in memory. Stores are lists in this
process. So CPU and peak memory are those of Keyturn alone, and the machine needs no disk of a real hub. Each look runs
in a process of its own: opening the catalogue first and from its cache, what `due` reads once every record
was read before, the keeper's look for old credentials, a plan, and writing and verifying a ledger with an entry for
each secret.

At the end it prints how CPU and memory grow: exponents of a log-log fit, 1.00 is a flat cost for each secret.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import memory
from keyturn.core.ports.hub import ROTATED_AT, TOKEN

ROOT: Final = Path(__file__).parent.parent
MADE: Final = "2026-12-01T10:00:00.000000000Z"
FOLDER: Final = "fleet"
STORES: Final = ("aws", "azure", "gcp")
FILE: Final = 500
"""Secrets in a file of the catalogue."""
DECLARED: Final = """
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
  azure: {kind: azure-key-vault, vault_url: "https://model.vault.azure.net"}
  gcp: {kind: gcp-secret-manager, project: model-project}
"""
SECRET: Final = """
  {folder}/s{number:06}:
    owner: team-{team:03}@example.com
    classification: internal
    rotation: {{strategy: generated, field: password, interval: 3650d, grace: 1h}}
    destinations: [{{store: aws, name: s{number:06}}}, {{store: azure, name: s{number:06}}},
                   {{store: gcp, name: s{number:06}}}]
"""


class Model:
    """The data of the hub: ``secrets`` with one version and the record of a past rotation each, and written entries."""

    def __init__(self, secrets: int) -> None:
        self.secrets = secrets
        self.state: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """The status and the data of a request."""
        mount, _, rest = path.removeprefix("/v1/").partition("/")
        kind, _, name = rest.partition("/")
        if path == "/v1/auth/token/lookup-self":
            return 200, {"id": "token", "accessor": "a", "display_name": "token", "policies": ["root"], "meta": None,
                         "entity_id": "", "path": "auth/token/root", "ttl": 0, "renewable": False}  # fmt: skip
        if kind == "detailed-metadata":
            return self.listed(mount, name.strip("/"), query)
        if kind == "metadata" and (method == "LIST" or "list" in query):
            found = sorted({entry.removeprefix(name.strip("/") + "/") for entry in self.state
                            if entry.startswith(name.strip("/") + "/")})  # fmt: skip
            return (200, {"keys": found}) if found else (404, None)
        if mount == "keyturn" and kind == "metadata":
            return 204, None
        if mount == "keyturn" and method in ("POST", "PUT"):
            version = self.state.get(name, {"metadata": {"version": 0}})["metadata"]["version"] + 1
            self.state[name] = {"data": body["data"], "metadata": described(version)}
            return 200, described(version)
        if mount == "keyturn" and name.startswith(f"rotations/{FOLDER}/"):
            return 200, {"data": record(name.rpartition("/")[2]), "metadata": described(1)}
        return (200, self.state[name]) if name in self.state else (404, None)

    def listed(self, mount: str, folder: str, query: dict[str, str]) -> tuple[int, Any]:
        """A page of the folder of all secrets, or of their records."""
        root = "" if mount == "secret" else "rotations"
        if folder == root:
            return 200, {"keys": [f"{FOLDER}/"], "key_info": {}}
        first = int(query["after"][1:]) + 1 if "after" in query else 0
        names = [f"s{number:06}" for number in range(first, min(first + int(query["limit"]), self.secrets))]
        rotated = {ROTATED_AT: MADE[:26] + "+00:00"} if mount == "secret" else {}
        versions = {"1": {"created_time": MADE, "deletion_time": "", "destroyed": False}}
        bounds = {"oldest_version": 0, "max_versions": 0, "cas_required": False, "delete_version_after": "0s"}
        times = {"created_time": MADE, "updated_time": MADE}
        info = {**times, **bounds, "current_version": 1, "versions": versions}
        return (
            (
                200,
                {
                    "keys": names,
                    "key_info": {
                        name: info | {"custom_metadata": rotated | {TOKEN: f"token-{name}"}} for name in names
                    },
                },
            )
            if names
            else (404, None)
        )


def described(version: int) -> dict[str, Any]:
    """The metadata of a version."""
    return {"version": version, "created_time": MADE, "deletion_time": "", "destroyed": False, "custom_metadata": None}


def record(name: str) -> dict[str, Any]:
    """The record of a past rotation."""
    from datetime import datetime, timedelta

    from keyturn.core.rotation_record import Record, Rotation, Stage

    at = datetime.fromisoformat(MADE[:26] + "+00:00")
    past = Rotation(
        f"token-{name}", 1, Stage.RETIRED, "generated", "", "host/1/1", at, 0, version=1, promoted_at=at,
        closed_at=at + timedelta(hours=1),
    )  # fmt: skip
    return dict(Record(history=(past,)).to_data())


def serve(secrets: int) -> None:
    """Answer on a free port, which is printed."""
    model = Model(secrets)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def answer(self) -> None:
            asked = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(asked.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
            status, data = model.answer(self.command, asked.path, query, body)
            text = b"" if status == 204 else json.dumps({"data": data} if data else {"errors": []}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_LIST = do_DELETE = answer  # noqa: N815  the names that the base class calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


class ModelStore:
    """A store whose copies are all in sync, listed as the real ones are: one by one."""

    unsupported: frozenset[str] = frozenset()

    def __init__(self, name: str, secrets: int) -> None:
        self.name, self._secrets = name, secrets

    def describe(self, _: str) -> None:
        """It has nothing more than it lists."""

    def list_managed(self) -> Iterator[Any]:
        """Every copy."""
        from keyturn.core.ports.stores import OwnershipTags, RemoteSecret

        for number in range(self._secrets):
            name = f"s{number:06}"
            tags = {"keyturn-managed-by": "keyturn", "keyturn-source": f"{FOLDER}/{name}@1",
                    "keyturn-fingerprint": f"{number:064x}"}  # fmt: skip
            yield RemoteSecret(name, "1", OwnershipTags.from_tags(tags))


def declare(directory: Path, secrets: int) -> None:
    """Write the catalogue."""
    directory.mkdir()
    (directory / "stores.yaml").write_text(DECLARED)
    for begun in range(0, secrets, FILE):
        entries = [
            SECRET.format(folder=FOLDER, number=number, team=number // 100)
            for number in range(begun, min(begun + FILE, secrets))
        ]
        (directory / f"secrets-{begun // FILE:04}.yaml").write_text("secrets:" + "".join(entries))


def opened(secrets: int) -> Any:
    """The workspace, with the model's stores."""
    from keyturn.catalogue import load_catalogue
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import open_workspace

    catalogue = load_catalogue(Path(os.environ["KEYTURN_CATALOGUE"]), os.environ)
    workspace = open_workspace(catalogue, VaultHub(HubSettings.from_environment()))
    stores = {name: ModelStore(name, secrets) for name in STORES}
    return replace(workspace, open_store=stores.__getitem__)


class Opener:
    """What the looks of ``benchmarks/catalogue.py`` open."""

    def __init__(self, secrets: int) -> None:
        self._secrets = secrets

    def open(self) -> Any:
        """The workspace."""
        return opened(self._secrets)


def remembered(secrets: int) -> None:
    """Leave in the hub what a first `due` leaves there after it has read each record: none has anything open."""
    from keyturn.core.ports.hub import Survey
    from keyturn.rotation.state import quiet_period

    listing = quiet_period.Listing(opened(secrets), Survey())
    for path, newest in (listing.records or {}).items():
        listing._now[path] = (newest.version, newest.created_at.isoformat(), quiet_period.Acknowledged(1, ()))
    listing.remember()


def planned(secrets: int) -> None:
    """A plan of all copies, which are in sync."""
    from keyturn.core.plan import Action
    from keyturn.sync.plan import plan

    counts = plan(opened(secrets)).counts()
    if counts != {Action.IN_SYNC: 3 * secrets}:
        raise SystemExit(f"the plan is {counts}")


def looked(secrets: int, name: str) -> None:
    """A look of ``benchmarks/catalogue.py``."""
    from benchmarks import catalogue

    getattr(catalogue, name)(Opener(secrets))


def verified(secrets: int) -> None:
    """Write a ledger with an entry for each secret, and verify it."""
    from benchmarks import ledger
    from keyturn.ledger.scan import scan_entries
    from keyturn.ledger.signed_notes import PublicKey

    key = ledger.Key()
    with tempfile.TemporaryDirectory() as directory:
        file = ledger.large(Path(directory), secrets, key)
        keys = [PublicKey(ledger.ORIGIN, key.public_key())]
        ledger.verified(file, secrets, keys, key.read()[0], scan_entries)


LOOKS: Final[dict[str, Callable[[int], object]]] = {
    "open, first": opened,
    "open, unchanged": opened,
    "remember": remembered,
    "due": lambda secrets: looked(secrets, "look_for_due"),
    "retire": lambda secrets: looked(secrets, "look_for_unretired"),
    "plan": planned,
    "ledger": verified,
}


def measured(secrets: int) -> dict[str, dict[str, float]]:
    """Seconds of CPU and MB of each look."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        directory = Path(place)
        declare(directory / "catalogue", secrets)
        command = [sys.executable, __file__]
        server = stack.enter_context(
            subprocess.Popen([*command, "--serve", str(secrets)], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(server.terminate)
        port = server.stdout.readline().strip() if server.stdout else ""
        places = {"CATALOGUE": "catalogue", "LEDGER": "ledger.db"}
        own = {f"KEYTURN_{name}": str(directory / file) for name, file in places.items()}
        own |= {f"XDG_{name}_HOME": str(directory / name.lower()) for name in ("CACHE", "STATE")}
        own |= {"VAULT_ADDR": f"http://127.0.0.1:{port}", "VAULT_TOKEN": "token"}
        found = {}
        for name in LOOKS:
            done = subprocess.run([*command, "--look", name, str(secrets)], env={**os.environ, **own}, cwd=ROOT,
                                  stdout=subprocess.PIPE, text=True, check=False)  # fmt: skip
            if done.returncode:
                raise SystemExit(f"the look {name} has failed")
            found[name] = json.loads(done.stdout)
            print(f"{secrets:9,} {name:18}{found[name]['cpu']:9.2f} s{found[name]['mb']:8.0f} MB", flush=True)
        return found


def main() -> None:
    """Measure each size, and print how it grows."""
    from benchmarks.scale import exponent

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, nargs="+", default=[25_000, 50_000, 100_000])
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--look", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    if options.look:
        logging.disable(logging.WARNING)
        before = time.process_time()
        LOOKS[options.look[0]](int(options.look[1]))
        print(json.dumps({"cpu": time.process_time() - before, "mb": memory(os.getpid(), "VmHWM")}))
        return None
    by_size = {secrets: measured(secrets) for secrets in options.secrets}
    for name in LOOKS if len(by_size) > 1 else ():
        grown = {
            key: exponent(list(by_size), [found[name][key] for found in by_size.values()]) for key in ("cpu", "mb")
        }
        print(f"{name:18} CPU grows with {grown['cpu']:.2f}, memory with {grown['mb']:.2f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.json:
        options.json.write_text(json.dumps(by_size, indent=1))
    return None


if __name__ == "__main__":
    main()
