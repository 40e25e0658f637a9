"""A process that follows the hub, together with others, and may be killed at any moment."""

import json
import sys
import threading
from pathlib import Path

from keyturn.catalogue import Catalogue
from keyturn.sync.changes import Polling
from keyturn.sync.follow import Follower
from keyturn.wiring.registry import open_workspace
from tests.support.world import World


def main() -> None:
    """Told of the servers and the catalogue, on the command line; a line for each thing that it says."""
    world, catalogue = World.from_json(sys.argv[1]), Catalogue.model_validate(json.loads(Path(sys.argv[2]).read_text()))
    workspace = open_workspace(catalogue, world.hub())
    follower = Follower(lambda: workspace, Polling(lambda: workspace.hub, 0.2), say, lambda: say("looked"))
    follower.run(threading.Event())


def say(line: str) -> None:
    """To whoever has started it."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
