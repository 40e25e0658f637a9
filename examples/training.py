"""A training job that outlives the credential it began with: in every step it reads a batch from a database.

    TRAINING_HOST=db.example python -m examples.training --steps 10000

The model is a line through points, fitted by gradient descent, so that no library is needed; the loop is that of any
framework. A job has no address that it could be told at: it asks for new versions every few seconds, and a login that
is refused is tried again with the secret read anew. Where it is ended it writes down how far it is, and goes on there.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from keyturn.client.client import SecretClient
from keyturn.client.pool import SecretPool
from keyturn.client.secrets import Secret
from keyturn.core.errors import KeyturnError
from keyturn.wiring.sources import open_client

Batch = list[tuple[float, float]]

POLL = 5.0
"""Seconds between two questions whether there are new versions."""


@dataclass
class Model:
    """A line, and how often it was corrected."""

    slope: float = 0.0
    height: float = 0.0
    step: int = 0

    def learn(self, batch: Batch, rate: float) -> float:
        """One step down; the mean square of the errors before it."""
        errors = [self.slope * x + self.height - y for x, y in batch]
        self.slope -= rate * sum(error * x for error, (x, _) in zip(errors, batch, strict=True)) / len(batch)
        self.height -= rate * sum(errors) / len(batch)
        self.step += 1
        return sum(error * error for error in errors) / len(batch)

    def save(self, file: Path) -> None:
        """Write it beside the file, then into its place: a job that is killed leaves a whole one."""
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self)))
        beside.replace(file)

    @staticmethod
    def load(file: Path) -> "Model":
        """The one that was written, or one that knows nothing."""
        return Model(**json.loads(file.read_text())) if file.exists() else Model()


def batches(pool: SecretPool[Connection], size: int) -> Iterator[Batch]:
    """Points of the table ``samples``, by chance, without end. Each is read on a connection of the pool."""
    while True:
        with pool.connection() as connection, connection, connection.cursor() as cursor:
            cursor.execute("SELECT x, y FROM samples ORDER BY random() LIMIT %s", (size,))
            rows = cursor.fetchall()
        yield rows


def train(
    client: SecretClient,
    path: str,
    address: dict[str, Any],
    checkpoint: Path,
    *,
    steps: int,
    lifetime: float = 60.0,
    stopped: threading.Event | None = None,
) -> Model:
    """Learn until so many steps are done or ``stopped`` is set, from where the checkpoint is.

    A connection is opened anew after ``lifetime`` seconds, as loaders do that start their workers for each epoch.
    """

    def connect(secret: Secret) -> Connection:
        user, password = secret["username"].reveal(), secret["password"].reveal()
        connection: Connection = psycopg2.connect(**address, user=user, password=password)
        return connection

    model = Model.load(checkpoint)
    pool = SecretPool(client, path, connect, refused=(psycopg2.OperationalError,), lifetime=lifetime)
    with closing(pool):
        for batch in batches(pool, 16):
            if model.step >= steps or (stopped and stopped.is_set()):
                break
            loss = model.learn(batch, rate=0.1)
            if model.step % 100 == 0:
                model.save(checkpoint)
                print(f"step {model.step}: {loss:.6f}, version {pool.secret.version}", flush=True)
    model.save(checkpoint)
    return model


def main() -> int:
    """Train with the sources that KEYTURN_SOURCES names; 1 where the secret can't be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secret", default="ml-training/database")
    parser.add_argument("--checkpoint", type=Path, default=Path("model.json"))
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    address = {"host": os.environ["TRAINING_HOST"], "dbname": os.environ.get("TRAINING_DATABASE", "ml")}
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with open_client(poll=POLL) as client:
            train(client, options.secret, address, options.checkpoint, steps=options.steps, stopped=stopped)
    except KeyturnError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
