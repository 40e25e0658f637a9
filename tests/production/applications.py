"""Applications at work: they read secrets with Keyturn's client, log in and query, whatever happens around them."""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psycopg2

from keyturn.client.client import SecretClient
from keyturn.client.pool import SecretPool
from keyturn.client.secrets import Secret
from keyturn.client.sources import HubSource
from keyturn.core.errors import KeyturnError
from keyturn.providers.vault.hub import VaultHub
from local.prepare import DATABASE
from tests.production.topology import Topology

PAUSE = 0.1
"""Seconds between two queries of one application."""


@dataclass(frozen=True)
class Failure:
    """One query that did not come through. ``refused`` says that the login was: then the credential is to blame."""

    at: float
    path: str
    refused: bool
    words: str


class Applications:
    """So many at once, each in a thread, while it is entered."""

    def __init__(self, topology: Topology, count: int = 4) -> None:
        self._topology = topology
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(count)]
        self.queries = 0
        self.failures: list[Failure] = []
        self.errors: list[BaseException] = []

    def __enter__(self) -> "Applications":
        source = HubSource(VaultHub(self._topology.operators_hub()))
        self._client = SecretClient([source], poll=5)
        self._client.warm(["fleet/*"])
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _work(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311  no secret is drawn
        paths: Sequence[str] = self._topology.paths
        own = paths[number :: len(paths) // 2 + 1]
        try:
            with ExitStack() as stack:
                kept = {path: stack.enter_context(closing(self._pool(path))) for path in own}
                while not self._over.wait(PAUSE):
                    path = chance.choice([*kept] if chance.random() < 0.3 else paths)
                    self._query(path, kept.get(path))
        except BaseException as error:  # noqa: BLE001  a thread has no other way to tell
            self.errors.append(error)

    def _pool(self, path: str) -> SecretPool[Any]:
        return SecretPool(self._client, path, self._connect, refused=(psycopg2.OperationalError,), size=1)

    def _connect(self, secret: Secret) -> Any:
        return psycopg2.connect(
            host=secret["host"].reveal(),
            port=secret["port"].reveal(),
            dbname=DATABASE,
            user=secret["username"].reveal(),
            password=secret["password"].reveal(),
            sslmode="disable",
            connect_timeout=10,
        )

    def _query(self, path: str, pool: SecretPool[Any] | None) -> None:
        try:
            with ExitStack() as stack:
                pool = pool or stack.enter_context(closing(self._pool(path)))
                with pool.connection() as connection, connection, connection.cursor() as cursor:
                    cursor.execute("SELECT current_user")
            self.queries += 1
        except (psycopg2.Error, KeyturnError) as error:
            words = " ".join(str(error).split())
            refused = "authentication failed" in words or "not permitted to log in" in words
            self.failures.append(Failure(time.time(), path, refused, words))
