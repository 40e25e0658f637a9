"""Child processes that can be killed anywhere: forked from one that has imported everything and opened nothing.

    with Zygote(world) as zygote:
        died = zygote.run(job)
        if pid := zygote.suspend(other_job):
            ended = zygote.resume(pid)

One line of JSON asks, one line answers. The zygote reaps its children, so that they are seen to be dead.
"""

import dataclasses
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.core.errors import KeyturnError
from keyturn.core.schedule.due import Trigger
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.incidents.store import find_incident
from keyturn.revocation.run import begin, finish
from keyturn.revocation.selector import Selection
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_store, open_workspace
from tests.support.boundaries import Boundaries
from tests.support.loose import LOOSE_LIMITS
from tests.support.world import World

PATIENCE = 5.0
"""Seconds for an application that read the old version a moment ago, and still uses it, to be done."""


@dataclass(frozen=True)
class Job:
    """What a child does: rotate and retire one secret of ``catalogue``, by a clock that stands at ``now``.

    It kills itself at the boundary ``kill_at``, or suspends itself at ``stop_at``; without either it says which
    boundaries there are. One that is not ``watched`` runs at full speed, and finds none. ``hub_address`` is another
    way to the hub. With an ``incident`` it revokes the secret, in that ``mode``, instead of rotating it.
    """

    path: str
    catalogue: dict[str, Any]
    now: str
    kill_at: int | None = None
    stop_at: int | None = None
    retires: bool = True
    watched: bool = True
    hub_address: str = ""
    trigger: str = Trigger.SCHEDULE
    incident: str = ""
    mode: str = Mode.REPLACE


@dataclass(frozen=True)
class Ended:
    """How a child ended. ``signal`` is 0 when it lived to say the rest."""

    signal: int
    state: str = ""
    error: str = ""
    boundaries: list[str] = field(default_factory=list)


class Zygote:
    """The parent's end."""

    def __init__(self, world: World, store: dict[str, Any] | None = None) -> None:
        self.world = world
        self.store = store

    def __enter__(self) -> "Zygote":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask({"world": self.world.to_json(), "store": self.store})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def load(self, modules: Sequence[str]) -> None:
        """Import these adapters, so that no child has to, and take over the environment that is this process's now."""
        self._ask({"load": list(modules), "environment": dict(os.environ)})

    def run(self, job: Job) -> Ended:
        """Let one child do the job, and return when it has ended."""
        return self.race([job])[0]

    def race(self, jobs: list[Job]) -> list[Ended]:
        """Let one child for each job be ready, start them all at once, and return when all have ended."""
        return [Ended(**told) for told in self._ask([asdict(job) for job in jobs])]

    def suspend(self, job: Job) -> int | None:
        """Let one child do the job until it suspends itself; its pid, None when it ended instead."""
        pid: int | None = self._ask({"suspend": asdict(job)})
        return pid

    def resume(self, pid: int) -> Ended:
        """Let a suspended child go on, and return when it has ended."""
        return Ended(**self._ask({"resume": pid}))

    def _ask(self, question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question, default=str) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


# --- in the zygote -----------------------------------------------------------------------------------------


def serve() -> None:
    """Answer questions until there are no more."""
    logging.disable(logging.WARNING)  # SDKs tell of the lost answers, which are meant to be lost
    told = json.loads(sys.stdin.readline())
    world, stores = World.from_json(told["world"]), warm(told["store"])
    print(json.dumps("ready"), flush=True)  # noqa: T201
    suspended: dict[int, Child] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), world, stores, suspended)), flush=True)  # noqa: T201
    for pid in suspended:
        os.kill(pid, signal.SIGKILL)


def answer(asked: Any, world: World, stores: Callable[[str], Any] | None, suspended: "dict[int, Child]") -> Any:
    """What became of the jobs that are ``asked`` for: a list of them, one to suspend, or the pid of one to resume.

    Or adapters are to be imported.
    """
    if isinstance(asked, list):
        return [asdict(child.ended()) for child in start_all(world, asked, stores)]
    if "load" in asked:
        os.environ.update(asked["environment"])
        return load(asked["load"])
    if "resume" in asked:
        os.kill(asked["resume"], signal.SIGCONT)
        return asdict(suspended.pop(asked["resume"]).ended())
    (child,) = start_all(world, [asked["suspend"]], stores)
    if not os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1]):
        os.close(child.answer)
        return None
    suspended[child.pid] = child
    return child.pid


def start_all(world: World, jobs: list[dict[str, Any]], stores: Callable[[str], Any] | None) -> "list[Child]":
    """One child for each job, all set off at once."""
    closed, gate = os.pipe()
    started = [start(world, Job(**job), stores, (closed, gate)) for job in jobs]
    os.close(gate)
    os.close(closed)
    return started


def load(modules: Iterable[str]) -> None:
    """Import these adapters."""
    for module in modules:
        importlib.import_module(f"keyturn.providers.{module}")


def warm(store: dict[str, Any] | None) -> Callable[[str], Any] | None:
    """Import what every child needs, and make the store's client, which connects only when it is used."""
    load(("postgresql.target", "vault.hub", "http.webhook"))
    if store is None:
        return None
    made = open_store("memory", AwsSecretsManagerSettings.model_validate(store))
    return lambda name: made


@dataclass(frozen=True)
class Child:
    """A forked process, which says on ``answer`` how it went."""

    pid: int
    answer: int

    def ended(self) -> Ended:
        """Wait for its end."""
        with os.fdopen(self.answer) as said:
            answer = said.read()
        status = os.waitpid(self.pid, 0)[1]
        if os.WIFSIGNALED(status):
            return Ended(os.WTERMSIG(status))
        return Ended(**json.loads(answer))


def start(world: World, job: Job, stores: Callable[[str], Any] | None, gate: tuple[int, int]) -> Child:
    """Fork a child that begins once every writing end of ``gate`` is closed.

    It opens everything itself, so nothing that is connected is shared.
    """
    reading, answer = os.pipe()
    if pid := os.fork():
        os.close(answer)
        return Child(pid, reading)
    os.close(gate[1])
    try:
        ended = work(world, job, stores, gate[0])
        os.write(answer, json.dumps(asdict(ended)).encode())
    except BaseException:  # noqa: BLE001 - whatever it is, the child must end here and not go on as the zygote
        os.write(answer, json.dumps(asdict(Ended(0, error=traceback.format_exc()))).encode())
    os._exit(0)


def work(world: World, job: Job, stores: Callable[[str], Any] | None, waiting: int) -> Ended:
    """Rotate and retire, or revoke."""
    world = dataclasses.replace(world, hub_address=job.hub_address or world.hub_address)
    loose = {"policy": {**job.catalogue.get("policy", {}), "limits": LOOSE_LIMITS}}
    workspace = open_workspace(Catalogue.model_validate(job.catalogue | loose), world.hub())
    workspace = dataclasses.replace(workspace, clock=lambda: datetime.fromisoformat(job.now))
    if stores is not None:
        workspace = dataclasses.replace(workspace, open_store=stores)
    boundaries = Boundaries(job.kill_at, job.stop_at)
    try:
        workspace.hub.describe(job.path)
        os.read(waiting, 1)
        with boundaries if job.watched else nullcontext():
            if job.incident:
                stands = revoke(workspace, job.path, job.incident, Mode(job.mode))
                state = "open" if stands.open else "closed"
                return Ended(0, state=state, error="; ".join(stands.left), boundaries=boundaries.names)
            outcome = rotate(workspace, job.path, Trigger(job.trigger))
            over = time.monotonic() + PATIENCE
            while job.retires and retire(workspace, job.path).held_by and time.monotonic() < over:
                time.sleep(0.02)
    except KeyturnError as error:
        return Ended(0, error=f"{type(error).__name__}: {error}", boundaries=boundaries.names)
    return Ended(0, state=outcome.state, boundaries=boundaries.names)


def revoke(workspace: Workspace, path: str, incident: str, mode: Mode) -> IncidentStatus:
    """A whole revocation of one secret, or what is left of it."""
    known = find_incident(workspace, incident)
    if known and known.closed_at:
        return finish(workspace, incident)
    begin(
        workspace,
        Selection((path,)),
        incident=incident,
        reason="a test",
        mode=mode,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )
    return finish(workspace, incident)


if __name__ == "__main__":
    serve()
