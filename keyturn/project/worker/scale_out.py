"""Whether several processes of Prefect's server share what they must."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

LOCAL: Final = ("prefect.server.", "memory:")
"""Prefixes of settings that keep data in one process."""


@dataclass(frozen=True)
class Shared:
    """A setting that server processes share, its place in the API, and the effect without it."""

    variable: str
    place: tuple[str, str]
    value: str
    without: str


PATIENCE: Final = 60
"""Seconds for an answer of Prefect's database.

Prefect's service of automations ends for ever if its first query times out after its default of 5 or 10 s.
"""
TIMEOUTS: Final = ("connection_timeout", "timeout")

SHARED: Final = (
    Shared("PREFECT_SERVER_DOCKET_URL", ("docket", "url"), "redis://…", "scheduled runs and alarms come twice"),
    Shared(
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER",
        ("events", "messaging_broker"),
        "prefect_redis.messaging",
        "events of one API reach no other process, so no automation",
    ),
    Shared(
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE",
        ("events", "messaging_cache"),
        "prefect_redis.messaging",
        "an event may count twice",
    ),
    Shared(
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",
        ("events", "causal_ordering"),
        "prefect_redis.ordering",
        "an event may be judged before the one that it follows",
    ),
    Shared(
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
        ("concurrency", "lease_storage"),
        "prefect_redis.lease_storage",
        "the place of a run that died is never given back",
    ),
)


def shared_settings(docket: str, messaging: str) -> dict[str, str]:
    """The settings of each of several server processes; both arguments are Redis URLs."""
    modules = {setting.variable: setting.value for setting in SHARED if not setting.variable.endswith("_URL")}
    return modules | {
        "PREFECT_SERVER_DOCKET_URL": docket,
        "PREFECT_REDIS_MESSAGING_URL": messaging,
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        **{f"PREFECT_SERVER_DATABASE_{name.upper()}": f"{PATIENCE}" for name in TIMEOUTS},
    }


def unshared_settings(server: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that are local although others are shared, each with its fix."""
    kept_alone = [setting for setting in SHARED if not is_shared(server, setting)]
    if len(kept_alone) == len(SHARED):
        return
    for setting in kept_alone:
        yield (
            f"each process has its own of what {setting.variable} says: {setting.without}",
            f"Set it to {setting.value} in all",
        )


def settings_remarks(server: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not any(is_shared(server, setting) for setting in SHARED):
        return
    if server.get("database", {}).get("migrate_on_start"):
        words = "each process migrates its database when it starts, and two of them at once fail"
        yield (
            words,
            "Set PREFECT_SERVER_DATABASE_MIGRATE_ON_START=false, and run `prefect server database upgrade` first",
        )
    if short := [name for name in TIMEOUTS if float(server.get("database", {}).get(name) or PATIENCE) < PATIENCE / 2]:
        words = "its database has few seconds to answer, and on a busy machine its automations end over that"
        names = " and ".join(f"PREFECT_SERVER_DATABASE_{name.upper()}" for name in short)
        yield words, f"Set {names} to {PATIENCE}"
    if urlsplit(str(server.get("docket", {}).get("url", ""))).password:
        words = "anyone who may call its API can read the password of Redis in PREFECT_SERVER_DOCKET_URL"
        yield words, "Block other access to that Redis, or give it a client certificate instead: docs/production.md"


def is_shared(server: Mapping[str, Any], setting: Shared) -> bool:
    area, name = setting.place
    value = str(server.get(area, {}).get(name, ""))
    return bool(value) and not value.startswith(LOCAL)
