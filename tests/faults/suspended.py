"""A worker suspended in the middle of a rotation, newer runs that do without it, and what it does on waking up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Conflict, KeyturnError, Locked, Superseded, Unavailable
from keyturn.core.ports.hub import ROTATED_AT, TOKEN
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.crash.kinds.base import Kind
from tests.crash.site import AT_ONCE, Lane, Site
from tests.support.application import Application
from tests.support.hooks import eventually
from tests.support.lab import Declared
from tests.support.places import single

STATED: Final = (Superseded, Locked, Conflict, Unavailable)
"""How a worker that comes too late may fail; whoever sleeps past a deadline finds its connection given up."""

AT_EASE: Final = ("usable", "PostgreSQL._acting", "PostgreSQL.sessions", "PostgreSQL._missing_privileges")
"""The statements that change nothing, and hold no lock."""


RETIRED_WITHIN: Final = 60.0
"""Seconds for the application to let go of the old credential; on a busy machine one look takes seconds."""

BEFORE: Final = timedelta(minutes=1)
"""How far the newer runs' clocks are behind that of the suspended worker: no clock may decide who is right."""


@dataclass(frozen=True)
class Case:
    """One place to be suspended at, and how many further rotations are forced meanwhile."""

    number: int
    place: str
    further: int

    @property
    def locking(self) -> bool:
        """Whether it holds an account's lock there: newer runs wait until the server ends its session."""
        return self.place.endswith("SQL execute") and not any(f"> {one}:" in self.place for one in AT_EASE)


@dataclass(frozen=True)
class Result:
    """How the late worker ended, and what was wrong afterwards; nothing when ``problems`` is empty."""

    case: Case
    ended: str
    problems: tuple[str, ...]


class Calm(Application):
    """One that leaves the machine to the workers: their rotations take seconds here."""

    pause = 0.05


class Suspensions:
    """One kind of secret, prepared."""

    def __init__(self, site: Site, kind: Kind) -> None:
        self.site = site
        self.kind = kind
        kind.prepare(site)
        self.lanes = site.lanes(kind.modules)

    def cases(self) -> list[Case]:
        """Every place, told by a rotation that nobody suspends; one further rotation and two take turns.

        The very first one makes something that later ones find, such as the ledger's name, so the second one tells.
        """
        lane = self.lanes[0]
        for watched in (False, True):
            ended = lane.zygote.run(lane.job(self._ready(lane), watched=watched))
            assert (ended.signal, ended.state, ended.error) == (0, RunState.ROTATED, ""), ended
        return [Case(number, place, 1 + number // 3 % 2) for number, place in enumerate(ended.boundaries)]

    def run(self, cases: list[Case]) -> list[Result]:
        """Every case, side by side."""
        shares = [(lane, cases[start::AT_ONCE]) for start, lane in enumerate(self.lanes)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda share: [self._case(share[0], case) for case in share[1]], shares)
            return [result for results in found for result in results]

    def _ready(self, lane: Lane) -> Declared:
        """A fresh secret whose copies are in step."""
        secret = self.kind.make(self.site)
        assert all(copy.in_step for copy in sync_destinations(lane.workspace(secret), secret.path))
        return secret

    def _case(self, lane: Lane, case: Case) -> Result:
        secret = self._ready(lane)
        workspace = replace(lane.workspace(secret), patience=0.0, clock=lambda: self.site.now - BEFORE)
        with Calm(self.site.lab.hub, secret.path, lambda fields: self.kind.works(self.site, fields)) as client:
            late = lane.zygote.suspend(replace(lane.job(secret), stop_at=case.number))
            if late is None:
                return Result(case, "", ("it was not suspended",))
            found = list(self._overtaken(workspace, secret, case.further))
            newest = version(workspace, secret)
            ended = lane.zygote.resume(late)
            found += said(ended.error)
            found += [] if version(workspace, secret) == newest else [f"CURRENT moved on from version {newest}"]
            found += self._intact(workspace, secret)
            if not eventually(lambda: not retire(workspace, secret.path).held_by, RETIRED_WITHIN):
                found.append(f"the old credential is held by {retire(workspace, secret.path).held_by}")
        found += self._left(workspace, secret)
        if not self.kind.gap:
            found += [f"a login with version {refused} was refused" for refused in client.failures]
        found += [f"the application failed: {client.error!r}"] if client.error else []
        found += [] if client.logins else ["the application never got in"]
        return Result(case, ended.error or ended.state, tuple(found))

    def _overtaken(self, workspace: Workspace, secret: Declared, further: int) -> Iterator[str]:
        """What was wrong while newer runs did without the suspended worker."""
        for trigger in [Trigger.SCHEDULE, *[Trigger.FORCE] * further]:
            try:
                outcome = rotate(workspace, secret.path, trigger, end_previous=trigger is Trigger.FORCE)
            except KeyturnError as error:
                yield f"a newer run failed: {type(error).__name__}: {error}"
                return
            expected = {RunState.ROTATED}
            if trigger is Trigger.SCHEDULE:
                expected |= {RunState.SETTLED, RunState.NOT_DUE}
            if outcome.state not in expected or unsettled(outcome):
                yield f"a newer run said {outcome}"

    def _intact(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        """What the late worker has spoilt."""
        record, current = load_record(workspace, secret.path), workspace.hub.read(secret.path)
        told = workspace.hub.describe(secret.path)
        assert current is not None
        assert told is not None
        if not self.kind.works(self.site, current.fields):
            yield "CURRENT does not work"
        promoted = [one for one in (*record.history, record.rotation) if one and one.version is not None]
        if not promoted or promoted[-1].version != current.version or record.open:
            yield f"the record is {record}"
        elif told.custom.get(TOKEN) != promoted[-1].token:
            yield "the secret's metadata names an older rotation"
        if told.marked(ROTATED_AT) != datetime.fromisoformat(current.fields["rotated_at"].reveal()):
            yield "the secret's metadata tells the age of an older version"
        for place in single(workspace.secret(secret.path).destinations):
            copy = workspace.open_store(place.store).describe(place.name)
            if not (copy and copy.intact and copy.marks and copy.marks.version == current.version):
                yield f"the store holds {copy}"

    def _left(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        """What is not as a finished rotation leaves it."""
        record, current = load_record(workspace, secret.path), workspace.hub.read(secret.path)
        assert current is not None
        if record.rotation or record.candidate or {past.stage for past in record.history} != {Stage.RETIRED}:
            yield f"the record is {record}"
        sequences = [past.sequence for past in record.history]
        if sequences != sorted(set(sequences)):
            yield f"the rotations' numbers are {sequences}"
        yield from self.kind.left(self.site, secret, SecretFields(current.fields))


def said(error: str) -> Iterator[str]:
    """What is wrong with how the late worker ended."""
    if error and error.partition(":")[0] not in {kind.__name__ for kind in STATED}:
        yield f"it ended in {error}"


def version(workspace: Workspace, secret: Declared) -> int:
    """The version that consumers read."""
    told = workspace.hub.describe(secret.path)
    return told.version if told else 0
