"""A process that plans and applies everything, together with others, and may be killed at any moment."""

import json
import sys

from keyturn.catalogue import Catalogue
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, work_of
from keyturn.sync_processes import executor as workers
from keyturn.wiring.registry import open_workspace
from tests.support.world import World


def main() -> None:
    """Told of the servers and the catalogue, on the command line."""
    world, catalogue = World.from_json(sys.argv[1]), Catalogue.model_validate(json.loads(sys.argv[2]))
    workspace = open_workspace(catalogue, world.hub())
    planned = plan(workspace, unseen=True)
    workers.ENOUGH = 1  # type: ignore[misc]
    with workers.executor(workspace, len(work_of(workspace, planned))) as execute:
        results = carry_out(workspace, planned, execute, lambda result: print(result.label, flush=True))  # noqa: T201
    sys.exit(any(result.error for result in results))


if __name__ == "__main__":
    main()
