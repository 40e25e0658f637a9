"""Connection pools across rotations, with a real database and a simulated one."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg2
import pytest
from psycopg2.extensions import connection as PostgresConnection

from keyturn.client.client import SecretClient
from keyturn.client.pool import Retired, SecretPool, connector
from keyturn.client.secrets import Secret
from keyturn.client.sources import HubSource
from keyturn.core.errors import NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import worker
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.served import MemorySource


class Refused(Exception):
    """The login does not hold any more."""


class Session:
    """A connection that knows by which password it was opened."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Database:
    """Lets in whoever has the password that is right now."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.sessions: list[Session] = []

    def connect(self, secret: Secret) -> Session:
        if secret["password"].reveal() != self.password:
            raise Refused
        self.sessions.append(Session(self.password))
        return self.sessions[-1]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(a=1)


@pytest.fixture
def database() -> Database:
    return Database("a-1")


@pytest.fixture
def client(source: MemorySource) -> Iterator[SecretClient]:
    with SecretClient([source], poll=0, patience=0) as client:
        yield client


@pytest.fixture
def pool(client: SecretClient, database: Database) -> Iterator[SecretPool[Session]]:
    pool = SecretPool(client, "a", database.connect, refused=(Refused,), size=2, patience=0)
    yield pool
    pool.close()


def notice(version: int, event: str = SECRET_ROTATED, path: str = "a", replaced: bool = True) -> Notice:
    return Notice(event, path, version, datetime.now(UTC), replaced)


def test_connections_are_lent_again_and_no_more_than_so_many(pool: SecretPool[Session], database: Database) -> None:
    with pool.connection() as first:
        pass
    with pool.connection() as again, pool.connection():
        assert again is first
        waiting = threading.Thread(target=lambda: pool.connection().__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(database.sessions) == 2


def test_a_new_version_replaces_all_and_what_is_in_use_is_closed_when_it_comes_back(
    pool: SecretPool[Session], source: MemorySource, database: Database
) -> None:
    with pool.connection() as busy:
        source.served["a"], database.password = 2, "a-2"
        pool.told(notice(2))
        assert not busy.closed
        with pool.connection() as fresh:
            assert fresh.password == "a-2"
    assert busy.closed
    assert pool.secret.version == 2


def test_a_new_version_that_does_not_work_is_not_acknowledged_and_the_old_one_stays(
    pool: SecretPool[Session], source: MemorySource
) -> None:
    source.served["a"] = 2
    with pytest.raises(Refused):
        pool.told(notice(2))
    with pool.connection() as connection:
        assert connection.password == "a-1"


def test_a_pool_that_was_not_told_heals_itself(
    pool: SecretPool[Session], source: MemorySource, database: Database
) -> None:
    source.served["a"], database.password = 2, "a-2"
    with pool.connection() as connection:
        assert connection.password == "a-2"


def test_what_is_refused_under_every_version_is_refused(pool: SecretPool[Session], database: Database) -> None:
    database.password = "another"
    with pytest.raises(Refused), pool.connection():
        pass


def test_after_a_revocation_without_a_replacement_nothing_is_lent_until_there_is_one(
    pool: SecretPool[Session], source: MemorySource, database: Database
) -> None:
    del source.served["a"]
    pool.told(notice(1, SECRET_REVOKED))
    with pytest.raises(NotFound), pool.connection():
        pass
    source.served["a"], database.password = 2, "a-2"
    pool.told(notice(2))
    with pool.connection() as connection:
        assert connection.password == "a-2"


def test_what_was_revoked_and_is_still_served_is_lent_no_more_once_it_is_refused(
    pool: SecretPool[Session], database: Database
) -> None:
    with pool.connection():
        pass
    database.password = ""
    pool.told(notice(1, SECRET_REVOKED))
    assert all(session.closed for session in database.sessions)
    with pytest.raises(Retired, match="of a is lent: the secret was revoked"), pool.connection():
        pass


def test_what_nothing_replaces_is_lent_no_more_although_a_copy_still_serves_it_and_it_works(
    pool: SecretPool[Session], database: Database, source: MemorySource
) -> None:
    with pool.connection() as old:
        pass
    pool.told(notice(1, SECRET_REVOKED, replaced=False))
    assert old.closed
    with pytest.raises(Unavailable), pool.connection():
        pass
    source.served["a"], database.password = 2, "a-2"
    pool.told(notice(2))
    with pool.connection() as connection:
        assert connection.password == "a-2"


def test_connections_that_another_thread_has_replaced_are_not_read_for_again(
    client: SecretClient, source: MemorySource, database: Database
) -> None:
    pool = SecretPool(client, "a", database.connect, refused=(Refused,), patience=0)
    refused = pool._connections
    source.served["a"], database.password = 2, "a-2"
    pool.told(notice(2))
    before = len(source.reads)
    assert pool._heal(refused)
    assert len(source.reads) == before
    pool.close()


def test_what_was_revoked_and_replaced_by_the_same_version_is_opened_anew(
    pool: SecretPool[Session], database: Database
) -> None:
    with pool.connection() as old:
        pass
    pool.told(notice(1, SECRET_REVOKED))
    assert old.closed
    with pool.connection() as fresh:
        assert not fresh.closed
    assert pool.replaced == 0


def test_a_notice_of_another_secret_changes_nothing(pool: SecretPool[Session]) -> None:
    pool.told(notice(9, path="b"))
    with pool.connection() as connection:
        assert connection.password == "a-1"


def test_a_version_that_asking_has_found_is_taken_up(source: MemorySource, database: Database) -> None:
    with SecretClient([source], poll=0.05) as client:
        pool = SecretPool(client, "a", database.connect, refused=(Refused,))
        source.served["a"], database.password = 2, "a-2"
        assert eventually(lambda: pool.secret.version == 2)
        pool.close()


def test_a_pool_that_was_closed_lends_nothing(pool: SecretPool[Session]) -> None:
    pool.close()
    with pytest.raises(Retired, match="of a is lent: the pool was closed"), pool.connection():
        pass


def test_any_other_pool_gets_connections_by_a_function_that_reads_anew_when_it_is_refused(
    client: SecretClient, source: MemorySource, database: Database
) -> None:
    connect = connector(client, "a", database.connect, (Refused,))
    assert connect().password == "a-1"
    source.served["a"], database.password = 2, "a-2"
    assert connect().password == "a-2"
    database.password = "another"
    with pytest.raises(Refused):
        connect()


def test_no_query_is_lost_while_the_real_credential_is_rotated_and_the_old_one_ends(lab: Lab) -> None:
    secret = lab.alternating()
    workspace = worker(lab, secret).workspace

    def connect(secret: Secret) -> PostgresConnection:
        return lab.connect(secret.fields.reveal())

    refused = (psycopg2.OperationalError,)
    with SecretClient([HubSource(lab.hub)], poll=0) as client:
        pool = SecretPool(client, secret.path, connect, refused=refused, size=2)
        with Querying(pool) as failures:
            for version in (2, 3):
                outcome = rotate(workspace, secret.path, Trigger.FORCE)
                pool.told(notice(outcome.version or 0, path=secret.path))
                assert pool.secret.version == version
                assert eventually(lambda: not retire(workspace, secret.path, Waive.EVERYTHING).held_by)
        assert failures == []
        pool.close()


class Querying:
    """Query in two threads while it lasts; gives the list of what failed."""

    def __init__(self, pool: SecretPool[PostgresConnection]) -> None:
        self._pool = pool
        self._failures: list[str] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(2)]

    def __enter__(self) -> list[str]:
        for thread in self._threads:
            thread.start()
        return self._failures

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(0.005):
            try:
                with self._pool.connection() as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except psycopg2.Error as error:
                self._failures.append(type(error).__name__)
