"""Starting, stopping and looking at the whole local stack."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from keyturn.core.errors import Unavailable
from local.environment import environment
from local.home import Progress, Stack, locked, opened, opened_or_made
from local.services import SERVICES, Service
from local.support.ports import LOOPBACK, in_use

__all__ = ["ServiceStatus", "Stack", "down", "environment", "opened", "remove", "status", "up"]


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now. ``pid`` is None while it doesn't run, ``port`` where it has none."""

    name: str
    pid: int | None
    port: int | None
    log: Path

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.pid is not None

    @property
    def address(self) -> str | None:
        """Where it answers; None for one that has no port."""
        return f"{LOOPBACK}:{self.port}" if self.port else None


def quiet(line: str) -> None:
    """Progress that nobody wants to read."""


def up(
    home: Path,
    prepare: Callable[[Stack], None],
    progress: Progress = quiet,
    services: Sequence[Service] = SERVICES,
) -> Stack:
    """Start whatever of the stack does not run, and return when all of it is ready.

    ``prepare`` is called between the services that need no preparation and those that do; it must bear to be
    called again. Where anything fails, what this call started is stopped, and the error names the culprit.
    """
    _heed_interrupts()
    with locked(home, progress):
        stack = opened_or_made(home, [service.name for service in services if service.listens])
        _renew_certificates(stack, services, progress)
        missing = [service for service in services if not service.runs(stack)]
        if not missing:
            progress("everything is up")
            return stack
        # Of one that has several processes, some may be left.
        _stop(stack, missing)
        _check(stack, missing)
        try:
            _start(stack, [service for service in missing if not service.needs_preparation], progress)
            prepare(stack)
            _start(stack, [service for service in missing if service.needs_preparation], progress)
        except BaseException:
            _stop(stack, missing)
            raise
    return stack


def down(home: Path, progress: Progress = quiet, services: Sequence[Service] = SERVICES) -> None:
    """Stop all of the stack, in the reverse of the order it was started in. Nothing there is success."""
    if not (home / "stack.json").exists():
        return
    with locked(home, progress):
        stack = opened(home)
        _stop(stack, _running(stack, services), progress)


def status(home: Path, services: Sequence[Service] = SERVICES) -> list[ServiceStatus]:
    """Every service of the stack as it is now. Raises NotFound where there is no stack."""
    stack = opened(home)
    return [_status(stack, service) for service in services if _known(stack, service)]


def remove(home: Path, progress: Progress = quiet) -> None:
    """Stop all of the stack and delete all that it holds, for good. Nothing there is success."""
    if not (home / "stack.json").exists():
        return
    down(home, progress)
    opened(home).database.remove()
    shutil.rmtree(home)


def _renew_certificates(stack: Stack, services: Sequence[Service], progress: Progress) -> None:
    """Have a good certificate for all that listen. Who runs with an older one is stopped, and so is who trusts it."""
    renewed = [service for service in services if service.listens and stack.issue_certificate(service.name)]
    if any(service.process(stack).pid is not None for service in renewed):
        progress("certificates are renewed: everything restarts")
        _stop(stack, _running(stack, services))


def _running(stack: Stack, services: Sequence[Service]) -> list[Service]:
    return [s for s in services if _known(stack, s) and s.process(stack).pid is not None]


def _known(stack: Stack, service: Service) -> bool:
    # A stack that was made before this service was thought of has no port for it.
    return not service.listens or service.name in stack.ports


def _status(stack: Stack, service: Service) -> ServiceStatus:
    process = service.process(stack)
    return ServiceStatus(service.name, process.pid, stack.ports.get(service.name), process.log)


def _check(stack: Stack, missing: Sequence[Service]) -> None:
    for service in missing:
        service.insist_on_package()
    for service in missing:
        if service.listens and in_use(port := stack.ports[service.name]):
            remedy = (
                f'End that program, or delete "{service.name}" in {stack.home / "stack.json"} to have another chosen'
            )
            raise Unavailable("start", service.name, f"port {port} is in use by another program", remedy)


def _start(stack: Stack, services: Sequence[Service], progress: Progress) -> None:
    """Start them all at once. Raises what the first to fail raises, as soon as it does."""
    if not services:
        return
    began = time.monotonic()
    with ThreadPoolExecutor(len(services)) as pool:
        starting = {pool.submit(service.start, stack): service for service in services}
        try:
            for done in as_completed(starting):
                done.result()
                progress(f"{starting[done].name} is ready after {time.monotonic() - began:.1f} s")
        except BaseException:
            # Those that still wait to be ready give up once their process is gone.
            _stop(stack, services)
            raise


def _stop(stack: Stack, services: Sequence[Service], progress: Progress = quiet) -> None:
    for needs_preparation in (True, False):
        together = [service for service in services if service.needs_preparation == needs_preparation]
        if not together:
            continue
        with ThreadPoolExecutor(len(together)) as pool:
            stopping = {pool.submit(service.stop, stack): service for service in together}
            for done in as_completed(stopping):
                done.result()
                progress(f"{stopping[done].name} is stopped")


def _heed_interrupts() -> None:
    # A script's background job ignores SIGINT, and so would all that it starts; Prefect's worker stops by it.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
