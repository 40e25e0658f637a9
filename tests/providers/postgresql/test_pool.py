"""psycopg2's own pool over rotations of a real login."""

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as PostgresConnection

from keyturn.core.errors import Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.providers.postgresql.pool import SecretThreadedPool
from tests.support.database_login import DatabaseLogin
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.served import MADE


@pytest.fixture
def site(lab: Lab) -> Iterator[DatabaseLogin]:
    made = DatabaseLogin(lab)
    with made.client:
        yield made


@pytest.fixture
def pool(site: DatabaseLogin) -> Iterator[SecretThreadedPool]:
    made = SecretThreadedPool(site.client, site.path, 1, 4, **site.address)
    yield made
    made.closeall()


def works(connection: PostgresConnection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def test_on_a_rotation_what_is_in_use_works_on_and_is_closed_when_it_comes_back(
    site: DatabaseLogin, pool: SecretThreadedPool
) -> None:
    busy, idle = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    pool.told(site.change())
    assert idle.closed
    assert works(busy)
    pool.putconn(busy)
    assert busy.closed
    fresh = pool.getconn()
    assert works(fresh)
    pool.putconn(fresh)
    assert pool.getconn() is fresh


def test_a_version_that_nobody_told_of_is_taken_up_when_a_connection_is_asked_for(
    site: DatabaseLogin, pool: SecretThreadedPool
) -> None:
    site.change()
    site.client.refresh(site.path)
    assert works(pool.getconn())
    assert eventually(lambda: site.sessions() == 1)


def test_a_login_that_is_refused_is_tried_once_more_with_the_secret_read_anew(
    site: DatabaseLogin, pool: SecretThreadedPool
) -> None:
    first = pool.getconn()
    site.change()
    assert works(pool.getconn())
    pool.putconn(first)
    assert first.closed


def test_what_is_refused_under_every_version_is_refused(site: DatabaseLogin, pool: SecretThreadedPool) -> None:
    pool.getconn()
    site.lab.sql(f"ALTER ROLE {site.user} PASSWORD 'another'")
    with pytest.raises(psycopg2.OperationalError):
        pool.getconn()


def test_a_new_version_that_does_not_work_is_not_acknowledged_and_connections_stay(
    site: DatabaseLogin, pool: SecretThreadedPool
) -> None:
    with pytest.raises(psycopg2.OperationalError):
        pool.told(site.source.put(site.path, {**site.fields, "password": "not-at-the-server"}))
    assert works(pool.getconn())


def test_after_a_revocation_for_good_nothing_is_lent(site: DatabaseLogin, pool: SecretThreadedPool) -> None:
    pool.told(Notice(SECRET_REVOKED, site.path, 1, MADE, replaced=False))
    assert eventually(lambda: site.sessions() == 0)
    with pytest.raises(Unavailable):
        pool.getconn()


def test_the_pool_keeps_no_password(site: DatabaseLogin, pool: SecretThreadedPool) -> None:
    assert site.fields["password"] not in f"{vars(pool)}"
