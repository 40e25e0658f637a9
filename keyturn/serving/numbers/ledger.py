"""The metrics of the ledger, counted from its first entry: the same in every process, and after every restart.

Workers start and end with their runs, so they can't count across runs.
"""

import re
from bisect import bisect_left
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from keyturn.client.metrics import Distribution, Distributions, Samples
from keyturn.core.error_codes import code_of_kind
from keyturn.core.notifications.alerts import ALERT, alert_of
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.recovery.drill_notes import RESTORE_DRILL, DrillNote, parse_note
from keyturn.serving.numbers.board import Numbers

STEPS: Final = ("decide", "stage", "install", "verify", "promote")
"""The steps of a rotation that may fail before its candidate is in force."""
ENDS: Final = {"promote": "promoted", "retire": "retired", "abandon": "abandoned", "revert": "reverted"}
"""The result of a rotation, by the action that ended it."""
CLOSED: Final = {"close incident": "closed", "give up incident": "given up"}
OPENED: Final = "open incident"
COUNTED: Final = (*STEPS, *ENDS, *CLOSED, OPENED, "rotate", "push", "cut", "drill", RESTORE_DRILL, ALERT)
NEEDLE: Final = re.compile(
    rb'"action":"(?:%b)"|"outcome":"(?:failed|denied)"' % "|".join(map(re.escape, COUNTED)).encode()
)

UNDER_WAY: Final = 50_000
"""Maximum number of rotations, and of incidents, remembered until their end."""

MOST_STORES: Final = 200
"""Maximum number of stores with separate counts."""
OTHERS: Final = "(others)"

SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 86_400.0)
"""The bounds of every distribution, in seconds."""


class Durations:
    """A histogram of durations."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Add a duration; a negative one counts as 0."""
        self._counts[bisect_left(self._bounds, max(0.0, seconds))] += 1
        self._sum += max(0.0, seconds)

    def now(self) -> Distribution:
        """Return the distribution so far."""
        sums = [sum(self._counts[: at + 1]) for at in range(len(self._bounds))]
        return Distribution(self._bounds, tuple(sums), sum(self._counts), self._sum)


class _Moments(OrderedDict[str, datetime]):
    """The start times of what is under way, by name; drops the oldest."""

    def begin(self, name: str, at: datetime) -> None:
        self.setdefault(name, at)
        while len(self) > UNDER_WAY:
            self.popitem(last=False)


class LedgerTally:
    """Reads the new entries of a ledger, and counts. Used by one thread at a time."""

    def __init__(self) -> None:
        self._last = 0
        self._rotations = Counter[str](dict.fromkeys((*ENDS.values(), "failed"), 0))
        self._pushes = Counter[str](done=0, failed=0)
        self._push_failures = Counter[tuple[str, str]]()
        self._stores: set[str] = set()
        self._failures = Counter[str]()
        self._alerts = Counter[str]()
        self._incidents = Counter[tuple[str, str]]()
        self._drills = Counter[str](done=0, failed=0)
        self._rotating, self._open, self._drilling = _Moments(), _Moments(), _Moments()
        self._rotation_seconds = Durations()
        self._revoke_seconds: dict[str, Durations] = defaultdict(Durations)
        self._close_seconds: dict[str, Durations] = defaultdict(Durations)
        self._drill: tuple[datetime, float, bool] | None = None
        self._restore_drills = Counter[str](done=0, failed=0)
        self._restore_drill: tuple[datetime, DrillNote | None] | None = None

    def read_on(self, ledger: StoredLedger) -> Numbers:
        """Read the new entries, and return all counts. Raises Unavailable, and Invalid for foreign entries."""
        for number, leaf in ledger.leaves(self._last + 1):
            if NEEDLE.search(leaf):
                self.add(parse_leaf(leaf).entry)
            self._last = number
        return self.numbers()

    def add(self, entry: Entry) -> None:
        """Count one entry, in the ledger's order."""
        if entry.outcome in (Outcome.FAILED, Outcome.DENIED):
            self._failures[_code(entry)] += 1
        if count := self._counting.get(entry.action):
            count(self, entry)

    def _rotate(self, entry: Entry) -> None:
        if entry.outcome is Outcome.BEGUN:
            self._rotating.begin(entry.secret, entry.time)
        elif entry.outcome is Outcome.DONE:
            self._rotating.pop(entry.secret, None)

    def _step(self, entry: Entry) -> None:
        if entry.outcome in (Outcome.FAILED, Outcome.DENIED):
            self._rotations["failed"] += 1
        elif entry.action == "stage":
            self._rotating.begin(entry.secret, entry.time)
        if entry.action in ENDS:
            self._end(entry)

    def _end(self, entry: Entry) -> None:
        if entry.outcome is not Outcome.DONE:
            return
        self._rotations[ENDS[entry.action]] += 1
        began = self._rotating.pop(entry.secret, None)
        if began and entry.action == "promote":
            self._rotation_seconds.add((entry.time - began).total_seconds())

    def _push(self, entry: Entry) -> None:
        if entry.outcome is Outcome.BEGUN:
            return
        done = entry.outcome is Outcome.DONE
        self._pushes["done" if done else "failed"] += 1
        if not done:
            self._push_failures[self._store(entry.place.partition(":")[0] or "none"), _code(entry)] += 1

    def _store(self, name: str) -> str:
        """Return the store's name, or the name for all others beyond the maximum."""
        if len(self._stores) < MOST_STORES:
            self._stores.add(name)
        return name if name in self._stores else OTHERS

    def _alert(self, entry: Entry) -> None:
        if alert := alert_of(entry):
            self._alerts[alert.level] += alert.stage == "begun"

    def _opened(self, entry: Entry) -> None:
        if entry.outcome is Outcome.DONE:
            name = _incident(entry)
            self._incidents[_kind(name), "opened"] += name not in self._open
            self._open.begin(name, entry.time)

    def _closed(self, entry: Entry) -> None:
        if entry.outcome is not Outcome.DONE:
            return
        name = _incident(entry)
        self._incidents[_kind(name), CLOSED[entry.action]] += 1
        if (began := self._open.pop(name, None)) and entry.action == "close incident":
            self._close_seconds[_kind(name)].add((entry.time - began).total_seconds())

    def _cut(self, entry: Entry) -> None:
        name = _incident(entry)
        if entry.outcome is Outcome.DONE and (began := self._open.get(name)):
            self._revoke_seconds[_kind(name)].add((entry.time - began).total_seconds())

    def _drilled(self, entry: Entry) -> None:
        if entry.outcome is Outcome.BEGUN:
            return self._drilling.begin(entry.secret, entry.time)
        proven = entry.outcome is Outcome.DONE and "NOT proven" not in entry.note
        began = self._drilling.pop(entry.secret, entry.time)
        self._drills["done" if proven else "failed"] += 1
        self._drill = (entry.time, (entry.time - began).total_seconds(), proven)
        return None

    def _restore_drilled(self, entry: Entry) -> None:
        if entry.outcome is Outcome.BEGUN:
            return
        note = parse_note(entry.note) if entry.outcome is Outcome.DONE else None
        self._restore_drills["done" if note and note.proven else "failed"] += 1
        self._restore_drill = (entry.time, note)

    _counting: Final[dict[str, Callable[["LedgerTally", Entry], None]]] = {
        "rotate": _rotate,
        **dict.fromkeys(STEPS, _step),
        **dict.fromkeys((action for action in ENDS if action not in STEPS), _end),
        "push": _push,
        ALERT: _alert,
        OPENED: _opened,
        **dict.fromkeys(CLOSED, _closed),
        "cut": _cut,
        "drill": _drilled,
        RESTORE_DRILL: _restore_drilled,
    }

    def numbers(self) -> Numbers:
        """Return all counts."""
        samples: dict[str, Samples] = {
            "rotations": _by_one(self._rotations),
            "pushes": _by_one(self._pushes),
            "push_failures": {labels: float(count) for labels, count in self._push_failures.items()},
            "failures": _by_one(self._failures),
            "alerts": _by_one(self._alerts),
            "drills": _by_one(self._drills),
            "restore_drills": _by_one(self._restore_drills),
            "incidents": {labels: float(count) for labels, count in self._incidents.items()},
            "ledger_entries": {(): self._last},
        }
        if self._drill:
            at, seconds, proven = self._drill
            samples["drill_last_time_seconds"] = {(): at.timestamp()}
            samples["drill_last_duration_seconds"] = {(): seconds}
            samples["drill_last_proven"] = {(): float(proven)}
        samples |= self._of_restoring()
        distributions: dict[str, Distributions] = {
            "rotation_duration_seconds": {(): self._rotation_seconds.now()},
            "incident_revoke_seconds": {(kind,): spread.now() for kind, spread in self._revoke_seconds.items()},
            "incident_close_seconds": {(kind,): spread.now() for kind, spread in self._close_seconds.items()},
        }
        return Numbers(samples, distributions)

    def _of_restoring(self) -> dict[str, Samples]:
        """Return the metrics of the last restore drill; a failed drill has only a time."""
        if self._restore_drill is None:
            return {}
        at, note = self._restore_drill
        samples: dict[str, Samples] = {
            "restore_drill_last_time_seconds": {(): at.timestamp()},
            "restore_drill_last_proven": {(): float(bool(note and note.proven))},
        }
        if note:
            samples["restore_drill_last_recovery_seconds"] = {(): note.seconds}
            samples["restore_drill_last_point_age_seconds"] = {(): note.age.total_seconds()}
            samples["restore_drill_last_entries"] = {(): float(note.entries)}
        return samples


def _by_one(counts: Counter[str]) -> Samples:
    return {(label,): float(count) for label, count in counts.items()}


def _code(entry: Entry) -> str:
    """Return the error code at the start of an entry's note."""
    return code_of_kind(entry.note.partition(":")[0]) or "none"


def _incident(entry: Entry) -> str:
    """Return the incident at the start of a note."""
    return re.split(r"[:;,\s]", entry.note, maxsplit=1)[0]


def _kind(incident: str) -> str:
    return "drill" if incident.startswith("DRILL-") else "incident"
