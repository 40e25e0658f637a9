"""Run logs through detectors in one pass, by event times."""

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
"""The whole log is read, even with absurd times."""


def replay_logs(logs: Sequence[AccessLog], detectors: Sequence[Detector]) -> list[list[Alert]]:
    """Return the alerts of each detector. Raises Unavailable."""
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
    """Merge logs lazily by time, as far as each is ordered."""
    streams = [log.accesses(BEGINNING, END) for log in logs]
    return streams[0] if len(streams) == 1 else merge(*streams, key=lambda access: access.at)
