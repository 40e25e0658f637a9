"""Revocations that are killed at one point, and what is wrong after the next run."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace

from keyturn.core.ports.stores import Store
from keyturn.core.rotation_record import Stage
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.candidates import CANDIDATES
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from tests.crash.kinds import Kind
from tests.crash.matrix import Row
from tests.crash.site import Lane, Site
from tests.support.crash_child import Job, revoke
from tests.support.lab import Declared, fresh
from tests.support.places import single


class Revocation:
    """One kind of secret in one mode, on a lane of its own row."""

    def __init__(self, row: Row, mode: Mode) -> None:
        self.row = row
        self.mode = mode

    @property
    def site(self) -> Site:
        """Where it runs."""
        return self.row.site

    @property
    def kind(self) -> Kind:
        """What is revoked."""
        return self.row.kind

    def places(self) -> list[str]:
        """Every place at which it can be killed, told by one that nobody stops. Raises AssertionError."""
        lane = self.row.lanes[0]
        for watched in (False, True):  # the very first one at a target may make something that later ones find
            secret = self.row._ready(lane)
            ended = lane.zygote.run(self.job(lane, secret, fresh(), watched=watched))
            assert (ended.signal, ended.state, ended.error) == (0, "closed", ""), ended
            problems = list(self.problems(lane.workspace(secret), secret))
            assert not problems, problems
        return ended.boundaries

    def job(
        self, lane: Lane, secret: Declared, incident: str, kill_at: int | None = None, *, watched: bool = True
    ) -> Job:
        """The revocation of one secret, in a child."""
        return replace(lane.job(secret, kill_at, watched=watched), incident=incident, mode=str(self.mode))

    def killed(self, lane: Lane, numbers: Sequence[int]) -> Iterator[str]:
        """What is wrong after a run died at each of these places, and another one went on."""
        for number in numbers:
            secret, incident = self.row._ready(lane), fresh()
            died = lane.zygote.run(self.job(lane, secret, incident, number))
            if died.signal != signal.SIGKILL:
                yield f"{number}: it was not killed: {died.error or died.state}"
            workspace = lane.workspace(secret)
            stands = revoke(workspace, secret.path, incident, self.mode)
            if stands.open:
                yield f"{number}: it is still open: {stands.left}"
            yield from (f"{number}: {problem}" for problem in self.problems(workspace, secret))

    def problems(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        """Everything that is not as a revocation leaves it."""
        yield from left_in_record(workspace, secret, self.mode)
        if self.kind.refuses and self.kind.works(self.site, SecretFields(secret.first)):
            yield "the old credential still works"
        current = workspace.hub.read(secret.path)
        if self.mode is Mode.REPLACE and (current is None or not self.kind.works(self.site, current.fields)):
            yield "the new credential does not work"
        info = workspace.hub.describe(secret.path)
        readable = [one.version for one in info.versions if one.readable] if info else []
        if readable != ([current.version] if current else []):
            yield f"the hub still gives versions {readable}"
        for destination in single(workspace.secret(secret.path).destinations):
            yield from self.left_in_store(workspace.open_store(destination.store), destination.name)

    def left_in_store(self, store: Store, name: str) -> Iterator[str]:
        """What is wrong with one copy."""
        copy = store.describe(name)
        if self.mode is Mode.REVOKE_ONLY and copy is not None:
            yield f"the store still has {copy}"
        if self.mode is Mode.REPLACE and not (copy and copy.intact):
            yield f"the store holds {copy}"


def left_in_record(workspace: Workspace, secret: Declared, mode: Mode) -> Iterator[str]:
    """What a finished revocation does not leave."""
    record = load_record(workspace, secret.path)
    if record.rotation or record.candidate:
        yield f"the record is not closed: {record.rotation}"
    stored = workspace.hub.list_state(f"{CANDIDATES}/{secret.path}")
    yield from (f"{place} is left" for place in stored if place not in record.stored)
    if bool(record.frozen) is not (mode is Mode.REVOKE_ONLY):
        yield f"it is {'frozen' if record.frozen else 'not frozen'}"
    stages = [past.stage for past in record.history if past.stage is not Stage.ABANDONED]
    if stages != ([Stage.CUT, Stage.RETIRED] if mode is Mode.REPLACE else [Stage.CUT]):
        yield f"the history is {[past.stage.value for past in record.history]}"
