"""Reading many secrets at once through the client, compared with the same bare calls, in one run.

    python benchmarks/bulk.py [--secrets 1000] [--rounds 5]

``hvac`` and ``requests`` read each secret of a local OpenBao with that library in as many threads as the hub's adapter
has, parse the answer, and discard it. ``client`` is ``get_many`` of a client with an empty cache and the hub as its
source. All sides alternate, and the best round counts; the goal is a ratio to the faster of both. ``again`` is the
time once all are cached.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import hvac
import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter

from keyturn.client.client import SecretClient
from keyturn.client.sources import HubSource
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import THREADS, VaultHub
from keyturn.settings.hub import HubSettings
from local.openbao import OpenBao
from local.support.ports import free_port

GOAL: Final = 1.15
FOLDER: Final = "fleet"


class Bare:
    """Both libraries' own calls, in threads that share a session with a connection for each."""

    def __init__(self, server: OpenBao) -> None:
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        self._session.headers["X-Vault-Token"] = server.root_token
        self._hvac = hvac.Client(server.address, server.root_token, session=self._session, adapter=RawAdapter)
        self._url = f"{server.address}/v1/secret/data/"

    def by_hvac(self, path: str) -> object:
        """One secret's fields."""
        answer = self._hvac.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
        return answer.json()["data"]["data"]

    def by_requests(self, path: str) -> object:
        """The same."""
        return self._session.get(self._url + path, timeout=10).json()["data"]["data"]


def read_all(read: Callable[[str], object], paths: Sequence[str]) -> object:
    """Each of them, this many at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read, paths))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Measure it; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    paths = [f"{FOLDER}/app-{number:05}" for number in range(options.secrets)]
    with tempfile.TemporaryDirectory() as directory, OpenBao(Path(directory) / "hub", free_port(), dev=True) as server:
        os.environ["VAULT_TOKEN"] = server.root_token
        hub = VaultHub(HubSettings(server.address))
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda path: hub.write(path, SecretFields({"password": "x" * 32}), cas=0), paths))
        best = dict.fromkeys(("hvac", "requests", "client", "again"), float("inf"))
        bare = Bare(server)
        for _ in range(options.rounds):
            best["hvac"] = min(best["hvac"], timed(lambda: read_all(bare.by_hvac, paths)))
            best["requests"] = min(best["requests"], timed(lambda: read_all(bare.by_requests, paths)))
            with SecretClient([HubSource(hub)], poll=0, max_entries=options.secrets) as client:
                best["client"] = min(best["client"], timed(lambda: client.get_many(paths)))
                best["again"] = min(best["again"], timed(lambda: client.get_many(paths)))
        hub.close()
    fastest = min(best["hvac"], best["requests"])
    for side, seconds in best.items():
        print(f"{options.secrets} secrets  {side:8} {seconds:7.4f} s  {seconds / fastest:6.3f} times bare calls")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    missed = best["client"] > GOAL * fastest
    print("the goal is missed" if missed else "the goal is met")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
