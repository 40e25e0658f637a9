"""Running the cases: one rotation each, stopped at one point, and what is wrong after the next run."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from keyturn.core.errors import KeyturnError
from keyturn.core.rotation_record import Record, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.candidates import CANDIDATES
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.repair.record_upkeep import remove_leftovers_of
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.crash.kinds import Kind
from tests.crash.site import AT_ONCE, Lane, Site
from tests.support.application import Application
from tests.support.crash_child import Ended
from tests.support.hooks import eventually
from tests.support.lab import Declared, load_whole
from tests.support.places import single

KILLED = "killed"
LOST = "answer lost"
REPEATED = "sent twice"

PROMOTED = 2
"""The version that a rotation puts in force, since each secret has one before."""


@dataclass(frozen=True)
class Case:
    """One place to stop at, in one of the ways; or one request that is sent twice."""

    how: str
    number: int
    place: str


@dataclass(frozen=True)
class Result:
    """What was wrong afterwards; nothing when ``problems`` is empty."""

    case: Case
    problems: tuple[str, ...]


class Client(Application):
    """One that leaves most of the machine to the rotations."""

    pause = 0.02


class Row:
    """One kind of secret, prepared; a row of the matrix."""

    def __init__(self, site: Site, kind: Kind) -> None:
        self.site = site
        self.kind = kind
        kind.prepare(site)
        self.lanes = site.lanes(kind.modules)

    def cases(self) -> list[Case]:
        """Every place at which a rotation can be stopped, told by one that nobody stops. Raises AssertionError.

        The very first one at a target may make something there that all later ones find, so the second one tells.
        """
        self._unstopped(watched=False)
        boundaries, exchanges = self._unstopped()
        killed = [Case(KILLED, number, place) for number, place in enumerate(boundaries)]
        return killed + [Case(LOST, number, place) for number, place in enumerate(exchanges)]

    def _unstopped(self, *, watched: bool = True) -> tuple[list[str], list[str]]:
        """The boundaries of a rotation that nothing happens to, and its answers. Raises AssertionError."""
        lane, secret = self.lanes[0], self._ready(self.lanes[0])
        lane.faults.begin()
        ended = lane.zygote.run(lane.job(secret, watched=watched))
        exchanges = lane.faults.end()
        assert (ended.signal, ended.state, ended.error) == (0, RunState.ROTATED, ""), ended
        left = list(lane.workspace(secret).hub.list_state(f"{CANDIDATES}/{secret.path}"))
        problems = [*left, *self._problems(lane.workspace(secret), secret)]
        assert not problems, problems
        return ended.boundaries, exchanges

    def run(self, cases: Sequence[Case], told: Callable[[Result], None]) -> None:
        """Every case, side by side if the kind allows it; ``told`` hears of each when it is over."""
        lanes = self.lanes[:1] if self.kind.alone else self.lanes

        def run_share(lane: Lane, share: Sequence[Case]) -> None:
            for case in share:
                told(self._case(lane, case))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(run_share, lanes, (cases[start :: len(lanes)] for start in range(len(lanes)))))

    def _case(self, lane: Lane, case: Case) -> Result:
        secret = self._ready(lane)
        with Client(self.site.lab.hub, secret.path, lambda fields: self.kind.works(self.site, fields)) as client:
            found = list(self._stopped(lane, secret, case))
            workspace = lane.workspace(secret)
            found += self._finished(workspace, secret)
        found += self._problems(workspace, secret)
        if not self.kind.gap:
            found += [f"a login with version {version} was refused" for version in client.failures]
        found += [] if client.logins else ["the application never got in"]
        found += [f"the application failed: {type(client.error).__name__}"] if client.error else []
        return Result(case, tuple(found))

    def _ready(self, lane: Lane) -> Declared:
        """A fresh secret whose copies are in step."""
        secret = self.kind.make(self.site)
        if self.kind.copies:
            assert all(copy.in_step for copy in sync_destinations(lane.workspace(secret), secret.path))
        return secret

    def _stopped(self, lane: Lane, secret: Declared, case: Case) -> Iterator[str]:
        if case.how == KILLED:
            died = lane.zygote.run(lane.job(secret, case.number))
            if died.signal != signal.SIGKILL:
                yield f"it was not killed: {died.error or died.state}"
            return
        lane.faults.begin(**{"again" if case.how == REPEATED else "lose": case.number})
        ended: Ended = lane.zygote.run(lane.job(secret, watched=False))
        lost = lane.faults.lost
        lane.faults.end()
        if not lost:
            yield "no answer was taken away"
        if ended.signal or ended.error.startswith("Traceback"):
            yield f"it did not end in a stated outcome: {ended.error}"

    def _finished(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        """Run again, in another process on the same host, and retire."""
        between = load_whole(workspace, secret.path)
        try:
            outcome = rotate(workspace, secret.path)
            if outcome.state is RunState.HELD or unsettled(outcome):
                yield f"the next run said {outcome}"
            if not eventually(lambda: not retire(workspace, secret.path).held_by):
                yield f"the old credential is held by {retire(workspace, secret.path).held_by}"
        except KeyturnError as error:
            yield f"the next run failed: {type(error).__name__}: {error}"
        promoted = workspace.hub.read(secret.path, PROMOTED)
        if between.candidate and not (promoted and promoted.fields.holds(between.candidate)):
            yield "the saved candidate was not used"

    def _problems(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        """Everything that is not as a rotation leaves it."""
        yield from left_in_record(load_record(workspace, secret.path))
        remove_leftovers_of(workspace, secret.path)
        yield from workspace.hub.list_state(f"{CANDIDATES}/{secret.path}")
        current = workspace.hub.read(secret.path)
        assert current is not None
        if current.version != self.kind.version:
            yield f"the hub is at version {current.version}"
        changed = self.kind.changes | {"rotated_at", "expires_at"}
        if kept(current.fields.reveal(), changed) != kept(secret.first, changed):
            yield "the secret's other fields have changed"
        yield from self.kind.left(self.site, secret, SecretFields(current.fields))
        for destination in single(workspace.secret(secret.path).destinations):
            yield from self._left_in_store(workspace, destination.name)
        told = self.site.consumer.versions(secret.path)
        if told != ([2] if secret.data.get("consumers") else []):
            yield f"the consumer acted on versions {told}"

    def _left_in_store(self, workspace: Workspace, name: str) -> Iterator[str]:
        copy = workspace.open_store("memory").describe(name)
        if not (copy and copy.intact and copy.marks and copy.marks.version == self.kind.version):
            yield f"the store holds {copy}"
        versions = self.site.cloud.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        if len(versions) != self.kind.version:
            yield f"the store has {len(versions)} versions"


def kept(fields: dict[str, object], changed: frozenset[str] | set[str]) -> dict[str, object]:
    """The fields that no rotation touches."""
    return {name: value for name, value in fields.items() if name not in changed}


def left_in_record(record: Record) -> Iterator[str]:
    """What a finished rotation does not leave."""
    if record.rotation or record.candidate:
        yield f"the record is not closed: {record.rotation}"
    if [past.stage for past in record.history] != [Stage.RETIRED]:
        yield f"the history is {[past.stage.value for past in record.history]}"
