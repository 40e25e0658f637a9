"""Checks how long the Prefect server keeps data of runs, which only its operator can set."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import httpx
from prefect.client.orchestration import get_client
from pydantic import TypeAdapter, ValidationError

EVENTS_KEPT: Final = timedelta(days=2)
RUNS_KEPT: Final = timedelta(days=14)
"""Longer periods are reported; the record is in the hub and the ledger."""

_SPAN: Final = TypeAdapter(timedelta)


async def advice() -> list[str]:
    """The missing settings that limit the size of the server's database."""
    server = await server_settings()
    if server is None:
        return ["it does not show how long it keeps runs and events: see that it forgets them"]
    return list(lacking(server))


async def server_settings() -> dict[str, Any] | None:
    async with get_client() as client:
        try:
            answer = await client._client.get("/admin/settings")
            answer.raise_for_status()
            settings = answer.json()
        except (httpx.HTTPStatusError, ValueError):
            return None
    return dict(settings.get("server", {})) if isinstance(settings, dict) else {}


def lacking(server: Mapping[str, Any]) -> Iterator[str]:
    vacuum, events = server.get("services", {}).get("db_vacuum", {}), server.get("events", {})
    removed = vacuum.get("enabled") or ()
    if "flow_runs" not in removed:
        yield "it keeps runs for ever: set PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs"
    elif span(vacuum.get("retention_period")) > RUNS_KEPT:
        wanted = f"PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD={int(RUNS_KEPT.total_seconds())}"
        yield f"it keeps runs for long: {wanted} is {RUNS_KEPT.days} days"
    if "events" not in removed or span(events.get("retention_period")) > EVENTS_KEPT:
        wanted = f"PREFECT_SERVER_EVENTS_RETENTION_PERIOD=P{EVENTS_KEPT.days}D"
        yield f"it keeps events, which are most of it, for long: set {wanted}"


def span(setting: Any) -> timedelta:
    """A duration from the server; an unreadable one counts as unlimited."""
    try:
        return _SPAN.validate_python(setting)
    except ValidationError:
        return timedelta.max
