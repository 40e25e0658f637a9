"""A lab with its own hub and database, which a test may destroy or upgrade."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import Hub, prepare
from local.support.ports import free_port
from tests.support.lab import Lab
from tests.support.world import TOKEN_VARIABLE, World


@contextmanager
def own_lab(directory: Path, *, on_disk: bool = False) -> Iterator[Lab]:
    """A hub in memory, or ``on_disk``, where it can be restored from a snapshot, and a database next to it."""
    hub = OpenBao(directory / "hub", free_port(), dev=not on_disk)
    postgres = PostgreSQL(directory / "postgres", free_port(), durable=False)
    with hub, postgres, pytest.MonkeyPatch.context() as environment:
        prepared = Hub(hub.address, hub.root_token)
        prepare(prepared, postgres.host, postgres.port, postgres.superuser_password, ())
        prepared.first("targets/pg", prepared.first("targets/ml-postgres", {}, "keyturn"), "keyturn")
        environment.setenv(TOKEN_VARIABLE, hub.root_token)
        # A hub of its own has a ledger of its own.
        environment.setenv("KEYTURN_LEDGER", str(directory / "ledger.db"))
        log, password = str(postgres.process.log), postgres.superuser_password
        world = World(hub.address, hub.root_token, postgres.host, postgres.port, password, log)
        with Lab(world) as made:
            yield made
