"""Alerts as a detector makes them, and reactions whose behaviour a test says."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.access_log.detection.alerts import Alert, Evidence, FactorCount, Level, Stage

NIGHT = datetime(2026, 3, 4, 23, tzinfo=UTC)
BEGUN = Alert(
    "a1",
    Stage.BEGUN,
    Level.HIGH,
    1200,
    "hub",
    "approle trainer",
    NIGHT,
    NIGHT,
    1,
    (FactorCount("new-address", 400, "nothing was read from 203.0.113.9 in the window", 1),),
    (Evidence(NIGHT, "ml/key", "203.0.113.9", "read", 3, "curl/8", False, 1200, ("new-address",)),),
)


def alert(name: str = "a1", stage: Stage = Stage.BEGUN, **more: Any) -> Alert:
    return replace(BEGUN, id=name, stage=stage, **more)


def complete(name: str = "a1", count: int = 4) -> Alert:
    return alert(name, Stage.COMPLETE, count=count, last=NIGHT + timedelta(minutes=5))


@dataclass
class Recorder:
    """A reaction that notes what it is given, and fails as a test has it fail."""

    name: str = "recorder"
    burst: int = 1
    pace: float = 0.0
    patience: float = 30.0
    pause: float = 0.02
    before: Callable[[Sequence[Alert]], None] = lambda alerts: None
    calls: list[list[str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def react(self, alerts: Sequence[Alert]) -> None:
        self.before(alerts)
        with self.lock:
            self.calls.append([alert.id for alert in alerts])

    @property
    def given(self) -> list[str]:
        return [name for call in self.calls for name in call]
