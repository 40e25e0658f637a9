"""A rehearsal in a process that is killed while its throw-away credential works."""

import json
import os
import signal
import sys
from typing import Any

from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.revocation.objectives.rehearsing import rehearse
from tests.support.lab import Declared, Lab
from tests.support.world import World


def killed(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Rehearse the secret of the job on stdin, as far as the session with the throw-away credential."""
    job = json.load(sys.stdin)
    PostgreSQL.hold_session = killed  # type: ignore[assignment,method-assign]
    with Lab(World.from_json(job["world"])) as lab:
        rehearse(lab.open(Declared(**job["declared"])).workspace, job["declared"]["path"])


if __name__ == "__main__":
    main()
