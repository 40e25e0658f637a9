"""Prefect's services recover after Redis lost their plans, and report unsafe settings."""

import asyncio
from typing import Any

import pytest
from prefect.settings import temporary_settings
from redis import Redis as Client
from redis.asyncio import Redis as AsyncClient

from deployments.prefect_services import Plans, end_of, main, serve
from keyturn.project.worker.scale_out import SHARED, settings_remarks, unshared_settings
from local.redis import Redis

pytestmark = pytest.mark.sampled(3, of="file")

TIMEOUT = 30


def login(redis: Redis) -> dict[str, Any]:
    """A superuser's, at the database that Prefect plans in."""
    named = {"username": redis.superuser, "password": redis.superuser_password}
    return {"host": redis.host, "port": redis.port, "db": 1, **named}


@pytest.mark.attack
def test_services_restart_only_after_redis_lost_their_plans(redis: Redis) -> None:
    ended: list[bool] = []

    async def never_ends() -> None:
        await asyncio.get_running_loop().create_future()

    async def both() -> None:
        clients = [AsyncClient(**login(redis)) for _ in range(2)]
        serving = [asyncio.create_task(serve(never_ends, Plans(client))) for client in clients]
        await asyncio.sleep(5)
        ended.extend(task.done() for task in serving)
        with Client(**login(redis)) as operator:
            operator.flushdb()
        await asyncio.wait_for(asyncio.gather(*serving), TIMEOUT)
        for client in clients:
            await client.aclose()

    asyncio.run(both())
    assert ended == [False, False]


def test_services_begin_anew_once_one_of_them_has_ended_by_itself(redis: Redis) -> None:
    class Service:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def start(self) -> None:
            await asyncio.sleep(self.seconds)

    class Short(Service):
        async def start(self) -> None:
            await super().start()
            raise LookupError("the database was away")

    tasks: list[asyncio.Task[None]] = []

    async def services() -> None:
        tasks.extend(asyncio.create_task(one.start()) for one in (Service(TIMEOUT * 2), Short(0.01)))
        await asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with AsyncClient(**login(redis)) as client:
            await asyncio.wait_for(serve(services, Plans(client)), TIMEOUT)
        assert [task.done() for task in tasks] == [False, True]
        assert end_of(tasks[1]).endswith("Short.start (LookupError)")
        assert end_of(tasks[0]).endswith("Service.start")

    asyncio.run(run())


def test_services_that_fail_end_with_what_they_failed_with(redis: Redis) -> None:
    async def fails() -> None:
        raise LookupError("the database")

    async def run() -> None:
        async with AsyncClient(**login(redis)) as client:
            await serve(fails, Plans(client))

    with pytest.raises(LookupError, match="the database"):
        asyncio.run(run())


def test_without_redis_there_is_nothing_to_watch_over(capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_settings({"PREFECT_SERVER_DOCKET_URL": "memory://"}):  # type: ignore[dict-item]
        assert main() == 2
    assert "remedy: Set PREFECT_SERVER_DOCKET_URL" in capsys.readouterr().err


def settings(**values: str) -> dict[str, Any]:
    """A server's settings as its API gives them, Prefect's defaults but for these."""
    server: dict[str, Any] = {
        "docket": {"url": "memory://"},
        "events": {
            "messaging_broker": "prefect.server.utilities.messaging.memory",
            "messaging_cache": "prefect.server.utilities.messaging.memory",
            "causal_ordering": "prefect.server.events.ordering.memory",
        },
        "concurrency": {"lease_storage": "prefect.server.concurrency.lease_storage.memory"},
        "database": {"migrate_on_start": True},
    }
    for one in SHARED:
        if one.variable in values:
            area, name = one.place
            server[area][name] = values[one.variable]
    return server


def test_a_server_alone_is_not_remarked_on() -> None:
    assert [*unshared_settings(settings()), *settings_remarks(settings())] == []


def test_what_servers_that_share_events_do_not_share_is_named_with_what_comes_of_it() -> None:
    some = settings(PREFECT_SERVER_EVENTS_MESSAGING_BROKER="prefect_redis.messaging")
    told = {words.split()[7]: words for words, _ in unshared_settings(some)}
    assert set(told) == {one.variable for one in SHARED} - {"PREFECT_SERVER_EVENTS_MESSAGING_BROKER"}
    assert "scheduled runs and alarms come twice" in told["PREFECT_SERVER_DOCKET_URL"]


@pytest.mark.attack
def test_migrations_at_each_start_and_an_exposed_password_are_reported() -> None:
    shared = {one.variable: one.value for one in SHARED}
    whole = settings(**shared | {"PREFECT_SERVER_DOCKET_URL": "redis://prefect:word@redis:6379/1"})
    assert list(unshared_settings(whole)) == []
    migrates, shown = (words for words, _ in settings_remarks(whole))
    assert "migrates its database" in migrates
    assert "can read the password" in shown
    assert "word" not in shown.replace("password", "")
    hasty = {"connection_timeout": 5.0, "timeout": 60.0}
    (remark,) = settings_remarks(
        settings(**shared | {"PREFECT_SERVER_DOCKET_URL": "rediss://redis"}) | {"database": hasty}
    )
    assert remark[1] == "Set PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT to 60"
    quiet = settings(**shared | {"PREFECT_SERVER_DOCKET_URL": "rediss://redis:6379/1"}) | {"database": {}}
    assert list(settings_remarks(quiet)) == []
