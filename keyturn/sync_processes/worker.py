"""A process that applies items of a plan, which it reads from standard input. Results go to standard output.

The parent process first sends a pickle with the workspace's settings, then a line of JSON for each batch of items of
one store. The process answers ``ready``, and then a line of JSON for each result. Names are sent here, values never.
"""

import json
import pickle
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Final

from keyturn.catalogue import Catalogue
from keyturn.core.actor import Acting, acting
from keyturn.core.plan import Action, Item
from keyturn.project.process import guard_process
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.sync.apply import Applier, Result
from keyturn.sync.threads import Crew
from keyturn.wiring.registry import open_workspace

READY: Final = "ready"


@dataclass(frozen=True)
class Order:
    """How to open the workspace, which part of each store's quota is this process's own, and who has asked."""

    catalogue: Catalogue
    hub: HubSettings
    share: float
    acting: Acting | None = None


def line_of(items: list[Item]) -> bytes:
    """A batch as a line."""
    return json.dumps([{key: value for key, value in asdict(item).items() if value} for item in items]).encode() + b"\n"


def items_of(line: bytes) -> list[Item]:
    """The batch in a line."""
    return [Item(**{**data, "action": Action(data["action"])}) for data in json.loads(line)]


def main() -> None:
    """Work until the input ends."""
    guard_process()
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301  it comes from the process that started this one
    acting.set(order.acting)
    applier = Applier(open_workspace(order.catalogue, VaultHub(order.hub)), order.share)
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def report(result: Result) -> None:
        say(json.dumps(asdict(result)))

    say(READY)
    with Crew(applier) as crew:
        for line in sys.stdin.buffer:
            crew.take(items_of(line), report)


if __name__ == "__main__":
    main()
