"""The detector of one process, shared by its sources to see readers across them."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from keyturn.access_log.detection.alerts import Alert, Stage
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.grouping import LONGEST, QUIET
from keyturn.access_log.detection.history import History
from keyturn.access_log.detection.policy import MonitorPolicies
from keyturn.core.ports.access import Access
from keyturn.serving.cursors import Mark

QUIET_FOR: Final = timedelta(seconds=QUIET)
GATHERED_FOR: Final = timedelta(seconds=LONGEST)

Tell = Callable[[Sequence[Alert]], None]


class Judge:
    """Judges accesses and passes on the alerts. Thread-safe.

    ``policies`` returns the current policies. A change makes a new detector, which requires a recall of each source.
    ``refresh`` updates the ``history``. ``tell`` is called by one thread at a time.
    """

    def __init__(
        self,
        policies: Callable[[], MonitorPolicies],
        history: History,
        tell: Tell,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._policies = policies
        self._history = history
        self._tell = tell
        self._refresh = refresh
        self._lock = threading.RLock()
        self._current = policies()
        self._detector = self._new()
        self._recalled: dict[str, Detector | None] = {}

    def recall(self, source: str, remembered: Iterable[tuple[int, Sequence[Access]]], mark: Mark) -> list[Alert]:
        """Teach the detector the trail's memory, and return the alerts of what comes after the mark.

        Raises the errors of reading the trail.
        """
        self._refresh()
        detector, alerts = self._begin(source), list[Alert]()
        try:
            for number, accesses in remembered:
                with self._lock:
                    watched = [each for each in accesses if number >= 0 and each.at >= mark.begun]
                    if len(watched) < len(accesses):
                        detector.learn([each for each in accesses if number < 0 or each.at < mark.begun], grouped=False)
                    if number < mark.segment:
                        detector.learn(watched)
                    else:
                        alerts += detector.take_all(watched)
        except BaseException:
            with self._lock:
                # The detector knows only a part, so another one must start again.
                del self._recalled[source]
                self._detector = self._new()
            raise
        with self._lock:
            self._recalled[source] = detector
        return alerts

    def knows(self, source: str) -> bool:
        """Whether the current detector knows this source's accesses."""
        with self._lock:
            return self._recalled.get(source) is self._detector

    def take(self, source: str, accesses: Sequence[Access], begun: datetime) -> bool:
        """Judge a source's accesses and pass on the alerts. Accesses before ``begun`` are only learned.

        Return False where the detector was replaced: the source needs a recall, including these accesses.
        """
        with self._lock:
            if not self.knows(source):
                return False
            self._detector.learn((access for access in accesses if access.at < begun), grouped=False)
            self._give(self._detector.take_all(access for access in accesses if access.at >= begun))
        return True

    def advance(self, now: datetime) -> None:
        """Move the time to ``now``: quiet alerts become complete, and policies are read again."""
        self._refresh()
        with self._lock:
            policies = self._policies()
            if policies is not self._current:
                self._current = policies
                self._detector = self._new()
            if None not in self._recalled.values():
                # During a recall, alerts may be complete that were already sent.
                self._give(self._detector.advance(now))

    def resume(self, alerts: Sequence[Alert], told_at: datetime, now: datetime) -> None:
        """Pass on recalled alerts, and those complete by ``now`` but not by ``told_at``."""
        with self._lock:
            self._give(alerts)
            self._give([alert for alert in self._detector.advance(now) if not was_complete(alert, told_at)])

    def _give(self, alerts: Sequence[Alert]) -> None:
        if alerts:
            self._tell(alerts)

    def _begin(self, source: str) -> Detector:
        with self._lock:
            if self.knows(source):
                # Another process read it meanwhile, and known accesses would count twice.
                self._detector = self._new()
            self._recalled[source] = None
            return self._detector

    def _new(self) -> Detector:
        return Detector(self._current, self._history, live=True)


def was_complete(alert: Alert, at: datetime) -> bool:
    """Whether an alert was complete by then."""
    over = min(alert.last + QUIET_FOR, alert.first + GATHERED_FOR)
    return alert.stage is Stage.COMPLETE and over < at
