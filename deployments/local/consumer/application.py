"""The application: it queries without pause, and moves to a new credential when it is told of one."""

import threading
import time
from typing import Any, Final

import psycopg2

from deployments.local.consumer import database
from deployments.local.consumer.pool import Pool, Retired
from deployments.local.consumer.sources import Credential, Source, read_promised
from deployments.local.consumer.stats import Stats
from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.notices import SECRET_REVOKED, Notice

WORKERS: Final = 2
PAUSE: Final = 0.02
"""Seconds between two queries of one worker."""

RECOVERY_PAUSE: Final = 0.2
"""Seconds between two looks for a credential that works."""

PATIENCE: Final = 5.0
"""Seconds that a lagging copy is waited for, and that running queries are given to finish."""


class Application:
    """Lives on the credential at ``path`` in ``source``; queries go to the pool that passed its test last."""

    def __init__(self, name: str, source: Source, path: str, address: database.Address) -> None:
        self.name = name
        self.path = path
        self.stats = Stats()
        self._source = source
        self._address = address
        self._renewing = threading.Lock()
        self._recover_at = 0.0
        self._stopping = threading.Event()
        self._workers = [threading.Thread(target=self._work, args=(f"{name}-{n}",)) for n in range(WORKERS)]
        # What each secret was when its latest notice was settled, or at the start.
        self._settled: dict[str, Credential] = {}

    def start(self) -> None:
        """Read the credential, log in, and begin to query. Raises KeyturnError and psycopg2.Error."""
        self._credential = self._settled[self.path] = self._source.read(self.path)
        self._pool = self._address.pool(self._credential.fields, self.name)
        self._statement = database.choose_statement(self._pool, self.name)
        self.stats.query_served()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Finish the running queries and close the connections."""
        self._stopping.set()
        for worker in self._workers:
            worker.join()
        self._pool.retire(PATIENCE)

    def follow(self, notice: Notice) -> None:
        """Use the secret at the version promised; returns when nothing uses an older one any more.

        Where a revocation has put nothing in its place, nothing of it is used from then on. Raises KeyturnError where
        it can't be read, psycopg2.Error where a new one does not work: the old pool stays.
        """
        if notice.secret_path != self.path:
            self._renew_other(notice)
        else:
            # One at a time, so that the older of two versions is never put in the newer one's place.
            with self._renewing:
                self._renew(notice)
        self.stats.settled(notice)

    def shown(self) -> dict[str, Any]:
        """What it did and what it uses, without a value."""
        held = self._credential
        return {
            "name": self.name,
            "source": self._source.name,
            "username": held.fields["username"].reveal(),
            "version": held.version,
            "rotated_at": held.rotated_at.isoformat() if held.rotated_at else None,
            **self.stats.shown(),
        }

    def _renew_other(self, notice: Notice) -> None:
        if credential := self._read(notice):
            self._settled[notice.secret_path] = credential
        else:
            self._settled.pop(notice.secret_path, None)

    def _renew(self, notice: Notice) -> None:
        credential = self._read(notice)
        if credential and self._taken_up(credential, notice):
            self._settled[self.path] = credential
        else:
            self._pool.retire(PATIENCE)

    def _read(self, notice: Notice) -> Credential | None:
        """The secret as it was promised; None where it was revoked, and nothing is there any more."""
        try:
            return read_promised(self._source, notice, self._settled.get(notice.secret_path), PATIENCE)
        except NotFound:
            if notice.event == SECRET_REVOKED:
                return None
            raise

    def _taken_up(self, credential: Credential, notice: Notice) -> bool:
        """Whether it is in use now; False where it is the one that was in use, and was revoked."""
        try:
            self._use(credential)
        except psycopg2.Error:
            # A new one is taken up once it works; the one from before never does again.
            if notice.event == SECRET_REVOKED and credential.fields == self._credential.fields:
                return False
            raise
        return True

    def _use(self, credential: Credential) -> None:
        fresh = self._address.pool(credential.fields, self.name)
        try:
            database.run(fresh, self._statement, self.name)
        except psycopg2.Error:
            fresh.retire(0)
            raise
        retiring, self._pool, self._credential = self._pool, fresh, credential
        self.stats.reloaded()
        retiring.retire(PATIENCE)

    def _work(self, worker: str) -> None:
        while not self._stopping.wait(PAUSE):
            pool = self._pool
            try:
                database.run(pool, self._statement, worker)
            except Retired as error:
                # Nothing was sent: the next round takes the pool that has replaced it, where one has.
                if self._pool is pool:
                    self.stats.query_failed(error)
                    self._recover(pool)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self.stats.query_failed(error)
                self._recover(pool)
            except psycopg2.Error as error:
                self.stats.query_failed(error)
            else:
                self.stats.query_served()

    def _recover(self, failed: Pool) -> None:
        """Look for a credential that works, unless another thread is at it or has found one."""
        if time.monotonic() < self._recover_at or not self._renewing.acquire(blocking=False):
            return
        try:
            if self._pool is failed:
                self._use(self._source.read(self.path))
        except (KeyturnError, psycopg2.Error) as error:
            self.stats.recovery_failed(error)
        finally:
            self._recover_at = time.monotonic() + RECOVERY_PAUSE
            self._renewing.release()
