"""Checks of consumers that send no answer. Values of a wrong type are skipped."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from keyturn.catalogue.checks.plain_data import at, duration, list_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem


def canary_that_answers(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    for index, name in enumerate(list_at(entry, "rollout", "canary")):
        if _is_silent(name, world):
            message = f"{name} has no health endpoint, so its health is unknown"
            yield entry.problem(("rollout", "canary", index), message, "Name a consumer that answers, such as by HTTP.")
        elif at(entry.data, ("rollout", "health")) is not False and not _has_health(name, world):
            message = f"{name} can't be asked how it is"
            remedy = (
                "Say health: false, so that its acknowledgement counts alone, or name one that is notified by HTTP."
            )
            yield entry.problem(("rollout", "canary", index), message, remedy)


def grace_for_who_is_silent(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    silent = [name for name in list_at(entry, "consumers") if _is_silent(name, world)]
    if silent and duration(entry, "grace") == timedelta(0):
        message = (
            f"{silent[0]} has no health endpoint, and without grace the old "
            "credential could end before it has read the new one"
        )
        yield entry.problem(("rotation", "grace"), message, "Give it the time that it needs, such as 1h.")


def _has_health(name: Any, world: World) -> bool:
    consumer = world.consumers.get(name) if isinstance(name, str) else None
    return consumer is None or consumer.HEALTH


def _is_silent(name: Any, world: World) -> bool:
    consumer = world.consumers.get(name) if isinstance(name, str) else None
    return consumer is not None and not consumer.answers


CHECKS = (canary_that_answers, grace_for_who_is_silent)
