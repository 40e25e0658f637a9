"""SQLAlchemy's own pool over rotations of a real login."""

from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import Engine, create_engine, exc, text

from keyturn.core.errors import Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.providers.sqlalchemy.pool import EngineLogin
from tests.support.database_login import DatabaseLogin
from tests.support.hooks import eventually
from tests.support.lab import Lab
from tests.support.served import MADE


class Site(DatabaseLogin):
    """An engine that logs in with it."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.engine: Engine = create_engine("postgresql+psycopg2://", connect_args=self.address)
        self.login = EngineLogin(self.engine, self.client, self.path)

    def use(self) -> None:
        """One statement on a connection of the pool."""
        with self.engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    with made.client:
        yield made
    made.login.close()
    made.engine.dispose()


def test_on_a_rotation_what_is_in_use_works_on_and_is_closed_when_it_comes_back(site: Site) -> None:
    with site.engine.connect() as busy:
        site.login.told(site.change())
        assert busy.scalar(text("SELECT 1")) == 1
        site.use()
        assert eventually(lambda: site.sessions() == 2)
    assert eventually(lambda: site.sessions() == 1)
    site.use()


def test_a_version_that_nobody_told_of_replaces_what_is_idle(site: Site) -> None:
    site.use()
    site.change()
    site.client.refresh(site.path)
    assert eventually(lambda: site.sessions() == 0)
    site.use()


def test_a_login_that_is_refused_is_tried_once_more_with_the_secret_read_anew(site: Site) -> None:
    site.change()
    site.use()
    assert site.client.get(site.path).version == 2


def test_what_is_refused_under_every_version_is_refused(site: Site) -> None:
    site.lab.sql(f"ALTER ROLE {site.user} PASSWORD 'another'")
    with pytest.raises((exc.OperationalError, psycopg2.OperationalError)):
        site.use()


def test_a_new_version_that_does_not_work_is_not_acknowledged(site: Site) -> None:
    with pytest.raises((exc.OperationalError, psycopg2.OperationalError)):
        site.login.told(site.source.put(site.path, {**site.fields, "password": "not-at-the-server"}))


def test_after_a_revocation_for_good_nothing_is_left_and_nothing_logs_in(site: Site) -> None:
    with site.engine.connect():
        site.login.told(Notice(SECRET_REVOKED, site.path, 1, MADE, replaced=False))
    assert eventually(lambda: site.sessions() == 0)
    with pytest.raises(Unavailable):
        site.use()
