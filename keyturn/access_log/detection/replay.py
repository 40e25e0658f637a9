"""Runs logs through detectors, all of them in one pass, in the order of the events' times."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from typing import Final

from keyturn.access_log.detection.alerts import Alert
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.reorder import in_batches
from keyturn.core.ports.access import Access, AccessLog

BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
END: Final = datetime.max.replace(tzinfo=UTC)
"""All of a log is read, be its times possible or not: a file that begins with an absurd one is not hidden by it."""


def replay_logs(logs: Sequence[AccessLog], detectors: Sequence[Detector]) -> list[list[Alert]]:
    """The alerts of each detector. Raises Unavailable for a log that can't be read."""
    alerts: list[list[Alert]] = [[] for _ in detectors]
    pairs = list(zip(detectors, alerts, strict=True))
    for accesses in in_batches(together(logs)):
        for detector, of_detector in pairs:
            of_detector += detector.take_all(accesses)
    for detector, of_detector in pairs:
        of_detector += detector.end()
        of_detector.sort(key=lambda alert: alert.first)
    return alerts


def together(logs: Sequence[AccessLog]) -> Iterator[Access]:
    """What several logs tell, by time as far as each is in order; each log is read as it goes."""
    streams = [log.accesses(BEGINNING, END) for log in logs]
    return streams[0] if len(streams) == 1 else merge(*streams, key=lambda access: access.at)
