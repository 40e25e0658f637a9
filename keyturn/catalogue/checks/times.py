"""Checks of the times of one rotation. Values of a wrong type are skipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from keyturn.catalogue.checks.plain_data import duration, text_at
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.schedule.cron import Cron, cron_flaw
from keyturn.settings.durations import show
from keyturn.settings.timing import is_timezone


@dataclass(frozen=True)
class Turn:
    shortest: timedelta
    longest: timedelta
    name: str
    remedy: str

    @staticmethod
    def of(entry: CatalogueEntry) -> "Turn | None":
        if interval := duration(entry, "interval"):
            return Turn(interval, interval, "interval", "lengthen interval")
        cron, zone = text_at(entry, "rotation", "cron"), text_at(entry, "rotation", "timezone")
        if not cron or not zone or cron_flaw(cron) or not is_timezone(zone):
            return None
        distances = Cron(cron, zone).distances()
        return Turn(*distances, "time between two runs of cron", "let it run more rarely") if distances else None


def grace_within_interval(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    turn, grace = Turn.of(entry), duration(entry, "grace")
    if turn and grace is not None and grace >= turn.shortest:
        message = f"grace ({show(grace)}) is not shorter than the {shortest(turn)}"
        yield entry.problem(("rotation", "grace"), message, f"Shorten grace or {turn.remedy}: two values live at most.")


def max_grace_between(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    turn, grace, limit = Turn.of(entry), duration(entry, "grace"), duration(entry, "max_grace")
    if limit and grace is not None and limit < grace:
        message = f"max_grace ({show(limit)}) is shorter than grace ({show(grace)})"
        yield entry.problem(("rotation", "max_grace"), message, f"Set it to {show(grace)} or more.")
    if limit and turn and limit > turn.shortest:
        message = f"max_grace ({show(limit)}) is longer than the {shortest(turn)}"
        yield entry.problem(("rotation", "max_grace"), message, f"Set it to {show(turn.shortest)} or less.")


def jitter_within_half(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    turn, jitter = Turn.of(entry), duration(entry, "jitter")
    if turn and jitter and jitter > turn.shortest / 2:
        message = f"jitter ({show(jitter)}) is more than half the {shortest(turn)}"
        yield entry.problem(("rotation", "jitter"), message, f"Set it to {show(turn.shortest / 2)} or less.")


def maximum_age_above_interval(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    turn, limit = Turn.of(entry), duration(entry, "maximum_age")
    jitter = duration(entry, "jitter") or timedelta(0)
    if turn and limit and limit <= turn.longest + jitter:
        name = turn.name if turn.shortest == turn.longest else f"the longest {turn.name}"
        after = f"{name}{' and jitter together' if jitter else ''} ({show(turn.longest + jitter)})"
        message = f"maximum_age ({show(limit)}) is not longer than {after}"
        remedy = "Lengthen it: the alarm would sound for a punctual secret."
        yield entry.problem(("rotation", "maximum_age"), message, remedy)


def watch_within_grace(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    grace, watch = duration(entry, "grace"), duration(entry, "pause", "rollout")
    if watch and grace is not None and watch > grace:
        message = f"pause ({show(watch)}) is longer than grace ({show(grace)})"
        remedy = "Lengthen grace or shorten the pause: what the canary may be put back to must still work."
        yield entry.problem(("rollout", "pause"), message, remedy)


def shortest(turn: Turn) -> str:
    name = turn.name if turn.shortest == turn.longest else f"shortest {turn.name}"
    return f"{name} ({show(turn.shortest)})"


CHECKS = (grace_within_interval, max_grace_between, jitter_within_half, maximum_age_above_interval, watch_within_grace)
