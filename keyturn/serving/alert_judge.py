"""The detector of one process, which all sources read here share: so it sees who reads at several of them."""

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
    """Judges what sources tell, and has it told. Serves many threads.

    ``policies`` gives those of now: others make a new detector, to which each source has to be recalled. ``refresh``
    brings the ``history`` up to date. ``tell`` is called by one thread at a time.
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
        """Let the detector know what the trail remembers; the alerts of what lies behind the mark.

        Raises what reading the trail raises.
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
                # Half of it is known: another detector has to begin anew.
                del self._recalled[source]
                self._detector = self._new()
            raise
        with self._lock:
            self._recalled[source] = detector
        return alerts

    def knows(self, source: str) -> bool:
        """Whether the detector of now knows what the source has told."""
        with self._lock:
            return self._recalled.get(source) is self._detector

    def take(self, source: str, accesses: Sequence[Access], begun: datetime) -> bool:
        """Judge what a source has told, and have it told; what happened before ``begun`` is learned alone.

        False where the source has to be recalled first, this included: the detector is another one by now.
        """
        with self._lock:
            if not self.knows(source):
                return False
            self._detector.learn((access for access in accesses if access.at < begun), grouped=False)
            self._give(self._detector.take_all(access for access in accesses if access.at >= begun))
        return True

    def advance(self, now: datetime) -> None:
        """That it is ``now``: alerts that were quiet for long are complete, and what is asked is asked anew."""
        self._refresh()
        with self._lock:
            policies = self._policies()
            if policies is not self._current:
                self._current = policies
                self._detector = self._new()
            if None not in self._recalled.values():
                # What is recalled may be complete for long, and was told then.
                self._give(self._detector.advance(now))

    def resume(self, alerts: Sequence[Alert], told_at: datetime, now: datetime) -> None:
        """Have those told that a recollection gave, and what is complete by ``now``, unless it was by ``told_at``."""
        with self._lock:
            self._give(alerts)
            self._give([alert for alert in self._detector.advance(now) if not was_complete(alert, told_at)])

    def _give(self, alerts: Sequence[Alert]) -> None:
        if alerts:
            self._tell(alerts)

    def _begin(self, source: str) -> Detector:
        with self._lock:
            if self.knows(source):
                # It was read here before, and elsewhere since: what is known of it would be counted twice.
                self._detector = self._new()
            self._recalled[source] = None
            return self._detector

    def _new(self) -> Detector:
        return Detector(self._current, self._history, live=True)


def was_complete(alert: Alert, at: datetime) -> bool:
    """Whether an alert was complete by then."""
    over = min(alert.last + QUIET_FOR, alert.first + GATHERED_FOR)
    return alert.stage is Stage.COMPLETE and over < at
