"""The ledger's facts of a period, read once up to the newest checkpoint, so that every row can be proven.

Entries come in the order of their numbers, each with its writer's time. Entries outside the period are recognised by
their bytes and not parsed, except for promotions: the last one before the period counts.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from keyturn.core.errors import Invalid, NotFound, Rewritten
from keyturn.core.ports.hub import Hub
from keyturn.evidence.facts import IN_FORCE, LedgerExtract, LedgerMark, Period
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint
from keyturn.ledger.naming import SIGNING_KEY, read_name
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.signed_notes import PublicKey, Verify
from keyturn.ledger.verify import verify_ledger
from keyturn.recovery.drill_notes import RESTORE_DRILL
from keyturn.rotation.state.journal import UNNAMED

LOOKED_AT: Final = frozenset(
    {
        *IN_FORCE,
        "retire",
        "cut",
        "open incident",
        "close incident",
        "give up incident",
        "reveal",
        "break glass",
        "review",
        "approve",
        "approved",
        "approve access",
        "review access",
        "over limit",
        "override policy",
        "alert",
        "check login",
        "rotate",
        "turn webhook key",
        "turn secret id",
        "ledger key",
        "move ledger",
        "compliance report",
        RESTORE_DRILL,
        "drill",
        "rehearse",
    }
)
"""The actions whose entries checks read one by one."""

SEGMENT: Final = "access-segment"
"""The action of the entries that seal the access trail."""

TIME_AT: Final = b'"time":"'
STAMP: Final = 27
"""The length of a time in an entry, in characters: 2026-11-28T08:40:20.123456Z."""

NEEDLES: Final = tuple(f'"action":"{action}"'.encode() for action in IN_FORCE)


INCIDENTS: Final = ("open incident", "close incident", "give up incident")
"""The actions whose entries name an incident and no secret."""


class _Line(msgspec.Struct):
    seq: int
    time: str
    actor: str
    action: str
    outcome: str
    secret: str = ""
    version: int = 0
    place: str = ""
    note: str = ""
    host: str = ""


def extract_ledger(
    ledger: StoredLedger, hub: Hub, verify: Verify, period: Period, secrets: Collection[str] | None
) -> LedgerExtract:
    """Verify the ledger, and return the period's facts for these ``secrets``, or for all.

    Raises NotFound without a checkpoint, Unavailable, and the hub's error where the key can't be read.
    """
    note = ledger.newest()
    if not note:
        hint = "Make one: keyturn ledger checkpoint"
        raise NotFound("read", "the ledger", "no checkpoint is made over it, so nothing of it can be proven", hint)
    newest = read_checkpoint(note)
    report = verify_ledger(ledger, ledger_keys(hub, ledger.origin), verify)
    problems = [problem.what for problem in report.problems]
    if not problems and report.newest is None:
        problems.append("no checkpoint of it holds")
    tally = _Tally(period, secrets)
    try:
        for _, leaf in ledger.leaves(1, newest.size):
            tally.add(leaf)
    except (msgspec.MsgspecError, Rewritten) as error:
        problems.append(f"an entry after {tally.last_read} can't be read ({type(error).__name__})")
    return tally.extract(ledger.origin, newest, max(0, ledger.size() - newest.size), tuple(problems))


def ledger_keys(hub: Hub, origin: str) -> list[PublicKey]:
    """Return the ledger's keys from the hub. Raises Invalid for another ledger, NotFound, Denied."""
    name, _ = read_name(hub)
    if name and (keys := name.keys_of(origin)):
        return list(keys)
    if name and name.origin != origin:
        hint = "Set KEYTURN_LEDGER and KEYTURN_LEDGER_NAME as the hub's workers have them"
        raise Invalid("read", origin, f"the hub names another ledger: {name.origin}", hint)
    return [PublicKey(origin, key) for key in hub.signer(SIGNING_KEY).public_keys()]


def stamp_of(moment: datetime) -> bytes:
    """Return a time in the notation of entries, so that both compare as bytes."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z".encode()


class _Tally:
    def __init__(self, period: Period, secrets: Collection[str] | None) -> None:
        self.last_read = 0
        self._since, self._until = stamp_of(period.since), stamp_of(period.until)
        self._secrets = secrets
        self._began = ""
        self._numbers: list[int] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._entries = 0
        self._unnamed = 0
        self._incomplete = 0
        self._marks: list[LedgerMark] = []
        self._before: dict[str, LedgerMark] = {}
        self._pushes: dict[tuple[str, str], LedgerMark] = {}
        self._segments: dict[str, tuple[LedgerMark, LedgerMark]] = {}

    def add(self, leaf: bytes) -> None:
        """Add one entry. Raises MsgspecError where it is not one."""
        self.last_read += 1
        at = leaf.find(TIME_AT) + len(TIME_AT)
        time = leaf[at : at + STAMP]
        if not self._began:
            self._began = time.decode(errors="replace")
        if self._since <= time < self._until:
            self._add_of_period(msgspec.json.decode(leaf, type=_Line))
        elif time < self._since and any(needle in leaf for needle in NEEDLES):
            line = msgspec.json.decode(leaf, type=_Line)
            if self._is_wanted(line) and line.outcome == "done":
                self._before[line.secret] = _mark(line)

    def _add_of_period(self, line: _Line) -> None:
        self._entries += 1
        self._unnamed += line.actor == UNNAMED
        self._incomplete += not (line.actor and line.action and line.outcome and line.host)
        if not self._is_wanted(line):
            return
        self._numbers = [self._numbers[0] if self._numbers else line.seq, line.seq]
        self._counts[line.action, line.outcome] += 1
        if line.action == "push" and line.outcome == "done":
            self._pushes[line.secret, line.place] = _mark(line)
        if line.action in LOOKED_AT and line.outcome != "begun":
            self._marks.append(_mark(line))
        if line.action == SEGMENT and line.outcome == "done":
            # Keep only the first and the last segment of a log, because there may be very many.
            first = self._segments.get(line.place, (_mark(line),))[0]
            self._segments[line.place] = (first, _mark(line))

    def _is_wanted(self, line: _Line) -> bool:
        if self._secrets is None or line.secret in self._secrets:
            return True
        return not line.secret and line.action in (SEGMENT, *INCIDENTS)

    def _own_marks(self) -> list[LedgerMark]:
        """Return the marks; for one owner, only incidents that touched their secrets."""
        if self._secrets is None:
            return self._marks
        touched = {incident_of(mark) for mark in self._marks if mark.action == "cut"}
        return [mark for mark in self._marks if mark.action not in INCIDENTS or incident_of(mark) in touched]

    def extract(self, name: str, newest: Checkpoint, later: int, problems: tuple[str, ...]) -> LedgerExtract:
        outer = {mark.sequence: mark for marks in self._segments.values() for mark in marks}
        marks = sorted([*self._own_marks(), *outer.values()], key=lambda mark: mark.sequence)
        first, last = (self._numbers[0], self._numbers[1]) if self._numbers else (0, 0)
        return LedgerExtract(
            name=name,
            checkpoint=newest.note,
            size=newest.size,
            later=later,
            entries=self._entries,
            first=first,
            last=last,
            began_at=_moment(self._began),
            signed_at=newest.time,
            counts=dict(sorted(self._counts.items())),
            unnamed=self._unnamed,
            incomplete=self._incomplete,
            marks=tuple(marks),
            before=dict(sorted(self._before.items())),
            pushes=dict(sorted(self._pushes.items())),
            problems=problems,
        )


def _mark(line: _Line) -> LedgerMark:
    return LedgerMark(
        line.seq,
        datetime.fromisoformat(line.time),
        line.action,
        line.outcome,
        line.secret,
        line.version,
        line.place,
        line.note,
        line.actor,
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def incident_of(mark: LedgerMark) -> str:
    return mark.note.partition(":")[0].partition(";")[0].strip()


def promotions(ledger: LedgerExtract, secret: str) -> Iterator[LedgerMark]:
    """Yield the promotions of a secret: the last one before the period, and all within it."""
    if before := ledger.before.get(secret):
        yield before
    yield from ledger.in_force.get(secret, ())


def newest_promotions(ledger: LedgerExtract, secrets: Iterable[str]) -> list[int]:
    """Return the number of the entry that put each secret's newest version of the period in force."""
    return [mark.sequence for secret in secrets for mark in list(promotions(ledger, secret))[-1:]]
