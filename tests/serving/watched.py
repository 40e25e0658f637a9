"""A log that is a list, a hub that is a table, and what reads the one over the other until it is killed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.access_log.detection.alerts import Alert
from keyturn.access_log.detection.history import NO_HISTORY
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy
from keyturn.access_log.reactions.ledger import LedgerReaction
from keyturn.access_log.reactions.reactions import Key, key_of
from keyturn.access_log.trail.cursors import HubCursors
from keyturn.access_log.trail.trail import Trail
from keyturn.core.errors import Conflict
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, SourceRecord
from keyturn.core.ports.hub import State
from keyturn.core.ports.ledger import Entry
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.serving.access_reader import AccessReader, Watch
from keyturn.serving.alert_judge import Judge
from keyturn.serving.alerts_sent import TellOnce, ToldMemory
from keyturn.serving.ledger_history import recorded_alerts
from keyturn.serving.numbers.process import Counts
from keyturn.serving.parts import Tenure
from tests.ledger.keys import ORIGIN

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
NIGHT = SamePolicy(MonitorPolicy(alert=0, begin=0, end=1, limit=100_000))
"""Every hour but the first minute of a day is odd."""


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Steps:
    """Counts the moments at which a process may die, and lets it at one."""

    kill_at: int = -1
    number: int = 0
    names: list[str] = field(default_factory=list)

    def pass_by(self, name: str) -> None:
        self.names.append(name)
        self.number += 1
        if self.number - 1 == self.kill_at:
            raise Killed

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, before and after which it may die."""

        def within(*arguments: Any, **more: Any) -> Any:
            self.pass_by(f"before {name}")
            result = call(*arguments, **more)
            self.pass_by(f"after {name}")
            return result

        return within


class TableHub:
    """Keyturn's own state, in memory."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[Mapping[str, Any], int]] = {}

    def read_state(self, path: str) -> State | None:
        data, version = self.states.get(path, ({}, 0))
        return State(dict(data), version, 0.0) if version else None

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        if cas != self.states.get(path, ({}, 0))[1]:
            raise Conflict("write", path, "another write came first")
        self.states[path] = (data, cas + 1)
        return cas + 1


def access(seconds: float, who: str = "app", path: str = "ml/db") -> Access:
    """One read, so many seconds after :data:`NOW`."""
    return Access(NOW + timedelta(seconds=seconds), "hub", path, 1, who, "10.0.0.1")


@dataclass
class ListSource:
    """A log of accesses that are there already; its cursor is how many were read."""

    accesses: Sequence[Access]
    at_once: int = 2
    name: str = "hub"
    pace: float = 0.0
    closed: int = 0

    def read(self, cursor: str | None, limit: int) -> Batch:
        first = int(cursor or 0)
        last = min(len(self.accesses), first + min(limit, self.at_once))
        lines = [b"line %d" % number for number in range(first, last)]
        records = [
            SourceRecord(self.accesses[number], hashlib.sha256(b"line %d" % number).digest(), f"log:{number}")
            for number in range(first, last)
        ]
        digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).digest()
        place = (f"log:{first}", f"log:{last - 1}") if lines else ("", "")
        return Batch(str(last), records, len(lines), *place, digest, more=last < len(self.accesses))

    def close(self) -> None:
        self.closed += 1


@dataclass
class Siren:
    """A reaction that notes what it tells."""

    name: str = "siren"
    burst: int = 1
    pace: float = 0.0
    patience: float = 30.0
    pause: float = 1.0
    told: list[Key] = field(default_factory=list)

    def react(self, alerts: Sequence[Alert]) -> None:
        self.told += map(key_of, alerts)


@dataclass
class Site:
    """One host and its hub, over which processes come and go."""

    directory: Path
    hub: Any = field(default_factory=TableHub)
    siren: Siren = field(default_factory=Siren)
    lines: list[str] = field(default_factory=list)
    now: datetime = NOW

    @property
    def trail_directory(self) -> Path:
        return self.directory / "trail"

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.directory / "ledger.db", ORIGIN, patience=5)

    def process(self, source: ListSource, steps: Steps | None = None) -> "Process":
        return Process(self, source, steps or Steps())

    def recorded(self) -> list[Key]:
        """The alerts that the ledger records."""
        ledger = self.ledger()
        try:
            return list(recorded_alerts(ledger))
        finally:
            ledger.close()


class Process:
    """One process that reads the log; what it has in memory is lost with it."""

    def __init__(self, site: Site, source: ListSource, steps: Steps) -> None:
        self.site, self.source, self.steps = site, source, steps
        self.ledger, self.hub, self.counts = site.ledger(), TableHub(), Counts()
        self.hub.states = site.hub.states
        self.hub.write_state = steps.around("the hub", self.hub.write_state)  # type: ignore[method-assign]
        append = steps.around("the ledger", self.ledger.append)
        self.trail = Trail(site.trail_directory, self.ledger, HubCursors(self.hub), lambda: "tests", self.clock)  # type: ignore[arg-type]
        self.ledger.append = append  # type: ignore[method-assign]
        self.trail.append = steps.around("the trail", self.trail.append)  # type: ignore[method-assign]
        memory = ToldMemory(self.hub)  # type: ignore[arg-type]
        record = TellOnce(
            LedgerReaction(self.ledger, lambda: "tests", self.clock), memory, lambda: recorded_alerts(self.ledger)
        )
        site.siren.react = steps.around("the siren", Siren.react.__get__(site.siren))  # type: ignore[method-assign]
        self.reactions = [record, TellOnce(site.siren, memory)]
        self.judge = Judge(lambda: NIGHT, NO_HISTORY, self.tell)
        self.reader = AccessReader(source.name, lambda: source, self.watch())
        self.tenure = Tenure(self.reader.name, 1, lambda: 0.0, lambda: None)

    def watch(self) -> Watch:
        say = self.site.lines.append
        return Watch(self.trail, self.hub, self.judge, lambda: True, self.clock, self.counts, say)  # type: ignore[arg-type]

    def clock(self) -> datetime:
        return self.site.now

    def tell(self, alerts: Sequence[Alert]) -> None:
        """What reactions do in threads of their own, one after the other."""
        for reaction in self.reactions:
            reaction.react(alerts)

    def run(self) -> None:
        """Read to the log's end, as far as it comes; then let go of the part, which seals what was taken."""
        wait = self.tenure.wait

        def at_the_end(seconds: float) -> bool:
            self.tenure.ended.set()
            return wait(seconds)

        self.tenure.wait = at_the_end  # type: ignore[method-assign]
        try:
            self.reader.run(self.tenure)
        finally:
            self.ledger.close()

    def run_until_killed(self) -> None:
        """The same, where it may die of its steps."""
        try:
            self.run()
        except Killed:
            return


def entries_of(ledger: SqliteLedger) -> Sequence[Entry]:
    """All of it."""
    from keyturn.ledger.entries import parse_leaf

    return [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
