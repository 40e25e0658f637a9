"""A process that applies items of a plan: it is told which on its standard input, and answers on its output.

First comes one pickle of how to open the workspace, made by the parent process; then a line of JSON for each item.
Names travel here, no value does.
"""

import json
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action, Item
from keyturn.providers.registry import open_keyturn
from keyturn.providers.vault import VaultHub
from keyturn.providers.vault_login import HubSettings
from keyturn.sync.apply import Applier
from keyturn.sync.pace import WIDEST

READY: Final = "ready"


@dataclass(frozen=True)
class Order:
    """How to open the workspace, and which part of each store's quota is this process's own."""

    catalogue: Catalogue
    hub: HubSettings
    share: float


def item_of(line: bytes) -> Item:
    """The item in a line."""
    said = json.loads(line)
    return Item(**{**said, "action": Action(said["action"])})


class Pools(dict[str, ThreadPoolExecutor]):
    """Threads for each store, so that none waits for another."""

    def __missing__(self, store: str) -> ThreadPoolExecutor:
        self[store] = ThreadPoolExecutor(WIDEST)
        return self[store]


def main() -> None:
    """Work until the input ends."""
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301  it comes from the process that started this one
    applier = Applier(open_keyturn(order.catalogue, VaultHub(order.hub)), order.share)
    lock, pools = threading.Lock(), Pools()

    def work(item: Item) -> None:
        line = json.dumps(asdict(applier.apply(item))) + "\n"
        with lock:
            sys.stdout.write(line)
            sys.stdout.flush()

    for line in sys.stdin.buffer:
        item = item_of(line)
        pools[item.store].submit(work, item)
    for pool in pools.values():
        pool.shutdown()


if __name__ == "__main__":
    main()
