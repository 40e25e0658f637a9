"""The worker's side of :mod:`keyturn.project.nursery`: forked processes of runs.

A forked process is orphaned at once, so that the worker adopts it, and it survives the nursery. Without a nursery, each
run starts in a new process.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_logger
from prefect.runner._control_channel import ControlChannel
from prefect.runner._process_manager import ProcessHandle, create_isolated_termination_scope
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.settings.context import get_current_settings
from prefect.utilities.processutils import command_to_string, sanitize_subprocess_env

from keyturn.programs.children import adopt_orphans
from keyturn.project import RUN
from keyturn.project.nursery import NUMBER, READY

# -P: no module is loaded from the working directory.
COMMAND: Final = (sys.executable, "-P", "-m", "keyturn.project.nursery")
ALONE: Final = (sys.executable, "-P", "-m", "keyturn.project.flow_run")

WITHIN: Final = "KEYTURN_NURSERY"
"""Set in a nursery; code in it starts no other nursery."""

LOADING: Final = 300.0
"""Seconds in which a nursery must import everything."""

PATIENCE: Final = 5.0
"""Seconds that a run waits for a nursery before it starts without."""

BREATH: Final = 1.0
"""Seconds until an ended nursery is replaced."""

PAUSE: Final = 60.0
"""Seconds until the next try after a nursery failed to load."""

GRACE: Final = 3.0
"""Seconds that a run has to end when its worker stops."""

ATTEMPTS: Final = 2

OF_A_RUN: Final = ("KEYTURN_", "PREFECT__", "VAULT_ADDR", "VAULT_TOKEN")
"""Prefixes of variables that nothing reads on import.

A nursery is replaced when another variable changes, because some libraries cache it.
"""

logger: Final = get_logger("keyturn.nursery")


class Forked:
    """An adopted process of a run, with the interface of Prefect's process handle."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watched, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    async def wait(self) -> None:
        """Return once it has ended. A cancellation ends it with its children."""
        try:
            await self._ended.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end()
            raise

    async def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with anyio.move_on_after(GRACE):
                await self._ended.wait()
                return


class Standing:
    """One process to fork from, and its variables."""

    def __init__(self, process: asyncio.subprocess.Process, own: socket.socket, variables: Mapping[str, str]) -> None:
        self.process = process
        self.variables = variables
        self._own = own
        self._asking = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def started(cls, command: Sequence[str], variables: Mapping[str, str]) -> AsyncIterator[Self]:
        """Start and load one; it ends with the context. Raises OSError, EOFError or TimeoutError."""
        if WITHIN in os.environ:
            raise BlockingIOError("this process is one that runs are forked from")
        own, theirs = socket.socketpair()
        own.setblocking(False)
        # An empty directory contains no configuration for Prefect.
        with own, tempfile.TemporaryDirectory(prefix="keyturn-nursery-") as directory:
            with theirs:
                environment = {**variables, WITHIN: "true"}
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=theirs.fileno(), env=environment, cwd=directory, start_new_session=True
                )
            standing = cls(process, own, variables)
            try:
                async with asyncio.timeout(LOADING):
                    await standing._said(len(READY))
                yield standing
            finally:
                standing.end()
                # A socket that closes during a read never reports its end to the reader.
                with anyio.CancelScope(shield=True):
                    await process.wait()
                    async with standing._asking:
                        own.close()

    async def fork(self, environment: Mapping[str, str], directory: str, patience: float) -> Forked:
        """Fork the process of a run. Raises OSError, EOFError or TimeoutError if none was started."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self._own, [READY], [theirs.fileno()])
            async with asyncio.timeout(patience):
                (number,) = NUMBER.unpack(await self._said(NUMBER.size))
            process = Forked(number)
            ours.setblocking(False)
            text = json.dumps({"environment": dict(environment), "directory": directory}).encode()
            await asyncio.get_running_loop().sock_sendall(ours, text)
        return process

    async def _said(self, size: int) -> bytes:
        answer = b""
        async with self._asking:
            while len(answer) < size:
                part = await asyncio.get_running_loop().sock_recv(self._own, size - len(answer))
                if not part:
                    raise EOFError("it has ended")
                answer += part
        return answer

    def end(self) -> None:
        if self.process.returncode is None:
            # Not with its own method, which would hide its end from other waiters.
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)


class Nursery:
    """Forks runs from a prepared process, which is replaced when it ends."""

    def __init__(self, command: Sequence[str] = COMMAND, patience: float = PATIENCE) -> None:
        self._command = command
        self._patience = patience
        self._lock = asyncio.Lock()
        self._ready = asyncio.Condition()
        self._standing: Standing | None = None
        self._loading = True
        self._variables: dict[str, str] = {}

    async def keep(self, environment: Mapping[str, str]) -> None:
        self._variables = read_on_import(environment)
        try:
            while True:
                pause = await self._stand()
                await asyncio.sleep(pause)
        finally:
            self._standing, self._loading = None, False

    def stands(self) -> bool:
        return self._standing is not None

    async def _stand(self) -> float:
        await self._change(None, loading=True)
        try:
            async with Standing.started(self._command, self._variables) as standing:
                await self._change(standing, loading=False)
                logger.info("Runs are forked from process %s", standing.process.pid)
                await standing.process.wait()
        except (OSError, EOFError, TimeoutError) as error:
            await self._change(None, loading=False)
            logger.warning("Runs are started one by one, which takes longer: nothing to fork them from (%r)", error)
            return PAUSE
        return BREATH if self._standing is standing else 0.0

    async def _change(self, standing: Standing | None, *, loading: bool) -> None:
        async with self._ready:
            self._standing, self._loading = standing, loading
            self._ready.notify_all()

    async def fork(self, environment: Mapping[str, str], directory: str) -> Forked | None:
        """Fork a run with this environment and directory; None if it must start without."""
        async with self._lock:
            self._variables = read_on_import(environment)
            for _ in range(ATTEMPTS):
                if not (standing := await self._current()):
                    return None
                if standing.variables == self._variables:
                    with suppress(OSError, EOFError, TimeoutError):
                        return await standing.fork(environment, directory, self._patience)
                if self._standing is standing:
                    await self._change(None, loading=True)
                standing.end()
        return None

    async def _current(self) -> Standing | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience), self._ready:
                await self._ready.wait_for(lambda: not self._loading)
        return self._standing


class NurseryStarter:
    """Starts the process of one run, forked if possible."""

    def __init__(
        self,
        nursery: Nursery | None,
        settings: Mapping[str, str],
        directory: str,
        channel: ControlChannel,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._nursery = nursery
        self._settings = settings
        self._directory = directory
        self._channel = channel
        self._tell = tell
        """Receives ``forked`` or ``alone``."""

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Return once the process has ended; ``task_status`` reports its start."""
        forked = await self._forked(flow_run, self._nursery) if self._nursery else None
        if self._tell:
            self._tell("alone" if forked is None else "forked")
        if forked is None:
            return await self._alone().start(flow_run, task_status)
        process: Any = forked
        task_status.started(ProcessHandle(process, create_isolated_termination_scope(forked.pid)))
        return await forked.wait()

    async def _forked(self, flow_run: FlowRun, nursery: Nursery) -> Forked | None:
        environment = run_environment(self._settings) | {RUN: str(flow_run.id)}
        # If the channel has no port, a run is cancelled only by signals.
        with suppress(RuntimeError):
            port, token = self._channel.register(flow_run.id)
            environment |= {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        return await nursery.fork(environment, self._directory)

    def _alone(self) -> EngineCommandStarter:
        return EngineCommandStarter(
            command=command_to_string([*ALONE]),
            cwd=self._directory,
            env=dict(self._settings),
            control_channel=self._channel,
            # Killing a run's process group does not kill its worker.
            isolate_process_group=True,
        )


def run_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A run's environment, as Prefect's own workers pass it."""
    prefect = get_current_settings().to_environment_variables(exclude_unset=True)
    hooks = {"PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false"}
    return sanitize_subprocess_env({**os.environ, **settings, **prefect, **hooks})


def read_on_import(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a library may have read at its import."""
    return {name: value for name, value in environment.items() if not name.startswith(OF_A_RUN)}


def can_watch_forked() -> bool:
    """Whether this process adopts its nursery's forks and can watch them."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return adopt_orphans()
