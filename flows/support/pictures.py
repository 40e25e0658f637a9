"""Prefect's pages of secrets: one with a graph per secret, and one table of all.

A failure is logged, and fails no run.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.logging import get_run_logger

from flows.support.lineage import emit_copies, emit_turn
from keyturn.core.errors import KeyturnError, unexpected
from keyturn.core.schedule.windows import told
from keyturn.core.workspaces import HOUSE, slug
from keyturn.pages.secret_graph import SecretGraph
from keyturn.rotation.copies.push import Pushed
from tasks import artifacts as tasks
from tasks.step_names import target_of
from tasks.workspace import current_workspace, names

SIDE_BY_SIDE: Final = 8

MOST: Final = 50
"""The limit of pages per run; the table covers further secrets."""

Copies = Mapping[str, Sequence[Pushed] | None]
"""The observed copies of each secret; None: read them now."""


async def draw(
    copies: Copies, previous: Mapping[str, str] | None = None, turned: Mapping[str, int | None] | None = None
) -> None:
    """Update the pages of declared secrets, and emit the lineage events.

    ``previous`` states what happened to the old credential, ``turned`` the version that this run promoted.
    """
    with shown("the pages of secrets"):
        declared = sorted(path for path in copies if path in current_workspace().catalogue.secrets)
        few = {path: copies[path] for path in declared[:MOST]}
        for path in few:
            tell_made(path, few[path] or (), (turned or {}).get(path))
        graphs = await tasks.draw_secrets.fn(few, previous or {}) if few else {}
        places = asyncio.Semaphore(SIDE_BY_SIDE)
        await asyncio.gather(*(show(path, graph, places) for path, graph in graphs.items()))
        if more := len(declared) - len(few):
            get_run_logger().info("the pages of %d more secrets are renewed when they change again", more)


def tell_made(path: str, copies: Sequence[Pushed], version: int | None) -> None:
    if version:
        emit_turn(path, version, target_of(current_workspace(), path))
    emit_copies(path, copies, turned=version is not None)


async def show(path: str, graph: SecretGraph, places: asyncio.Semaphore) -> None:
    async with places:
        await acreate_markdown_artifact(
            str(graph), key=names().secret_artifact(path), description=f"{path}: {graph.hub.state}"
        )


async def list_all() -> None:
    with shown("the table of all secrets"):
        if rows := await tasks.list_rows.fn("the catalogue"):
            text = f"{len(rows)} secrets, as of {told(current_workspace().clock())}"
            await acreate_table_artifact(rows, key=slug(names().artifact(HOUSE)), description=text)


@contextmanager
def shown(what: str) -> Iterator[None]:
    try:
        yield
    except KeyturnError as error:
        get_run_logger().warning("not renewed: %s: %s", what, error)
    except Exception as error:  # noqa: BLE001  the run has done its work, and the text could hold anything
        get_run_logger().warning("not renewed: %s: %s", what, unexpected(error))
