"""A user's careless flow with Keyturn's block and variables.

What was in play is written to the file that MADE names, for the search alone.
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path

import psycopg2
from prefect import flow, task
from prefect.logging import get_run_logger

from keyturn.project.collection import KeyturnSecret
from local.leak_scan import scan


def write(made: dict[str, object]) -> None:
    """For the search alone."""
    Path(os.environ["MADE"]).write_text(json.dumps(made))


def beside(values: dict[str, str]) -> list[str]:
    """Which files that lie beside the run while it runs hold one of them."""
    return sorted({str(finding.place) for finding in scan([Path(tempfile.gettempdir())], values)})


@task(persist_result=True)
async def careless_task(name: str) -> object:
    """Returns the value where results are stored."""
    return await (await KeyturnSecret.load(name)).aget()


@task(persist_result=True, result_serializer="json")
async def careless_in_json(name: str) -> object:
    """The same, as Prefect advises where the first can't be stored."""
    return await (await KeyturnSecret.load(name)).aget()


@flow(log_prints=True, persist_result=True)
async def job(name: str, control: str, wait: bool) -> str:
    """Logs in with what the environment has, shows whatever it can of the secret, and waits to be cancelled."""
    block = await KeyturnSecret.load(name)
    value = await block.aget()
    print(control, value, repr(value), block, block.secret(), {"value": value})  # noqa: T201
    get_run_logger().info("%s %r %s", value, block.secret().fields, f"{value}")
    with psycopg2.connect(password=os.environ["PGPASSWORD"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        (user,) = cursor.fetchone() or ("",)
    made = {"secret": value.reveal(), "variable": os.environ["API_KEY"], "password": os.environ["PGPASSWORD"]}
    found = beside(made)
    await careless_task(name)
    await careless_in_json(name)
    write(made | {"user": user, "beside": found, "run": os.environ["PREFECT__FLOW_RUN_ID"]})
    if wait:
        await asyncio.sleep(600)
    raise ValueError(f"{value} of {os.environ['PGUSER']}")
